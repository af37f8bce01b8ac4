"""Choices about backends: pairs of codecs, devices, and what each preset needs."""

from __future__ import annotations

import pytest
import torch

from lipforcing_core.base.errors import BadInputError, MissingWeightsError
from lipforcing_core.models.audio_encoders.log_mel import LogMelEncoder
from lipforcing_core.models.codecs.block import BlockCodec, CodecFit
from lipforcing_core.models.codecs.causal_codec import PairedCodec
from lipforcing_core.presets import load_preset
from lipforcing_core.runtime.encoders import (
    choose_device,
    is_embedded,
    load_audio_encoder,
    load_text_encoder,
    memory_in_words,
    model_dtype,
)
from lipforcing_core.runtime.prompts import backend_digests, load_prompts, needed_weights
from tests.streaming.helpers import texture

OFFICIAL = ["wan2.1-vae", "taew2.1", "wav2vec2-base-960h", "umt5-xxl"]


def fitted(seed: int, channels: int = 4) -> BlockCodec:
    return BlockCodec.fit([texture(16, seed=seed)[:, :128, :128]], CodecFit(num_channels=channels))


def test_a_pair_encodes_with_one_codec_and_decodes_with_the_other() -> None:
    first, second = fitted(0), fitted(1)
    pair = PairedCodec(first, second)
    video = torch.from_numpy(texture(9)[:, :64, :64]).permute(3, 0, 1, 2)[None].float() / 127.5 - 1
    latents = pair.encode(video)
    assert torch.equal(latents, first.encode(video))
    assert not torch.equal(latents, second.encode(video))
    frames = pair.decode(latents)
    assert torch.equal(frames, second.decode(latents))
    assert not torch.equal(frames, first.decode(latents))
    encoder, decoder = pair.stream_encoder(), pair.stream_decoder()
    pushed = torch.cat([encoder.push(video[:, :, :5]), encoder.push(video[:, :, 5:])], dim=2)
    assert torch.equal(pushed, latents)
    parts = [decoder.push(part) for part in latents.split([1, 2], dim=2)]
    assert torch.equal(torch.cat(parts, dim=2), frames)
    assert pair.latent_channels == 4
    assert pair.backend_id == f"{first.backend_id}+{second.backend_id}"


def test_codecs_of_other_latents_are_not_paired() -> None:
    with pytest.raises(BadInputError, match=r"4 channels.*takes 6"):
        PairedCodec(fitted(0), fitted(0, channels=6))


def test_what_presets_need() -> None:
    nano, full = load_preset("nano"), load_preset("14b")
    assert (is_embedded(nano), is_embedded(full)) == (True, False)
    assert (model_dtype(nano), model_dtype(full)) == (torch.float32, torch.bfloat16)
    assert needed_weights(nano, None) == backend_digests(nano, None) == []
    assert needed_weights(full, None) == OFFICIAL
    with pytest.raises(MissingWeightsError, match="no weights folder"):
        backend_digests(full, None)


def test_embedded_encoders_need_no_folder() -> None:
    nano = load_preset("nano")
    assert isinstance(load_audio_encoder(nano), LogMelEncoder)
    prompts, encoder = load_prompts(nano, None), load_text_encoder(nano)
    assert torch.equal(prompts.text_BLD, encoder.encode([nano.schedule.prompt]))
    assert torch.equal(prompts.negative_text_BLD, encoder.encode([""]))
    full = load_preset("14b")
    for load in (load_audio_encoder, load_text_encoder):
        with pytest.raises(MissingWeightsError, match="no weights folder"):
            load(full)


@pytest.mark.parametrize("available", [True, False])
def test_devices(available: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: available)
    nano, full = load_preset("nano"), load_preset("14b")
    assert choose_device("auto", nano) == choose_device("cpu", full) == "cpu"
    assert choose_device("auto", full) == ("cuda" if available else "cpu")
    if available:
        assert choose_device("cuda", nano) == "cuda"
    else:
        with pytest.raises(BadInputError, match="no CUDA device"):
            choose_device("cuda", full)


def test_a_full_gpu_is_told_in_words() -> None:
    with pytest.raises(BadInputError, match="memory of cuda"), memory_in_words("cuda"):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 28 GiB")
