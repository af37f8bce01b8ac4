"""How rewards weigh the losses of samples, among all samples of an effective batch (method D.5, H.2).

The published weight exp(beta R) of a sample needs that sample's reward alone, so a micro-batch can be weighed at once.
A weight that is relative to the other samples, or to their mean, needs the rewards of all micro-batches first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor

RewardWeighting = Literal["per_sample", "self_normalized", "legacy_batch_mean"]


class RewardScale:
    """What is done to rewards before they weigh anything: centring by a running mean, then clamping. Both may be off.

    The running mean starts at the mean of the first effective batch, so its first rewards are centred by themselves.
    """

    def __init__(self, *, centre_momentum: float | None, clamp: float | None) -> None:
        """centre_momentum: share of the old mean that is kept; None does not centre. clamp: None does not clamp."""
        self._momentum, self._clamp = centre_momentum, clamp
        self._mean: float | None = None

    @property
    def centres(self) -> bool:
        """Whether it needs all rewards of an effective batch at once, and has a memory."""
        return self._momentum is not None

    def __call__(self, reward_N: Tensor) -> Tensor:
        """The scaled rewards ``[N]`` of the next effective batch."""
        if self._momentum is not None:
            mean = float(reward_N.mean())
            old = mean if self._mean is None else self._mean
            self._mean = self._momentum * old + (1.0 - self._momentum) * mean
            reward_N = reward_N - self._mean
        return reward_N if self._clamp is None else reward_N.clamp(-self._clamp, self._clamp)

    def state_dict(self) -> Mapping[str, Any]:
        """The running mean."""
        return {"mean": self._mean}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a running mean."""
        self._mean = state["mean"]


def weighs_together(weighting: RewardWeighting, *, centres: bool) -> bool:
    """Whether the weight of a sample depends on samples of other micro-batches."""
    return centres or weighting == "self_normalized"


def reward_loss(
    loss_B: Tensor,
    reward_B: Tensor,
    *,
    beta: float,
    weighting: RewardWeighting,
    others_M: Tensor | None = None,
) -> Tensor:
    """The loss of a micro-batch, of whose samples each is weighed by w = exp(beta r); a scalar (method D.5).

    reward_B, others_M: scaled rewards of its samples, and of those of the effective batch that are in other
    micro-batches of the same size. The mean of these losses over the micro-batches is the loss of the effective batch.

    ``per_sample``, the published form, is mean(w L): the weights are unbounded and mostly decide whether the
    gradient is clipped (H.2, risk 5). ``self_normalized`` is sum(w L) / sum(w) over the effective batch: the reward
    only shifts the emphasis between its samples and leaves the size of the step to the learning rate.
    ``legacy_batch_mean`` is mean(w) mean(L) of the micro-batch: no sample of it is preferred.
    """
    if weighting == "self_normalized":
        all_N = reward_B if others_M is None else torch.cat([reward_B, others_M.to(reward_B)])
        share_B = torch.softmax(beta * all_N, dim=0)[: len(reward_B)]
        return len(all_N) / len(reward_B) * (share_B * loss_B).sum()
    weight_B = torch.exp(beta * reward_B)
    if weighting == "legacy_batch_mean":
        return weight_B.mean() * loss_B.mean()
    return (weight_B * loss_B).mean()


def reward_statistics(
    reward_N: Tensor, scaled_N: Tensor, *, beta: float, weighting: RewardWeighting, micro_batch: int
) -> dict[str, float]:
    """What the rewards of an effective batch do to it. micro_batch: its samples come in groups of so many.

    ``reward`` and ``reward_spread`` are their mean and standard deviation (of these N, not of a population that they
    stand for). ``effective_samples``, between 1 and N, is sum(w)^2 / sum(w^2): how many equally weighed samples would
    have an average as noisy.
    """
    share_N = torch.softmax(beta * scaled_N.double(), dim=0)
    if weighting == "legacy_batch_mean":  # all samples of a micro-batch weigh the same
        share_N = share_N.view(-1, micro_batch).mean(dim=1).repeat_interleave(micro_batch)
    return {
        "reward": reward_N.mean().item(),
        "reward_spread": reward_N.std(correction=0).item(),
        "effective_samples": 1.0 / float(share_N.square().sum()),
    }
