"""Optimiser, learning rate, and one update from accumulated gradients."""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from lipforcing_core.presets.schema import StageSettings
from lipforcing_core.training.strategies.protocol import Strategy
from lipforcing_core.training.strategies.workers import share

_FIRST_FACTOR = 1e-6
_LOWEST_FACTOR = 0.1


def make_optimiser(
    module: nn.Module, settings: StageSettings, learning_rate: float | None = None
) -> Optimizer:
    """AdamW over the parameters of a module that require a gradient, with weight decay on all of them."""
    return AdamW(
        [parameter for parameter in module.parameters() if parameter.requires_grad],
        lr=settings.learning_rate if learning_rate is None else learning_rate,
        betas=settings.betas,
        eps=1e-8,
        weight_decay=settings.weight_decay,
    )


def learning_rate_factor(settings: StageSettings, step: int) -> float:
    """The share of the full learning rate at a step (from 0): linear warm-up, then constant or cosine to 0.1.

    As in the released code the first of ``warmup_steps`` has a factor of 1e-6, and the full rate comes right after the
    last of them.
    """
    if step < settings.warmup_steps:
        return _FIRST_FACTOR + (1.0 - _FIRST_FACTOR) * step / settings.warmup_steps
    if settings.lr_schedule == "constant":
        return 1.0
    done = (step - settings.warmup_steps) / max(1, settings.steps - settings.warmup_steps)
    return _LOWEST_FACTOR + (1.0 - _LOWEST_FACTOR) / 2 * (1 + math.cos(math.pi * min(1.0, done)))


def accumulate(
    strategy: Strategy,
    settings: StageSettings,
    index: int,
    loss_of: Callable[[int], Tensor],
) -> float:
    """Add up the gradients of the micro-batches of step ``index``; returns the mean of their losses.

    loss_of: the loss of a micro-batch by its number, counted over all steps.
    """
    total = 0.0
    for part in share(settings.accumulation, strategy.workers):
        loss = loss_of(index * settings.accumulation + part.number) / settings.accumulation
        strategy.backward(loss if part.counts else 0.0 * loss)
        if part.counts:
            total += loss.item()
    return strategy.workers.total(total)


def update(
    strategy: Strategy, optimiser: Optimizer, module: nn.Module, *, learning_rate: float, clip_norm: float
) -> float:
    """Clip the gradient, take one optimiser step, clear the gradient; returns the norm before clipping.

    clip_norm: infinity does not clip. Raises ``RuntimeError`` for a gradient that is not finite.
    """
    for group in optimiser.param_groups:
        group["lr"] = learning_rate
    norm = strategy.clip(module, clip_norm)
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    return norm
