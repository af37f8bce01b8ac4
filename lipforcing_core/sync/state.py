"""Filling a network from a checkpoint, with an error that names what does not fit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from lipforcing_core.errors import IncompatibleCheckpointError


def fill_network(network: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Load ``state``; raises ``IncompatibleCheckpointError`` naming the file and the first key that differs."""
    wanted = network.state_dict()
    for key in sorted(wanted.keys() | state.keys()):
        if key not in state or key not in wanted:
            problem = "missing" if key in wanted else "unexpected"
            raise IncompatibleCheckpointError(f"{path}: {key} is {problem}")
        if state[key].shape != wanted[key].shape:
            raise IncompatibleCheckpointError(
                f"{path}: {key} has shape {tuple(state[key].shape)}, not {tuple(wanted[key].shape)}"
            )
    network.load_state_dict(state)
