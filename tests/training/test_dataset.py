"""Latent windows: what is in a batch, that it depends on (seed, step) alone, and that nothing leaks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.models.codecs.block import BlockCodec
from lipforcing_core.presets import Preset
from lipforcing_core.training.dataset import Batch, LatentWindows

from .conftest import make_clip, write_clip


def test_batch_shapes(data: LatentWindows) -> None:
    batch = data.batch(5, seed=0, step=0)
    assert batch.latents_BCTHW.shape == batch.masked_BCTHW.shape == (5, 16, 6, 8, 8)
    assert batch.reference_sequence_BCTHW.shape == batch.latents_BCTHW.shape
    assert batch.reference_BC1HW.shape == (5, 16, 1, 8, 8)
    assert batch.audio_BND.shape == (5, 21, 320)
    assert batch.waveform_BS.shape == (5, 21 * 640)
    assert batch.keep_mask_HW.shape == (8, 8)
    assert batch.waveform_BS.dtype == torch.float32


def test_batches_depend_on_seed_and_step_alone(
    data: LatentWindows, clip_files: list[Path], preset: Preset
) -> None:
    first = data.batch(4, seed=1, step=7)
    data.batch(4, seed=1, step=8)
    again = LatentWindows(clip_files, preset.video).batch(4, seed=1, step=7)
    assert torch.equal(first.latents_BCTHW, again.latents_BCTHW)
    assert torch.equal(first.reference_sequence_BCTHW, again.reference_sequence_BCTHW)
    assert not torch.equal(first.latents_BCTHW, data.batch(4, seed=1, step=8).latents_BCTHW)
    assert not torch.equal(first.latents_BCTHW, data.batch(4, seed=2, step=7).latents_BCTHW)


def test_sound_belongs_to_the_picture(data: LatentWindows, codec: BlockCodec) -> None:
    """Brightness follows loudness in these clips, so picture and sound of a sample must beat together."""
    batch = data.batch(6, seed=3, step=0)
    brightness = codec.decode(batch.latents_BCTHW).mean(dim=(1, 3, 4)).numpy()
    loudness = batch.waveform_BS.reshape(6, 21, 640).square().mean(dim=2).sqrt().numpy()
    for picture, sound in zip(brightness, loudness, strict=True):
        assert np.corrcoef(picture, sound)[0, 1] > 0.9


def test_masked_latents_hide_the_mouth(data: LatentWindows, codec: BlockCodec) -> None:
    from lipforcing_core.faces.mask import keep_mask

    batch = data.batch(2, seed=0, step=0)
    inner = torch.zeros(64, 64, dtype=torch.bool)
    inner[40:56, 16:48] = True  # well inside the mouth region
    assert not keep_mask(64)[inner.numpy()].any()
    hidden = codec.decode(batch.masked_BCTHW)[..., inner]
    shown = codec.decode(batch.latents_BCTHW)[..., inner]
    assert hidden.std() < 0.2 * shown.std()


def test_reference_sequence_never_overlaps_the_target(preset: Preset, tmp_path: Path) -> None:
    """Every frame of this clip shows its own number, so an overlap would show a common number."""
    levels = np.linspace(20, 235, 70).round().astype(np.uint8)
    frames = np.broadcast_to(levels[:, None, None, None], (70, 64, 64, 3)).copy()
    codec = BlockCodec.fit([frames])
    path = tmp_path / "clip.safetensors"
    write_clip(path, frames, np.zeros(0), codec, preset)
    batch = LatentWindows([path], preset.video).batch(24, seed=0, step=0)
    target = codec.decode(batch.latents_BCTHW).mean(dim=(1, 3, 4))
    other = codec.decode(batch.reference_sequence_BCTHW).mean(dim=(1, 3, 4))
    gap = torch.maximum(target[:, 0] - other[:, -1], other[:, 0] - target[:, -1])
    assert (gap > 0).all()


def test_a_clip_too_short_for_a_reference_gets_zeros(
    preset: Preset, codec: BlockCodec, tmp_path: Path
) -> None:
    """Of 32 frames two windows of 21 have to share ten, and a partial reference shows twelve that are not shared."""
    path = tmp_path / "clip.safetensors"
    assert write_clip(path, *make_clip(5, 32), codec, preset) == 2
    batch = LatentWindows([path], preset.video).batch(4, seed=0, step=0)
    assert not batch.reference_sequence_BCTHW.any()
    assert batch.reference_BC1HW.any()


def test_encoding_is_atomic_and_repeatable(preset: Preset, codec: BlockCodec, tmp_path: Path) -> None:
    paths = [tmp_path / "a.safetensors", tmp_path / "b.safetensors"]
    counts = [write_clip(path, *make_clip(0, 57), codec, preset) for path in paths]
    assert counts == [4, 4]
    first, second = (load_file(path) for path in paths)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.safetensors", "b.safetensors"]


def test_silenced_and_selected_samples(data: LatentWindows) -> None:
    batch = data.batch(3, seed=0, step=0)
    silent = batch.silenced(torch.tensor([True, False, True]))
    assert not silent.audio_BND[[0, 2]].any()
    assert torch.equal(silent.audio_BND[1], batch.audio_BND[1])
    assert isinstance(silent, Batch)


def test_errors(preset: Preset, codec: BlockCodec, clip_files: list[Path], tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="clip x has 20 frames; a training window needs 21"):
        write_clip(tmp_path / "x", *make_clip(0, 20), codec, preset)
    with pytest.raises(BadInputError, match="no training clips"):
        LatentWindows([], preset.video)
    frames, waveform = make_clip(9, 48)
    write_clip(tmp_path / "other", frames, waveform, BlockCodec.fit([frames]), preset)
    with pytest.raises(BadInputError, match="different backends"):
        LatentWindows([*clip_files, tmp_path / "other"], preset.video)
