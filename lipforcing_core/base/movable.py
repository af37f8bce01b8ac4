"""Models that can work on another device than the CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    import torch


@runtime_checkable
class Movable(Protocol):
    """A model behind a protocol of its own, whose network can be moved; what goes in and comes out stays on the CPU."""

    def to(self, device: torch.device) -> None:
        """Work on this device from now on."""
