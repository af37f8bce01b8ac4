"""The stand-in networks of the training vectors, as modules that offer the calls the training side asks for.

    h = A x + P picture + U audio + W mean(text) + t g (+ sin(0.5 s) q + past),  velocity = 1.5 tanh(h)

Letters: B batch, C channels, T latents (of a clip or chunk), H W latent size, D features, L text tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lipforcing_core.models.conditions import Conditions, EncodedConditions
from lipforcing_core.models.window import WindowConfig
from lipforcing_core.runtime.prompts import Prompts
from lipforcing_core.training.dataset import Batch

DECAY = 0.6


class StandIn(nn.Module):
    """Teacher or critic: a ``VelocityNetwork`` with the stored parameters."""

    def __init__(self, parameters: Mapping[str, Tensor]) -> None:
        super().__init__()
        for name, value in parameters.items():
            self.register_parameter(name, nn.Parameter(value.clone()))

    def encode_conditions(self, cond: Conditions) -> EncodedConditions:
        """Picture, text and one audio vector per latent as they are; the network itself mixes them."""
        assert cond.audio_BND is not None
        return EncodedConditions(
            y_BCTHW=cond.masked_video_BCTHW, context_BLD=cond.text_BLD, audio_BPTD=cond.audio_BND[:, None]
        )

    def forward(self, x: Tensor, t: Tensor, encoded: EncodedConditions) -> Tensor:
        return 1.5 * torch.tanh(self.mixed(x, t, encoded))

    def mixed(self, x: Tensor, t: Tensor, encoded: EncodedConditions) -> Tensor:
        """h without what only a student has; ``t``: a number, ``[B]`` or ``[B, T]``."""
        picture, audio = encoded.y_BCTHW, encoded.audio_BPTD
        assert picture is not None
        assert audio is not None
        h = torch.einsum("cd,bdthw->bcthw", self.A, x) + torch.einsum("cd,bdthw->bcthw", self.P, picture)
        h = h + torch.einsum("ck,btk->bct", self.U, audio[:, 0])[..., None, None]
        h = h + torch.einsum("ck,bk->bc", self.W, encoded.context_BLD.mean(1))[:, :, None, None, None]
        t = t.to(x.dtype)
        t_B1TH1W1 = t.view(len(t), 1, -1, 1, 1) if t.ndim else t.view(1, 1, 1, 1, 1)
        return h + t_B1TH1W1 * self.g.view(1, -1, 1, 1, 1)


@dataclass(frozen=True)
class StandInPast:
    """What is stored when a chunk is generated: entries ``[B, C, H, W]``, one for each latent."""

    entries: tuple[Tensor, ...]


class StandInCache:
    """Everything that was stored, without detaching anything."""

    def __init__(self) -> None:
        self.entries: list[Tensor] = []

    def snapshot(self) -> StandInPast:
        return StandInPast(tuple(self.entries))


@dataclass(frozen=True)
class Call:
    """One call of a student: what it was, at which latents and level, whether gradients were on, and its input."""

    kind: str
    start: int
    stop: int
    t: float
    gradient: bool
    x: Tensor


class StandInStudent(StandIn):
    """A ``ChunkStudent`` and ``ClipStudent`` with the stored parameters, which writes down how it is called."""

    def __init__(self, parameters: Mapping[str, Tensor], chunk_latents: int) -> None:
        super().__init__(parameters)
        self.window = WindowConfig(chunk_latents=chunk_latents, window_latents=None, sink_latents=0)
        self.calls: list[Call] = []
        self.caches: list[StandInCache] = []
        self.last_velocity: Tensor | None = None

    def chunks(self, num_latents: int) -> list[tuple[int, int]]:
        return self.window.chunks(num_latents)

    def new_cache(self, batch: int, height: int, width: int) -> StandInCache:
        self.caches.append(StandInCache())
        return self.caches[-1]

    def forward_full(self, x: Tensor, t_BT: Tensor, encoded: EncodedConditions) -> Tensor:
        velocity = self(x, t_BT, encoded)
        if velocity.requires_grad:
            velocity.retain_grad()
        self.last_velocity = velocity
        return velocity

    def denoise_chunk(self, x: Tensor, t: Tensor, encoded: EncodedConditions, past: StandInPast) -> Tensor:
        start = len(past.entries)
        self._note("denoise", start, x, float(t))
        h = self.mixed(x, t, encoded)
        h = h + torch.sin(torch.tensor(0.5 * start)) * self.q.view(1, -1, 1, 1, 1)
        if past.entries:
            weights = [DECAY ** (start - index) for index in range(start)]
            seen = sum(weight * entry for weight, entry in zip(weights, past.entries, strict=True))
            assert isinstance(seen, Tensor)
            h = h + seen[:, :, None]
        return 1.5 * torch.tanh(h)

    def store_chunk(
        self, x0: Tensor, encoded: EncodedConditions, cache: StandInCache, t: float = 0.0
    ) -> None:
        self._note("store", len(cache.entries), x0, t)
        for latent in x0.unbind(2):
            cache.entries.append(
                torch.tanh(torch.einsum("cd,bdhw->bchw", self.K, latent) + t * self.r.view(1, -1, 1, 1))
            )

    def _note(self, kind: str, start: int, x: Tensor, t: float) -> None:
        self.calls.append(
            Call(kind, start, start + x.shape[2], t, torch.is_grad_enabled(), x.detach().clone())
        )


def parameters_of(data: Mapping[str, Tensor], role: str) -> dict[str, Tensor]:
    """The parameters of one network among the inputs of a case, by their short names."""
    prefix = f"in.{role}."
    return {name.removeprefix(prefix): data[name] for name in data if name.startswith(prefix)}


def standin_batch(latents: Tensor, audio: Tensor, picture: Tensor) -> Batch:
    """A batch for stand-ins: the picture takes the place of the masked video, audio has one vector per latent."""
    return Batch(
        latents_BCTHW=latents,
        masked_BCTHW=picture,
        reference_BC1HW=latents[:, :, :1],
        reference_sequence_BCTHW=torch.zeros_like(latents),
        audio_BND=audio,
        waveform_BS=torch.zeros(len(latents), 1),
        keep_mask_HW=torch.ones(latents.shape[-2:]),
    )


def standin_prompts(text: Tensor, null_text: Tensor | None = None) -> Prompts:
    """The prompts of a case; where the null text is not stored, nothing asks for it."""
    return Prompts(
        text_BLD=text, negative_text_BLD=torch.full_like(text, torch.nan) if null_text is None else null_text
    )


def stage_settings(**values: object) -> dict[str, object]:
    """Settings of a stage with what a case says, and values that do not matter elsewhere."""
    return {
        "steps": 1, "batch_size": 1, "learning_rate": 1.0, "weight_decay": 0.0, "clip_norm": 1.0,
        "precision": "fp32", "seed": 0, "checkpoint_every": 1,
    } | values  # fmt: skip
