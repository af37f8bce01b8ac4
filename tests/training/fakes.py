"""Stand-ins with known answers, and settings that fill what a test does not care about."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from lipforcing_core.models.conditions import Conditions, EncodedConditions
from lipforcing_core.presets.schema import DistillSettings, ForcingSettings, StageSettings, TeacherSettings
from lipforcing_core.runtime.prompts import Prompts
from lipforcing_core.training.dataset import Batch
from lipforcing_core.training.state_files import read_plain


class FakeReward:
    """Prefers loud rollouts; stands for a sync expert."""

    backend_id = "fake-reward"

    def score(self, latents_BCTHW: Tensor, waveform_BS: Tensor) -> Tensor:
        return latents_BCTHW.abs().mean(dim=(1, 2, 3, 4))


class Answering(nn.Module):
    """A network with one weight that answers ``weight x answer(x, t)`` and remembers what it was asked."""

    def __init__(self, answer: Callable[[Tensor, Tensor], Tensor], weight: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight))
        self.answer = answer
        self.conditions: list[Conditions] = []
        self.calls: list[tuple[Tensor, Tensor]] = []
        self.grad_enabled: list[bool] = []

    def encode_conditions(self, cond: Conditions) -> EncodedConditions:
        self.conditions.append(cond)
        return EncodedConditions(y_BCTHW=cond.masked_video_BCTHW, context_BLD=cond.text_BLD, audio_BPTD=None)

    def forward(self, x: Tensor, t: Tensor, encoded: EncodedConditions) -> Tensor:
        self.calls.append((x.detach(), t))
        self.grad_enabled.append(torch.is_grad_enabled())
        return self.weight * self.answer(x, t)

    def forward_full(self, x: Tensor, t_BT: Tensor, encoded: EncodedConditions) -> Tensor:
        return self(x, t_BT, encoded)


class Past(tuple[Tensor, ...]):
    """The stored chunks."""


class ListCache:
    """Remembers every chunk that was stored."""

    def __init__(self) -> None:
        self.chunks: list[Tensor] = []

    def snapshot(self) -> Past:
        return Past(self.chunks)


class ChunkAnswering(Answering):
    """A student of two-latent chunks: velocity = weight x (x + mean of what it stored) + number of stored chunks."""

    def __init__(self, weight: float = 0.5) -> None:
        super().__init__(lambda x, t: x, weight)
        self.log: list[tuple[str, float, bool, int]] = []
        self.seen: list[tuple[str, Tensor | None]] = []
        self.stored: list[Tensor] = []

    def chunks(self, num_latents: int) -> list[tuple[int, int]]:
        return [(start, start + 2) for start in range(0, num_latents, 2)]

    def new_cache(self, batch: int, height: int, width: int) -> ListCache:
        return ListCache()

    def denoise_chunk(self, x: Tensor, t: Tensor, encoded: EncodedConditions, past: Past) -> Tensor:
        self.log.append(("denoise", float(t), torch.is_grad_enabled(), len(past)))
        self.seen.append(("denoise", encoded.y_BCTHW))
        memory = sum((chunk.mean() for chunk in past), torch.zeros(()))
        return self.weight * (x + memory) + len(past)

    def store_chunk(self, x0: Tensor, encoded: EncodedConditions, cache: ListCache) -> None:
        self.log.append(("store", 0.0, torch.is_grad_enabled(), len(cache.chunks)))
        self.seen.append(("store", encoded.y_BCTHW))
        self.stored.append(x0)
        cache.chunks.append(self.weight * x0)


def make_batch(size: int = 2, num_latents: int = 4, *, channels: int = 2, seed: int = 0) -> Batch:
    """A tiny random batch; the left column of the picture is the mouth."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    keep = torch.ones(2, 2)
    keep[:, 0] = 0
    return Batch(
        latents_BCTHW=normal(size, channels, num_latents, 2, 2),
        masked_BCTHW=normal(size, channels, num_latents, 2, 2),
        reference_BC1HW=normal(size, channels, 1, 2, 2),
        reference_sequence_BCTHW=normal(size, channels, num_latents, 2, 2),
        audio_BND=normal(size, 4 * num_latents - 3, 3),
        waveform_BS=normal(size, 8),
        keep_mask_HW=keep,
    )


def make_prompts() -> Prompts:
    """A prompt of ones and a negative prompt of minus ones."""
    return Prompts(text_BLD=torch.ones(1, 2, 3), negative_text_BLD=-torch.ones(1, 2, 3))


def read_state(state: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The plain values and the tensors of a state that one worker wrote."""
    (file,) = state.glob("*.safetensors")
    return read_plain(state), load_file(file)


STAGE: dict[str, Any] = {
    "steps": 4, "batch_size": 2, "learning_rate": 0.1, "weight_decay": 0.0, "clip_norm": 1e6,
    "precision": "fp32", "seed": 0, "checkpoint_every": 2,
}  # fmt: skip


def stage_settings(**values: Any) -> StageSettings:
    return StageSettings.model_validate(STAGE | values)


def teacher_settings(**values: Any) -> TeacherSettings:
    usual = {"mouth_weight": 1.0, "timestep_weighting": "none", "text_dropout": 0.0, "audio_dropout": 0.0}
    return TeacherSettings.model_validate(STAGE | usual | values)


def forcing_settings(**values: Any) -> ForcingSettings:
    return ForcingSettings.model_validate(STAGE | {"mouth_weight": 1.0} | values)


def distill_settings(student: dict[str, Any] | None = None, **values: Any) -> DistillSettings:
    usual = {
        "student": STAGE | (student or {}), "critic_learning_rate": 0.05, "critic_per_student": 2,
        "reward_beta": 2.0, "reward_weighting": "per_sample",
    }  # fmt: skip
    return DistillSettings.model_validate(usual | values)
