"""What a strategy does for a stage: a stage says what is trained, a strategy where and on how many devices."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol, TypeVar

import torch
from torch import Tensor, nn

M = TypeVar("M", bound=nn.Module)


class Strategy(Protocol):
    """Builds, wraps and steps the networks of a stage."""

    @property
    def device(self) -> torch.device:
        """Where batches, prompts and draws have to be."""
        ...

    def build(self, make: Callable[[], M], fill: Callable[[M], object]) -> M:
        """A network on its device.

        make: constructs it, under the meta device, so that no memory is spent on weights that are replaced at once.
        fill: writes every parameter of the materialised network, for example ``partial(load_model, path=...)``.
        """
        ...

    def wrap(self, network: M, *, trained: bool) -> M:
        """The network ready for use: sharded, compiled, checkpointed. ``trained``: whether it will be updated.

        Called once, after the stage has chosen which parameters require a gradient and before it makes an optimiser.
        """
        ...

    def backward(self, loss: Tensor, *, last: bool) -> None:
        """Add the gradients of a micro-batch's loss. Before the ``last`` one of a step nothing has to be exchanged."""
        ...

    def clip(self, network: nn.Module, max_norm: float) -> float:
        """Scale the gradients down to a norm of at most ``max_norm``; returns the norm before.

        Raises ``RuntimeError`` where the norm is not finite.
        """
        ...

    def state_dict(self, network: nn.Module, *, trained_only: bool) -> dict[str, Tensor]:
        """Whole tensors by their native names, all of them or those that require a gradient."""
        ...

    def load_state_dict(self, network: nn.Module, state: Mapping[str, Tensor], where: str) -> None:
        """Write back what ``state_dict(..., trained_only=True)`` gave.

        Raises ``IncompatibleCheckpointError`` that names ``where`` and the first tensor that does not fit.
        """
        ...
