"""Shards of latent windows hold to the bit, and under the same keys, what the files of the clips hold."""

from __future__ import annotations

import hashlib
from dataclasses import fields
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.presets import Preset
from lipforcing_core.training.dataset import LatentWindows
from lipforcing_core.training.latent_files import CLIP_TENSORS, clips_in, content_of, write_shard


@pytest.fixture
def shards(clip_files: list[Path], tmp_path: Path) -> list[Path]:
    """The files of the clips in two shards, in the same order."""
    paths = [tmp_path / "000000.safetensors", tmp_path / "000001.safetensors"]
    write_shard(clip_files[:1], paths[0])
    write_shard(clip_files[1:], paths[1])
    return paths


def test_batches_and_keys_are_those_of_the_clips(
    clip_files: list[Path], shards: list[Path], preset: Preset
) -> None:
    assert len(clip_files) > 2
    alone, packed = LatentWindows(clip_files, preset.video), LatentWindows(shards, preset.video)
    assert packed.key == alone.key
    assert packed.num_windows == alone.num_windows
    assert (packed.latent_shape, packed.audio_dim) == (alone.latent_shape, alone.audio_dim)
    for step in range(6):
        one, other = alone.batch(3, seed=5, step=step), packed.batch(3, seed=5, step=step)
        assert all(torch.equal(getattr(one, f.name), getattr(other, f.name)) for f in fields(one))


def test_a_shard_tells_the_content_of_its_clips(clip_files: list[Path], shards: list[Path]) -> None:
    hashes = [hashlib.sha256(file.read_bytes()).hexdigest() for file in clip_files]
    assert [content_of(file) for file in clip_files] == [[sha256] for sha256 in hashes]
    assert content_of(shards[0]) + content_of(shards[1]) == hashes


def test_a_shard_has_the_tensors_of_every_clip(clip_files: list[Path], shards: list[Path]) -> None:
    stored = load_file(shards[1])
    ids = [clip.about["clip_id"] for clip in clips_in(shards[1], 21)]
    assert len(ids) == len(clip_files) - 1
    assert set(stored) == {f"{clip_id}/{name}" for clip_id in ids for name in CLIP_TENSORS}
    for clip_id, file in zip(ids, clip_files[1:], strict=True):
        assert all(torch.equal(stored[f"{clip_id}/{k}"], value) for k, value in load_file(file).items())


def test_equal_clips_give_equal_bytes(clip_files: list[Path], shards: list[Path], tmp_path: Path) -> None:
    write_shard(clip_files[1:], tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == shards[1].read_bytes()


def test_other_files_are_refused_by_name(tmp_path: Path, preset: Preset) -> None:
    (tmp_path / "text.safetensors").write_text("no")
    save_file({"weight": torch.zeros(2)}, tmp_path / "model.safetensors")
    for name in ("text", "model", "absent"):
        with pytest.raises(BadInputError, match=f"{name}.safetensors: is no file of latent windows"):
            LatentWindows([tmp_path / f"{name}.safetensors"], preset.video)
