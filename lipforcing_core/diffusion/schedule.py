"""Rectified flow on a shifted time grid (method C).

Convention everywhere: t in 0..1 with 1 = noise, x_t = (1 - t) x0 + t eps, velocity v = eps - x0. Times are
float64; conversions are computed in float64 and returned in the type of the picture.

Letters: B batch, C channels, T latent frames, H W latent size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from lipforcing_core.base.errors import BadInputError

Time = float | Tensor
"""One noise level, one per sample ``[B]``, or one per latent frame ``[B, T]``."""

T_MIN = 0.001
T_MAX = 0.999

GuidedWhere = Literal["inside", "outside", "everywhere", "nowhere"]
"""Where guidance acts: inside the sync window, or in one of the ablations of the method."""

_STEP_TOLERANCE = 1e-4
"""Slack in steps when asking which step a time is: float32 times land within 1e-5 of theirs."""


@dataclass(frozen=True, kw_only=True)
class FlowSchedule:
    """Grid tau_j = shift s / (1 + (shift - 1) s) with s = 1 - j/num_steps (method C.2)."""

    shift: float = 5.0
    num_steps: int = 50

    def __post_init__(self) -> None:
        if self.shift <= 0 or self.num_steps < 1:
            raise BadInputError(
                f"shift={self.shift} must be positive and num_steps={self.num_steps} at least 1"
            )

    def tau(self, step: float) -> float:
        """Noise level at (possibly fractional) step j: tau(0) = 1, tau(num_steps) = 0."""
        return float(self._shifted(torch.tensor(1.0 - step / self.num_steps, dtype=torch.float64)))

    def step_of(self, t: Time) -> Tensor:
        """The inverse, j(t) float64: step_of(0.769) is about 30 with the defaults."""
        t64 = _as_float64(t)
        return self.num_steps * (1.0 - t64 / (self.shift - (self.shift - 1.0) * t64))

    @property
    def timesteps(self) -> Tensor:
        """All grid points from 1 down to 0, ``[num_steps + 1]`` float64. A sampler goes from each to the next."""
        s = 1.0 - torch.arange(self.num_steps + 1, dtype=torch.float64) / self.num_steps
        return self._shifted(s)

    def student_times(self, steps: Sequence[int] = (0, 30)) -> tuple[float, ...]:
        """Noise levels of the few-step student that calls at these steps of the grid, and a final 0.

        Three decimals and at most 0.999, as the released student was trained: (0, 30) -> (0.999, 0.769, 0.0).
        """
        return (*(min(round(self.tau(step), 3), T_MAX) for step in steps), 0.0)

    def sample_t(self, num: int, generator: torch.Generator) -> Tensor:
        """Random noise levels ``[num]`` float64 for teacher, critic and DMD: shifted uniform draws (method C.3)."""
        uniform = torch.rand(num, dtype=torch.float64, generator=generator, device=generator.device)
        return self.shift_uniform(uniform)

    def shift_uniform(self, uniform: Tensor) -> Tensor:
        """u in 0..1 -> t in [0.001, 0.999]: scale to [0.001, 0.999], then shift."""
        return self._shifted(T_MIN + (T_MAX - T_MIN) * uniform.double()).clamp(T_MIN, T_MAX)

    def nearest_step(self, t: Tensor) -> Tensor:
        """The index into ``timesteps[:-1]`` of the grid point nearest to each time, int64, shaped like ``t``.

        Model times (1000 t, float32) are compared, as the reference does; of two equally near points it is the
        noisier one.
        """
        grid = (1000.0 * self.timesteps[:-1]).float().to(t.device)
        return ((1000.0 * t.double()).float()[..., None] - grid).abs().argmin(dim=-1)

    def loss_weights(self, t: Tensor | None = None) -> Tensor:
        """Bell-shaped weights of the teacher's flow loss (method D.3) at ``t``, or at ``timesteps[:-1]``; float64.

        exp(-2 ((1000 t - N/2) / N)^2), lowered and scaled so that over ``timesteps[:-1]`` the smallest is 0 and the
        mean is 1. N is ``num_steps``, so the bell is centred on t = 0.5 for the 1000 steps of training only. A time
        between two grid points has the weight of the nearer one, as in the released training.
        """
        half = self.num_steps / 2
        bell = torch.exp(-2.0 * ((1000.0 * self.timesteps[:-1] - half) / self.num_steps) ** 2)
        weights = (bell - bell.min()) / (bell - bell.min()).mean()
        return weights if t is None else weights.to(t.device)[self.nearest_step(t)]

    def _shifted(self, s: Tensor) -> Tensor:
        return self.shift * s / (1.0 + (self.shift - 1.0) * s)


class GuidanceLaw(Protocol):
    """How strongly the teacher is guided at a noise level: a ``SyncWindow`` or a ``TimeWindow``."""

    def scale(self, t: Time) -> Tensor:
        """Guidance scale at ``t``, float64, shaped like ``t``; 1 means none."""
        ...


@dataclass(frozen=True, kw_only=True)
class SyncWindow:
    """The steps at which the teacher's guidance pays for lip sync: 20 ... 40 of 50 (method C.3, C.5)."""

    start_step: float = 20
    stop_step: float = 40
    guidance_scale: float = 4.5
    schedule: FlowSchedule = FlowSchedule()

    def contains(self, t: Time) -> Tensor:
        """Whether start_step <= j(t) <= stop_step, both ends included; bool, shaped like ``t``."""
        step = self.schedule.step_of(t)
        return (step >= self.start_step - _STEP_TOLERANCE) & (step <= self.stop_step + _STEP_TOLERANCE)

    def scale(self, t: Time) -> Tensor:
        """Guidance scale at ``t``: ``guidance_scale`` inside the window, 1 outside; float64, shaped like ``t``."""
        inside = self.contains(t)
        return torch.where(inside, self.guidance_scale, 1.0).double()

    def rounded(self, where: GuidedWhere = "inside") -> TimeWindow:
        """The window as the released training has it: its ends as times of three decimals, (0.556, 0.882)."""
        low, high = (round(self.schedule.tau(step), 3) for step in (self.stop_step, self.start_step))
        return TimeWindow(low=low, high=high, guidance_scale=self.guidance_scale, where=where)


@dataclass(frozen=True, kw_only=True)
class TimeWindow:
    """A stretch of noise levels, both ends included, and where guidance acts: inside it, or one of its ablations."""

    low: float
    high: float
    guidance_scale: float
    where: GuidedWhere = "inside"

    def contains(self, t: Time) -> Tensor:
        """Whether low <= t <= high; bool, shaped like ``t``."""
        t64 = _as_float64(t)
        return (t64 >= self.low) & (t64 <= self.high)

    def scale(self, t: Time) -> Tensor:
        """Guidance scale at ``t``: ``guidance_scale`` where guidance acts, 1 elsewhere; float64, shaped like ``t``."""
        inside = self.contains(t)
        acts = {
            "inside": inside,
            "outside": ~inside,
            "everywhere": torch.ones_like(inside),
            "nowhere": torch.zeros_like(inside),
        }[self.where]
        return torch.where(acts, self.guidance_scale, 1.0).double()


def add_noise(x0: Tensor, eps: Tensor, t: Time) -> Tensor:
    """x_t = (1 - t) x0 + t eps."""
    t64 = expand_time(t, x0)
    return ((1.0 - t64) * x0 + t64 * eps).to(x0.dtype)


def velocity_from_x0(x_t: Tensor, x0: Tensor, t: Time) -> Tensor:
    """v = (x_t - x0) / t, with t kept above 1e-6."""
    return ((x_t.double() - x0) / expand_time(t, x_t).clamp(min=1e-6)).to(x_t.dtype)


def x0_from_velocity(x_t: Tensor, velocity: Tensor, t: Time) -> Tensor:
    """x0 = x_t - t v."""
    return (x_t.double() - expand_time(t, x_t) * velocity).to(x_t.dtype)


def noise_from_velocity(x_t: Tensor, velocity: Tensor, t: Time) -> Tensor:
    """eps = x_t + (1 - t) v."""
    return (x_t.double() + (1.0 - expand_time(t, x_t)) * velocity).to(x_t.dtype)


def noise_from_x0(x_t: Tensor, x0: Tensor, t: Time) -> Tensor:
    """eps = (x_t - (1 - t) x0) / t, with t kept above 1e-6."""
    t64 = expand_time(t, x_t)
    return ((x_t.double() - (1.0 - t64) * x0) / t64.clamp(min=1e-6)).to(x_t.dtype)


def x0_from_noise(x_t: Tensor, eps: Tensor, t: Time) -> Tensor:
    """x0 = (x_t - t eps) / (1 - t), for t below 1."""
    t64 = expand_time(t, x_t)
    return ((x_t.double() - t64 * eps) / (1.0 - t64)).to(x_t.dtype)


def expand_time(t: Time, x: Tensor) -> Tensor:
    """``t`` as float64, shaped to multiply ``x``.

    ``[B]`` spreads over all other axes, ``[B, T]`` over latents of ``[B, C, T, ...]``.
    """
    t64 = _as_float64(t, device=x.device)
    if t64.ndim == 0:
        return t64
    if t64.ndim == 1:
        return t64.view(-1, *[1] * (x.ndim - 1))
    if t64.ndim == 2 and x.ndim >= 3 and t64.shape[1] in (1, x.shape[2]):
        return t64.view(t64.shape[0], 1, t64.shape[1], *[1] * (x.ndim - 3))
    raise BadInputError(
        f"times {list(t64.shape)} do not fit latents {list(x.shape)}: use a number, [B] or [B, T]"
    )


def _as_float64(t: Time, device: torch.device | None = None) -> Tensor:
    if isinstance(t, Tensor):
        return t.to(dtype=torch.float64, device=device or t.device)
    return torch.full((), t, dtype=torch.float64, device=device)
