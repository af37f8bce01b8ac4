"""What a strategy does for a stage: a stage says what is trained, a strategy where and on how many devices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

import torch
from torch import Tensor, nn

from lipforcing_core.training.precision import ComputePrecision
from lipforcing_core.training.strategies.workers import Workers

M = TypeVar("M", bound=nn.Module)


class Strategy(Protocol):
    """Builds and steps the networks of a stage."""

    @property
    def device(self) -> torch.device:
        """Where batches, prompts and draws have to be."""
        ...

    @property
    def workers(self) -> Workers:
        """Who trains together."""
        ...

    def build(
        self,
        make: Callable[[], M],
        fill: Callable[[M], object],
        *,
        trained: bool,
        precision: ComputePrecision,
        recompute: bool = False,
    ) -> M:
        """A network on its device or devices, ready for use; an optimiser of it is made afterwards.

        make: constructs it, under the meta device, so that no memory is spent on weights that are replaced at once. It
            says which parameters require a gradient, where the network is ``trained``; otherwise none does.
        fill: writes every parameter of the materialised network, for example ``partial(load_model, path=...)``. A
            tensor may be a part of the whole; ``tensors.put`` and ``tensors.read`` write the right part of it.
        precision: in which it computes; weights that are trained are held in fp32.
        recompute: whether blocks are computed again in the backward pass.
        """
        ...

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of a micro-batch's loss to those of the other micro-batches, of all workers."""
        ...

    def clip(self, network: nn.Module, max_norm: float) -> float:
        """Scale the gradients down to a norm of at most ``max_norm``; returns the norm before.

        Raises ``RuntimeError`` where the norm is not finite.
        """
        ...
