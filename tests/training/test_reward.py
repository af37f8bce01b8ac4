"""The reward: what the sync expert is given, how rewards are scaled, and how they weigh losses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lipforcing_core.training.reward import RewardScale, SyncReward, reward_loss

LOSS, REWARD = torch.tensor([1.0, 3.0]), torch.tensor([0.0, 1.0])
WEIGHT = torch.tensor(2.0).exp()


def test_weightings() -> None:
    def weighed(weighting: str, beta: float = 2.0) -> Tensor:
        return reward_loss(LOSS, REWARD, beta=beta, weighting=weighting)  # type: ignore[arg-type]

    torch.testing.assert_close(weighed("per_sample"), (1 + WEIGHT * 3) / 2)
    torch.testing.assert_close(weighed("self_normalized"), (1 + WEIGHT * 3) / (1 + WEIGHT))
    torch.testing.assert_close(weighed("legacy_batch_mean"), (1 + WEIGHT) / 2 * torch.tensor(2.0))
    for weighting in ("per_sample", "self_normalized", "legacy_batch_mean"):
        torch.testing.assert_close(weighed(weighting, beta=0.0), torch.tensor(2.0))
    assert torch.isfinite(reward_loss(LOSS, 100 * REWARD, beta=2.0, weighting="self_normalized"))


def test_a_scale_that_does_nothing() -> None:
    scale = RewardScale(centre_momentum=None, clamp=None)
    assert torch.equal(scale(5 * REWARD), 5 * REWARD)
    assert scale.state_dict() == {"mean": None}


def test_rewards_are_centred_by_a_running_mean_then_clamped() -> None:
    scale = RewardScale(centre_momentum=0.75, clamp=None)
    torch.testing.assert_close(scale(torch.tensor([1.0, 3.0])), torch.tensor([-1.0, 1.0]))
    mean = 0.75 * 2.0 + 0.25 * 6.0
    torch.testing.assert_close(scale(torch.tensor([4.0, 8.0])), torch.tensor([4.0, 8.0]) - mean)
    again = RewardScale(centre_momentum=0.75, clamp=1.0)
    again.load_state_dict(scale.state_dict())
    mean = 0.75 * mean + 0.25 * 3.0
    got = again(torch.tensor([2.75, 3.25]))
    torch.testing.assert_close(got, torch.tensor([2.75, 3.25]) - mean)
    torch.testing.assert_close(again(torch.tensor([-9.0, 9.0])), torch.tensor([-1.0, 1.0]))


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
