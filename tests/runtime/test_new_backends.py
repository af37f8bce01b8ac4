"""The price of one more codec, audio encoder or text encoder: its file, one catalogue entry, one registry entry."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lipforcing_core.base.catalogue import Catalogue, Entry
from lipforcing_core.base.errors import BadInputError, MissingWeightsError
from lipforcing_core.models.audio_encoders.catalogue import AUDIO_ENCODERS, AudioEncoderEntry
from lipforcing_core.models.codecs.catalogue import CODECS, CodecEntry, CodecFiles, fit_codec, load_codec
from lipforcing_core.models.codecs.protocol import VideoCodec
from lipforcing_core.models.precision import Precision
from lipforcing_core.models.text_encoders.catalogue import TEXT_ENCODERS, TextEncoderEntry
from lipforcing_core.presets import Preset, load_preset
from lipforcing_core.runtime import encoders
from lipforcing_core.runtime.prompts import backend_digests, needed_weights
from lipforcing_core.weights import registry
from lipforcing_core.weights.registered import find_registered

IMPLEMENTATION = """
import torch

class FlatCodec:
    latent_channels = 16

    def __init__(self, where):
        self.backend_id = f"flat@{where}"

    def encode(self, video_BCFHW):
        return torch.zeros(1, 16, 1, 1, 1)

class FlatAudio:
    backend_id, feature_dim, lookahead_s = "flat-audio", 320, 0.0

class FlatText:
    backend_id = "flat-text"

    def __init__(self, shape):
        self.text_len, self.text_dim = shape.text_len, shape.text_dim

    def encode(self, prompts):
        return torch.ones(len(prompts), self.text_len, self.text_dim)
"""


def add(monkeypatch: pytest.MonkeyPatch, catalogue: Catalogue[Any], entry: Entry) -> None:
    monkeypatch.setitem(vars(catalogue), "entries", (*catalogue.entries, entry))


@pytest.fixture(autouse=True)
def new_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "flat_backends.py").write_text(IMPLEMENTATION)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("flat_backends", None)


@pytest.fixture(autouse=True)
def new_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """One more entry of the registry."""
    model = registry.find_weight("taew2.1")
    file = replace(model.files[0], path="flat/flat.safetensors", url="https://example.org/flat.safetensors")
    flat = replace(model, name="flat-weights", files=(file,), licence="MIT", commercial_ok=True)
    specs = (*registry.all_weights(), flat)
    monkeypatch.setattr(registry, "all_weights", lambda: specs)


@pytest.fixture(autouse=True)
def new_entries(monkeypatch: pytest.MonkeyPatch, new_file: None) -> None:
    def codec(entry: CodecEntry, files: CodecFiles) -> VideoCodec:
        from flat_backends import FlatCodec  # type: ignore[import-not-found]

        network = find_registered(entry, files.weights_dir)
        made: VideoCodec = FlatCodec(f"{network.tensor_file.name}, {entry.decoder_dtype.on(files.device)}")
        return made

    def audio(entry: AudioEncoderEntry, weights_dir: Path | None, device: str) -> Any:
        from flat_backends import FlatAudio

        return FlatAudio()

    def text(entry: TextEncoderEntry, shape: Any, weights_dir: Path | None, device: str) -> Any:
        from flat_backends import FlatText

        return FlatText(shape)

    about = {"name": "flat", "summary": "for a test"}
    add(
        monkeypatch,
        CODECS,
        CodecEntry(
            **about,
            weights=("flat-weights",),
            latents="flat",
            latent_channels=16,
            load=codec,
            decoder_dtype=Precision(cpu="float32", accelerator="float16"),
        ),
    )
    add(monkeypatch, AUDIO_ENCODERS, AudioEncoderEntry(**about, feature_dim=320, load=audio))
    add(monkeypatch, TEXT_ENCODERS, TextEncoderEntry(**about, text_dim=None, load=text))
    assert "flat_backends" not in sys.modules, "an entry imports its implementation when it is loaded"


def preset(**backends: str) -> Preset:
    values = load_preset("nano").model_dump(mode="json")
    values["backends"] |= backends
    if values["backends"]["codec"] != "block-pca":
        values["codec"] = None
    return Preset.model_validate(values)


FLAT = {"codec": "flat", "decoder": "flat", "audio": "flat", "text": "flat"}


def test_presets_help_and_messages_know_it() -> None:
    assert preset(**FLAT).backends.model_dump() == FLAT | {"sync": "nano"}
    for catalogue in (CODECS, AUDIO_ENCODERS, TEXT_ENCODERS):
        assert catalogue.help.endswith(" or flat.")
        with pytest.raises(BadInputError, match=r"known: .*, flat$"):
            catalogue["flatter"]
    for name in ("codec", "audio", "text"):
        with pytest.raises(ValueError, match=r"unknown .* 'flatter'.*; known: .*, flat \["):
            preset(**{name: "flatter"})
    with pytest.raises(ValueError, match="taehv cannot decode the latents of flat: the decoder must be flat"):
        preset(codec="flat", decoder="taehv")


def test_what_it_needs_is_known_and_told(tmp_path: Path) -> None:
    flat = preset(**FLAT)
    assert not encoders.is_embedded(flat)
    assert encoders.is_embedded(preset(audio="flat", text="flat"))
    assert needed_weights(flat, tmp_path) == ["flat-weights"]
    with pytest.raises(MissingWeightsError, match="weights fetch flat-weights`"):
        encoders.load_codec(flat, tmp_path)


def test_it_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "flat").mkdir()
    (tmp_path / "flat" / "flat.safetensors").write_bytes(b"flat")
    flat = preset(**FLAT)
    assert encoders.load_codec(flat, tmp_path).backend_id == "flat@flat.safetensors, torch.float32"
    files = CodecFiles(weights_dir=tmp_path, device="cuda")
    assert load_codec("flat", files=files).backend_id.endswith("float16")
    assert encoders.load_audio_encoder(flat).backend_id == "flat-audio"
    text = encoders.load_text_encoder(flat)
    assert torch.equal(text.encode(["a"]), torch.ones(1, flat.model.text_len, flat.model.text_dim))
    (digest,) = backend_digests(flat, tmp_path)
    assert len(digest) == 64
    with pytest.raises(BadInputError, match="flat is not fitted"):
        fit_codec("flat", [], {})


def test_a_fitted_codec_is_fitted_by_its_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def fit(clips: Any, settings: Any) -> Any:
        seen.append((list(clips), dict(settings)))
        return "fitted"

    entry = replace(CODECS["flat"], name="fitted", weights=(), latents="fitted", fit=fit)
    add(monkeypatch, CODECS, entry)
    clip = np.zeros((4, 8, 8, 3), np.uint8)
    assert fit_codec("fitted", [clip], {"num_channels": 3}) == "fitted"  # type: ignore[comparison-overlap]
    assert seen[0][1] == {"num_channels": 3}
    values = load_preset("nano").model_dump(mode="json")
    values["backends"] |= {"codec": "fitted", "decoder": "fitted"}
    assert Preset.model_validate(values).codec is not None
    with pytest.raises(
        ValueError, match=r"belongs to backends\.codec = 'block-pca' or 'fitted' and to no other"
    ):
        Preset.model_validate(values | {"codec": None})
