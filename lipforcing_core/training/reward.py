"""The reward of the distillation: how well the decoded rollout is in sync with its sound, by a sync expert."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from lipforcing_core.models.codecs.pixels import to_pixels
from lipforcing_core.models.codecs.protocol import VideoCodec

RewardWeighting = Literal["per_sample", "self_normalized", "legacy_batch_mean"]


class RewardModel(Protocol):
    """Scores clips of latents against waveforms, without gradient."""

    backend_id: str

    def score(self, latents_BCTHW: Tensor, waveform_BS: Tensor) -> Tensor:
        """One reward per sample ``[B]``; the waveform is fp32 in [-1, 1] at 16 kHz."""
        ...


class SyncScorer(Protocol):
    """The part of a sync expert that the reward uses."""

    @property
    def backend_id(self) -> str:
        """Name and content hash of the weights."""
        ...

    def reward_score(self, frames: np.ndarray, waveform: np.ndarray) -> float:
        """Sync-C of ``[F, S, S, 3]`` uint8 RGB aligned crops, out-of-range shifts shortened (method D.5)."""
        ...


class SyncReward:
    """Decode with the codec, round to 8-bit pixels, and ask the sync expert for its Sync-C."""

    def __init__(self, codec: VideoCodec, expert: SyncScorer) -> None:
        self._codec, self._expert = codec, expert
        self.backend_id = f"{expert.backend_id}+{codec.backend_id}"

    @torch.no_grad()
    def score(self, latents_BCTHW: Tensor, waveform_BS: Tensor) -> Tensor:
        """Rewards ``[B]`` of the rollouts."""
        scores = []
        for latent_CTHW, waveform_S in zip(latents_BCTHW, waveform_BS, strict=True):
            frames = to_pixels(self._codec.decode(latent_CTHW[None].float()))
            scores.append(self._expert.reward_score(frames, waveform_S.float().cpu().numpy()))
        return torch.tensor(scores, dtype=torch.float32)


class RewardScale:
    """What is done to rewards before they weigh anything: centring by a running mean, then clamping. Both may be off.

    The running mean starts at the mean of the first batch, so its first rewards are centred by themselves.
    """

    def __init__(self, *, centre_momentum: float | None, clamp: float | None) -> None:
        """centre_momentum: share of the old mean that is kept; None does not centre. clamp: None does not clamp."""
        self._momentum, self._clamp = centre_momentum, clamp
        self._mean: float | None = None

    def __call__(self, reward_B: Tensor) -> Tensor:
        """The scaled rewards ``[B]`` of the next batch."""
        if self._momentum is not None:
            mean = float(reward_B.mean())
            old = mean if self._mean is None else self._mean
            self._mean = self._momentum * old + (1.0 - self._momentum) * mean
            reward_B = reward_B - self._mean
        return reward_B if self._clamp is None else reward_B.clamp(-self._clamp, self._clamp)

    def state_dict(self) -> Mapping[str, Any]:
        """The running mean."""
        return {"mean": self._mean}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a running mean."""
        self._mean = state["mean"]


def reward_loss(loss_B: Tensor, reward_B: Tensor, *, beta: float, weighting: RewardWeighting) -> Tensor:
    """Weigh the losses of samples by w = exp(beta r) (method D.5).

    ``per_sample``, the published form, is mean(w L): the weights are unbounded and mostly decide whether the
    gradient is clipped (H.2, risk 5). ``self_normalized`` is sum(w L) / sum(w): the reward only shifts the
    emphasis between the samples of a micro-batch and leaves the size of the step to the learning rate.
    ``legacy_batch_mean`` is mean(w) mean(L): no sample is preferred.
    """
    if weighting == "self_normalized":
        return (torch.softmax(beta * reward_B, dim=0) * loss_B).sum()
    weight_B = torch.exp(beta * reward_B)
    if weighting == "legacy_batch_mean":
        return weight_B.mean() * loss_B.mean()
    return (weight_B * loss_B).mean()
