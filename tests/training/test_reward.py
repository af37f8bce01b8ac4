"""The reward: what codec and sync expert are given, and how scores come back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lipforcing_core.training.reward import SyncReward


class Codec:
    """Decodes a latent to a picture of its mean value, and takes note."""

    backend_id = "codec-v1"

    def __init__(self) -> None:
        self.asked: list[Tensor] = []

    def decode(self, latents_BCTHW: Tensor) -> Tensor:
        assert not torch.is_grad_enabled()
        self.asked.append(latents_BCTHW)
        return latents_BCTHW.mean(dim=1, keepdim=True).expand(-1, 3, -1, -1, -1)


class Expert:
    """The score of a clip is its red mean; takes note of what it is given."""

    backend_id = "expert-v1"

    def __init__(self) -> None:
        self.given: list[tuple[np.ndarray, np.ndarray]] = []

    def reward_score(self, frames: np.ndarray, waveform: np.ndarray) -> float:
        self.given.append((frames, waveform))
        return float(frames[..., 0].mean())


@pytest.mark.parametrize(
    ("level", "pixel"), [(-2.0, 0), (-1.0, 0), (0.0, 128), (0.5, 191), (1.0, 255), (3.0, 255), (-0.9921, 1)]
)
def test_pixels_are_rounded_and_clamped(level: float, pixel: int) -> None:
    expert = Expert()
    latents = torch.full((1, 2, 3, 4, 5), level, requires_grad=True)
    score = SyncReward(Codec(), expert).score(latents, torch.zeros(1, 4))  # type: ignore[arg-type]
    frames, _ = expert.given[0]
    assert frames.shape == (3, 4, 5, 3)
    assert frames.dtype == np.uint8
    assert frames.flags.c_contiguous, "as OpenCV wants it"
    assert (frames == pixel).all()
    assert score.tolist() == [pixel]
    assert score.dtype == torch.float32
    assert not score.requires_grad


def test_each_sample_is_scored_with_its_own_sound() -> None:
    codec, expert = Codec(), Expert()
    reward = SyncReward(codec, expert)  # type: ignore[arg-type]
    latents = torch.stack([torch.full((2, 3, 4, 5), value) for value in (-1.0, 1.0)]).to(torch.bfloat16)
    waveform = torch.tensor([[0.25, -0.5], [1.0, 0.0]], dtype=torch.bfloat16)
    assert reward.score(latents, waveform).tolist() == [0.0, 255.0]
    assert reward.backend_id == "expert-v1+codec-v1"
    sounds = [sound for _, sound in expert.given]
    assert [sound.dtype for sound in sounds] == [np.float32] * 2
    np.testing.assert_array_equal(np.stack(sounds), [[0.25, -0.5], [1.0, 0.0]])
    assert all(asked.dtype == torch.float32 and asked.shape == (1, 2, 3, 4, 5) for asked in codec.asked)


def test_a_waveform_for_every_sample(codec: Any) -> None:
    with pytest.raises(ValueError, match="shorter"):
        SyncReward(codec, Expert()).score(torch.zeros(2, 16, 1, 8, 8), torch.zeros(1, 4))


def test_rewards_are_float32_whatever_is_usual(codec: Any) -> None:
    usual = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        score = SyncReward(Codec(), Expert()).score(torch.zeros(1, 2, 1, 4, 4), torch.zeros(1, 4))  # type: ignore[arg-type]
    finally:
        torch.set_default_dtype(usual)
    assert score.dtype == torch.float32
