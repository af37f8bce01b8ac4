"""Filling a network from a checkpoint, with an error that names what does not fit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from lipforcing_core.errors import IncompatibleCheckpointError


def check_state(wanted: Mapping[str, Tensor], state: Mapping[str, Tensor], origin: Path | str) -> None:
    """Raise ``IncompatibleCheckpointError`` naming ``origin`` and the first key that is on one side only or differs."""
    for key in sorted(wanted.keys() | state.keys()):
        if key not in state or key not in wanted:
            problem = "missing" if key in wanted else "unexpected"
            raise IncompatibleCheckpointError(f"{origin}: {key} is {problem}")
        if state[key].shape != wanted[key].shape:
            raise IncompatibleCheckpointError(
                f"{origin}: {key} has shape {tuple(state[key].shape)}, not {tuple(wanted[key].shape)}"
            )


def fill_network(network: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Load ``state``, strictly; raises as ``check_state`` does."""
    check_state(network.state_dict(), state, path)
    network.load_state_dict(state)
