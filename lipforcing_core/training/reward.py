"""The reward of the distillation: how well the decoded rollout is in sync with its sound, by a sync expert."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from lipforcing_core.models.codecs.pixels import to_pixels
from lipforcing_core.models.codecs.protocol import VideoCodec


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
