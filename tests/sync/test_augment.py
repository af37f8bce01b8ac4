"""The degradations that stand for the factory's own pictures."""

from __future__ import annotations

import numpy as np
import torch

from lipforcing_core.sync.augment import augment, block_codec, reduce_mouth
from lipforcing_core.sync.experts.nano import mouth_region
from lipforcing_core.sync.puppet_data import cut_mouth


def moving_ramp(num_frames: int) -> torch.Tensor:
    """[F, 3, 56, 80] grey, linear in place and time."""
    time, row, column = torch.meshgrid(
        torch.arange(num_frames), torch.arange(56), torch.arange(80), indexing="ij"
    )
    return (60 + 1.0 * time + 0.7 * row + 0.5 * column)[:, None].expand(-1, 3, -1, -1)


def test_all_cosines_of_a_block_give_the_picture_back() -> None:
    video = 255 * torch.rand(9, 3, 56, 80, generator=torch.Generator().manual_seed(0))
    grey = video.mean(dim=1, keepdim=True).expand(-1, 3, -1, -1)
    coded = block_codec(grey, 426)  # 256 for brightness, 85 for each colour
    np.testing.assert_allclose(coded, grey, atol=1e-2)


def test_few_cosines_keep_a_ramp_and_lose_noise() -> None:
    ramp = moving_ramp(13)
    assert (block_codec(ramp, 16) - ramp).abs().mean() < 1.0
    noise = 100 * torch.rand(13, 3, 56, 80, generator=torch.Generator().manual_seed(0))
    assert block_codec(noise, 16).std() < 0.4 * noise.std()


def test_frame_zero_is_coded_alone() -> None:
    video = moving_ramp(9).clone()
    later = video.clone()
    later[1:] += 30
    assert torch.equal(block_codec(video, 16)[0], block_codec(later, 16)[0])
    changed = block_codec(later, 16)[1:] - block_codec(video, 16)[1:]
    np.testing.assert_allclose(changed, 30, atol=0.5)


def test_augment_follows_its_generator() -> None:
    video = moving_ramp(8)[None].repeat(6, 1, 1, 1, 1)
    first = augment(video, torch.Generator().manual_seed(1))
    again = augment(video, torch.Generator().manual_seed(1))
    other = augment(video, torch.Generator().manual_seed(2))
    assert first.shape == (6, 8, 3, 40, 48)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_training_and_scoring_cut_the_same_mouth() -> None:
    crop = np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    trained = reduce_mouth(torch.from_numpy(cut_mouth(crop)).permute(2, 0, 1)[None].float())
    scored = torch.from_numpy(mouth_region(crop)).permute(2, 0, 1).float()
    # Scoring rounds to whole levels, training does not.
    assert (trained[0] - scored).abs().max() <= 0.51
