"""Bundles that are damaged, foreign or hostile: one sentence before anything large is built, and no painted NaN."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from lipforcing_core.base.errors import BadInputError, IncompatibleCheckpointError
from lipforcing_core.base.products import file_sha256
from lipforcing_core.runtime.bundle import describe_bundle, load_bundle
from lipforcing_core.streaming.generate import generate_video
from lipforcing_core.streaming.generators import load_generator
from tests.streaming.helpers import FixedFace, texture, write_speech, write_video


@pytest.fixture
def folder(student_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(student_folder, tmp_path / "bundle"))


def edit(file: Path, change: Callable[[dict[str, Any]], object]) -> None:
    values = json.loads(file.read_text())
    change(values)
    file.write_text(json.dumps(values))


def set_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    """Other weights, with the hash that belongs to them."""
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")
    sha256 = file_sha256(folder / "model.safetensors")
    edit(folder / "bundle.json", lambda values: values.update(sha256=sha256))


def generate(folder: Path, tmp_path: Path) -> Path:
    bundle = load_bundle(folder)
    output = tmp_path / "out.mp4"
    generate_video(
        write_video(tmp_path / "v.mp4", texture(20)),
        write_speech(tmp_path / "a.wav", 0.72),
        output,
        generator=load_generator(bundle),
        audio_encoder=bundle.audio_encoder,
        detector=FixedFace(),
    )
    return output


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("which", ["all", "head.head.bias"])
def test_weights_that_are_no_numbers_end_it(value: float, which: str, folder: Path, tmp_path: Path) -> None:
    def damage(tensors: dict[str, torch.Tensor]) -> None:
        for name in tensors if which == "all" else [which]:
            tensors[name].fill_(value)

    set_weights(folder, damage)
    with pytest.raises(
        IncompatibleCheckpointError, match=r"student-test@sha256:\w+: gave values that are no numbers"
    ):
        generate(folder, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.wav", "bundle", "v.mp4"], "nothing is left"


def test_a_codec_that_is_no_numbers_ends_it(folder: Path, tmp_path: Path) -> None:
    tensors = load_file(folder / "codec.safetensors")
    tensors["synthesis"][0, 0] = float("nan")
    save_file(tensors, folder / "codec.safetensors", metadata={"format": "block-pca-v1"})
    with pytest.raises(IncompatibleCheckpointError, match="no numbers in chunk 0"):
        generate(folder, tmp_path)


HOSTILE = {
    "empty": b"",
    "a list": b"[]",
    "a number": b"3",
    "brackets": b"[" * 100_000,
    "objects": b'{"format":' * 100_000,
    "NUL": b"\0\0\0",
    "digits": b'{"format": ' + b"9" * 5_000 + b"}",
    "not UTF-8": b"\xff",
    "half a character": b'{"format": 1, "kind": "\\ud800"}',
}


@pytest.mark.parametrize("content", list(HOSTILE.values()), ids=list(HOSTILE))
@pytest.mark.parametrize("name", ["bundle.json", "preset.json"])
def test_descriptions_that_are_none(name: str, content: bytes, folder: Path) -> None:
    (folder / name).write_bytes(content)
    with pytest.raises(IncompatibleCheckpointError) as caught:
        describe_bundle(folder)
    message = str(caught.value)
    assert message.startswith(f"{folder}: its description is damaged ({folder / name}")
    assert "\n" not in message
    assert len(message) < 500
    assert message.isprintable()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"format": "1"}, "'format' must be a whole number"),
        ({"format": 2}, "bundle format 2, expected 1"),
        ({"format": 10**4000}, "bundle format 1000"),
        ({"kind": ["student"]}, "'kind' must be a text"),
        ({"kind": "critic"}, "unknown kind 'critic'; known: teacher, student"),
        ({"stage": 3}, "'stage' must be a text"),
        ({"stage": "a\x1b[31m"}, "'stage' is no name"),
        ({"stage": "../../a"}, "'stage' is no name"),
        ({"sha256": None}, "'sha256' must be a text"),
        ({"sha256": "abc"}, "'sha256' is no SHA-256"),
    ],
)
def test_facts_of_another_kind(values: dict[str, Any], words: str, folder: Path) -> None:
    edit(folder / "bundle.json", lambda facts: facts.update(values))
    with pytest.raises(IncompatibleCheckpointError) as caught:
        describe_bundle(folder)
    assert words in str(caught.value)


def test_a_missing_fact(folder: Path) -> None:
    edit(folder / "bundle.json", lambda facts: facts.pop("kind"))
    with pytest.raises(IncompatibleCheckpointError, match="has no 'kind'"):
        describe_bundle(folder)


@pytest.mark.parametrize(
    ("section", "values", "words"),
    [
        ("model", {"num_layers": 10**9}, "model.num_layers = 4, and preset.json says 1000000000"),
        ("model", {"dim": 4800, "num_heads": 200}, "model.dim = 48, and preset.json says 4800"),
        ("model", {"dim": 48 * 10**15}, "model.dim = 48"),
        ("model", {"ffn_dim": 10**12}, "model.ffn_dim = 64"),
        ("model", {"freq_dim": 10**12}, "model.freq_dim = 64"),
        ("model", {"text_dim": 10**12}, "model.text_dim = 32"),
        ("model", {"audio_hidden": 10**12}, "model.audio_hidden = 32"),
        ("model", {"patch_size": [1, 2, 10**9]}, "model.out_channels times the patch = 64"),
        ("model", {"text_len": 10**9}, "text_len: should be less than or equal to"),
        ("model", {"num_layers": 10**400}, "num_layers"),
        ("model", {"eps": "x" * 10**6}, "eps: should be a number"),
        ("video", {"size": 1_600_000}, "video.size: should be less than or equal to 4096"),
        ("window", {"window_latents": 10**9}, "window.window_latents: should be less than or equal to"),
        ("schedule", {"num_steps": 10**12}, "schedule.num_steps: should be less than or equal to"),
        ("codec", {"num_channels": 10**12}, "codec.num_channels: should be less than or equal to"),
    ],
)
def test_absurd_sizes_are_refused_at_once(
    section: str, values: dict[str, Any], words: str, folder: Path
) -> None:
    edit(folder / "preset.json", lambda preset: preset[section].update(values))
    begun = time.process_time()
    with pytest.raises(IncompatibleCheckpointError) as caught:
        load_bundle(folder)
    assert words in str(caught.value)
    assert len(str(caught.value)) < 600
    assert time.process_time() - begun < 5


def test_weights_of_something_else(folder: Path) -> None:
    set_weights(folder, lambda tensors: tensors.pop("patch_embedding.weight"))
    with pytest.raises(IncompatibleCheckpointError, match=r"holds no patch_embedding\.weight"):
        load_bundle(folder)


def test_a_model_beside_another_encoder(folder: Path) -> None:
    """The strict load would name a tensor; this names what does not belong together."""
    edit(folder / "preset.json", lambda preset: preset["model"].update(audio_dim=160))
    with pytest.raises(
        IncompatibleCheckpointError, match=r"features of width 320, and model\.audio_dim is 160"
    ):
        load_bundle(folder)


@pytest.mark.parametrize("name", ["bundle.json", "preset.json", "model.safetensors", "codec.safetensors"])
def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(name: str, folder: Path) -> None:
    (folder / name).unlink()
    os.mkfifo(folder / name)
    with pytest.raises(BadInputError) as caught:
        load_bundle(folder)
    assert "\n" not in str(caught.value)
    (folder / name).unlink()
    (folder / name).symlink_to("/dev/zero")
    with pytest.raises(BadInputError):
        load_bundle(folder)
