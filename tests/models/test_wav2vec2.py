"""wav2vec2 features: lengths, ranges, batches, silence, and one run for many chunks."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.torchvision_shim import ensure_torchvision
from lipforcing_core.models.audio_encoders.wav2vec2 import (
    Wav2Vec2Encoder,
    Wav2Vec2Features,
    interpolate,
    normalise,
)
from lipforcing_core.weights.keymaps import wav2vec2_key


def tiny_network(**changes: Any) -> Wav2Vec2Features:
    ensure_torchvision()
    from transformers import Wav2Vec2Config

    settings: dict[str, Any] = {
        "hidden_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 40,
        "conv_dim": (16,) * 7,
        "num_conv_pos_embeddings": 16,
        "num_conv_pos_embedding_groups": 4,
    }
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Wav2Vec2Features(Wav2Vec2Config(**(settings | changes))).eval()


@pytest.fixture(scope="module")
def network() -> Wav2Vec2Features:
    return tiny_network()


@pytest.fixture
def encoder(network: Wav2Vec2Features) -> Wav2Vec2Encoder:
    return Wav2Vec2Encoder(network, backend_id="wav2vec2-tiny@test")


@pytest.fixture(scope="module")
def waveform() -> np.ndarray:
    return (np.random.default_rng(0).normal(0.02, 0.1, 12_345)).astype(np.float32)  # 19.3 frames


def test_shapes_and_promises(encoder: Wav2Vec2Encoder, waveform: np.ndarray) -> None:
    features = encoder.encode(waveform, 20)
    assert features.shape == (20, encoder.feature_dim) == (20, 4 * 24)
    assert features.dtype == np.float32
    assert encoder.lookahead_s == math.inf
    np.testing.assert_array_equal(features[:, :24], features[:, -24:])  # the last state comes first and last


def test_a_short_request_is_a_slice_of_the_whole_clip(encoder: Wav2Vec2Encoder, waveform: np.ndarray) -> None:
    whole = encoder.encode(waveform, 20)
    np.testing.assert_array_equal(encoder.encode(waveform, 7), whole[:7])
    assert encoder.encode(waveform, 0).shape == (0, encoder.feature_dim)
    cut = encoder.encode(waveform[: 7 * 640], 7)
    assert not np.allclose(cut, whole[:7], atol=1e-3)  # every frame listens to the whole clip


def test_ranges_equal_the_whole(encoder: Wav2Vec2Encoder, waveform: np.ndarray) -> None:
    whole = encoder.encode(waveform, 20)
    parts = [encoder.encode_range(waveform, a, b) for a, b in ((0, 1), (1, 9), (9, 9), (9, 20))]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    longer = encoder.encode(waveform, 25)  # the last chunk may end in silence
    assert longer.shape == (25, encoder.feature_dim)
    np.testing.assert_array_equal(encoder.encode_range(waveform, 18, 25), longer[18:])


def test_many_chunks_cost_one_run(encoder: Wav2Vec2Encoder, waveform: np.ndarray) -> None:
    runs: list[int] = []
    hook = encoder._network.register_forward_hook(lambda _m, inputs, _o: runs.append(inputs[1]))
    for start in range(0, 20, 4):
        encoder.encode_range(waveform, start, start + 4)
    assert runs == [20]
    encoder.encode_range(waveform.copy(), 0, 4)  # equal content is the same clip
    assert runs == [20]
    first = encoder.encode_range(waveform, 0, 4)
    first[:] = 0  # the caller's copy
    assert encoder.encode_range(waveform, 0, 4).any()
    buffer = waveform[::-1].copy()
    encoder.encode_range(buffer, 0, 4)
    buffer[100] += 0.5  # another clip in the same memory, as in a ring buffer
    after = encoder.encode_range(buffer, 0, 4)
    hook.remove()
    assert runs == [20, 20, 20]
    np.testing.assert_array_equal(after, encoder.encode(buffer, 4))


@torch.no_grad()
@pytest.mark.parametrize("large", [False, True])
def test_batches_equal_singles(large: bool) -> None:
    network = tiny_network(
        do_stable_layer_norm=large, feat_extract_norm="layer" if large else "group", conv_bias=large
    )
    waveforms = torch.randn(3, 6400, generator=torch.Generator().manual_seed(1))
    together = network(waveforms, 10)
    for index in range(3):
        torch.testing.assert_close(together[index], network(waveforms[index : index + 1], 10)[0])


@torch.no_grad()
@pytest.mark.parametrize("large", [False, True])
def test_states_are_those_of_transformers(large: bool) -> None:
    """Without the change of rate the states must be the library's own ``output_hidden_states``."""
    network = tiny_network(
        do_stable_layer_norm=large, feat_extract_norm="layer" if large else "group", conv_bias=large
    )
    waveform = torch.randn(1, 6400, generator=torch.Generator().manual_seed(2))
    want = network.model(waveform, output_hidden_states=True)
    got = network.hidden_states(network.conv_features(waveform))
    torch.testing.assert_close(got[-1], want.last_hidden_state)
    assert len(got) == len(want.hidden_states) == 3
    for mine, theirs in zip(got[:-1], want.hidden_states[:-1], strict=True):
        torch.testing.assert_close(mine, theirs)


@torch.no_grad()
def test_a_network_built_on_meta_takes_a_file(network: Wav2Vec2Features) -> None:
    state = network.state_dict()
    with torch.device("meta"):
        empty = tiny_network()
    empty.load_state_dict(state, assign=True)
    waveform = torch.randn(1, 3200, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(empty.eval()(waveform, 5), network(waveform, 5))


def test_silence_and_nothing(encoder: Wav2Vec2Encoder) -> None:
    silence = encoder.encode(np.zeros(6400, np.float32), 10)
    assert np.isfinite(silence).all()
    np.testing.assert_array_equal(encoder.encode(np.zeros(0, np.float32), 10), silence)
    assert encoder.encode(np.zeros(0, np.float32), 0).shape == (0, encoder.feature_dim)
    assert encoder.encode(np.zeros(1, np.float32), 1).shape == (1, encoder.feature_dim)


def test_loudness_and_offset_do_not_matter(encoder: Wav2Vec2Encoder, waveform: np.ndarray) -> None:
    louder = (3 * waveform + 0.1).astype(np.float32)
    np.testing.assert_allclose(encoder.encode(louder, 20), encoder.encode(waveform, 20), atol=1e-3)
    normed = normalise(waveform)
    assert float(normed.mean()) == pytest.approx(0, abs=1e-6)
    assert float(normed.var()) == pytest.approx(1, abs=1e-3)


def test_interpolation_keeps_both_ends() -> None:
    ramp = torch.arange(5.0)[None, :, None]
    assert interpolate(ramp, 9).flatten().tolist() == [0.5 * i for i in range(9)]
    assert interpolate(ramp, 3).flatten().tolist() == [0, 2, 4]


def test_refuses_what_it_cannot_encode(encoder: Wav2Vec2Encoder) -> None:
    with pytest.raises(BadInputError, match="mono"):
        encoder.encode(np.zeros((2, 640), np.float32), 1)
    with pytest.raises(BadInputError, match="mono"):
        encoder.encode_range(np.zeros((2, 640), np.float32), 0, 1)
    with pytest.raises(BadInputError, match="negative"):
        encoder.encode(np.zeros(640, np.float32), -1)
    for start, stop in ((-1, 2), (3, 2)):
        with pytest.raises(BadInputError, match="start <= stop"):
            encoder.encode_range(np.zeros(640, np.float32), start, stop)


@pytest.mark.parametrize(
    ("official", "ours"),
    [
        ("wav2vec2.encoder.layer_norm.weight", "model.encoder.layer_norm.weight"),
        ("encoder.layer_norm.weight", "model.encoder.layer_norm.weight"),
        (
            "wav2vec2.encoder.pos_conv_embed.conv.weight_g",
            "model.encoder.pos_conv_embed.conv.parametrizations.weight.original0",
        ),
        (
            "wav2vec2.encoder.pos_conv_embed.conv.weight_v",
            "model.encoder.pos_conv_embed.conv.parametrizations.weight.original1",
        ),
        (
            "wav2vec2.encoder.pos_conv_embed.conv.parametrizations.weight.original1",
            "model.encoder.pos_conv_embed.conv.parametrizations.weight.original1",
        ),
        ("wav2vec2.encoder.pos_conv_embed.conv.bias", "model.encoder.pos_conv_embed.conv.bias"),
        ("lm_head.bias", None),
        ("quantizer.codevectors", "model.quantizer.codevectors"),
    ],
)
def test_key_map(official: str, ours: str | None) -> None:
    assert wav2vec2_key(official) == ours
