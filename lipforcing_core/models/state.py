"""Filling a network from a state dict, with an error that names what does not fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from torch import Tensor, nn

from lipforcing_core.base.errors import IncompatibleCheckpointError


class Shaped(Protocol):
    """A tensor, or the description of one."""

    @property
    def shape(self) -> Sequence[int]: ...


def first_mismatch(wanted: Mapping[str, Shaped], found: Mapping[str, Shaped]) -> tuple[str, str] | None:
    """The first key, sorted, that is on one side only or of another shape, and what is wrong with it."""
    for key in sorted(wanted.keys() | found.keys()):
        if key not in found or key not in wanted:
            return key, "is missing" if key in wanted else "is unexpected"
        if tuple(found[key].shape) != tuple(wanted[key].shape):
            return key, f"has shape {tuple(found[key].shape)}, not {tuple(wanted[key].shape)}"
    return None


def check_state(wanted: Mapping[str, Tensor], state: Mapping[str, Tensor], origin: Path | str) -> None:
    """Raise ``IncompatibleCheckpointError`` naming ``origin`` and the first key that is on one side only or differs."""
    if mismatch := first_mismatch(wanted, state):
        raise IncompatibleCheckpointError(f"{origin}: {' '.join(mismatch)}")


def fill_network(network: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Load ``state``, strictly; raises as ``check_state`` does."""
    check_state(network.state_dict(), state, path)
    network.load_state_dict(state)
