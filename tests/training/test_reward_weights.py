"""How rewards are scaled, how they weigh losses within a micro-batch and beyond it, and what the log says of it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lipforcing_core.training.reward_weights import (
    RewardScale,
    RewardWeighting,
    reward_loss,
    reward_statistics,
    weighs_together,
)

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


@pytest.mark.parametrize("parts", [1, 2, 3, 6])
def test_micro_batches_weigh_together_whatever_their_size(parts: int) -> None:
    """The mean of their losses is the sum of w L over the sum of w of the six samples."""
    loss_N, reward_N = torch.arange(6.0) + 1, torch.tensor([0.0, 3.0, 1.0, 2.0, 5.0, 4.0])
    weight_N = torch.exp(0.5 * reward_N)
    losses, rewards = loss_N.chunk(parts), reward_N.chunk(parts)
    total = torch.stack(
        [
            reward_loss(
                losses[n], rewards[n], beta=0.5, weighting="self_normalized",
                others_M=torch.cat([torch.empty(0), *rewards[:n], *rewards[n + 1 :]]),
            )
            for n in range(parts)
        ]
    ).mean()  # fmt: skip
    torch.testing.assert_close(total, (weight_N * loss_N).sum() / weight_N.sum())


@pytest.mark.parametrize(
    ("weighting", "centres", "together"),
    [
        ("per_sample", False, False), ("legacy_batch_mean", False, False), ("self_normalized", False, True),
        ("per_sample", True, True), ("self_normalized", True, True),
    ],
)  # fmt: skip
def test_who_weighs_together(weighting: RewardWeighting, centres: bool, together: bool) -> None:
    assert weighs_together(weighting, centres=centres) is together


def statistics(
    reward_N: torch.Tensor, scaled_N: torch.Tensor, *, beta: float, weighting: RewardWeighting = "per_sample"
) -> dict[str, float]:
    return reward_statistics(reward_N, scaled_N, beta=beta, weighting=weighting, micro_batch=2)


def test_statistics_by_hand() -> None:
    reward = torch.tensor([1.0, 2.0, 3.0, 6.0])
    found = statistics(reward, torch.tensor([0.0, 0.0, 1.0, 0.0]), beta=2.0)
    weight = float(torch.tensor(2.0).exp())
    assert found == {
        "reward": 3.0,
        "reward_spread": pytest.approx((14 / 4) ** 0.5),
        "effective_samples": pytest.approx((3 + weight) ** 2 / (3 + weight**2)),
    }
    flat = statistics(reward, reward, beta=0.0, weighting="self_normalized")
    assert flat["effective_samples"] == pytest.approx(4.0)
    far = statistics(reward, 1e4 * reward, beta=2.0)
    assert far["effective_samples"] == pytest.approx(1.0)
    pairs = statistics(reward, torch.tensor([0.0, 0.0, 1.0, 0.0]), beta=2.0, weighting="legacy_batch_mean")
    mean = (1 + weight) / 2
    assert pairs["effective_samples"] == pytest.approx((2 + 2 * mean) ** 2 / (2 + 2 * mean**2)), (
        "one weight a pair"
    )


def test_published_weights_leave_few_samples() -> None:
    """At Sync-C 5.5 +- 1.2 a beta of 2 leaves about one sample of 64 (method H.2, risk 5)."""
    reward = 5.5 + 1.2 * torch.randn(64, generator=torch.Generator().manual_seed(0))
    found = statistics(reward, reward, beta=2.0)
    assert 1.0 < found["effective_samples"] < 4.0
