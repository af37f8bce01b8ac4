"""Filling a network from a state dict, with an error that names what does not fit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from lipforcing_core.base.errors import IncompatibleCheckpointError
from lipforcing_core.weights.mismatch import Shaped, first_mismatch


def check_state(wanted: Mapping[str, Shaped], state: Mapping[str, Shaped], origin: Path | str) -> None:
    """Raise ``IncompatibleCheckpointError`` naming ``origin`` and the first key that is on one side only or differs."""
    if mismatch := first_mismatch(wanted, state):
        raise IncompatibleCheckpointError(f"{origin}: {' '.join(mismatch)}")


def fill_network(network: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Load ``state``, strictly; raises as ``check_state`` does."""
    check_state(network.state_dict(), state, path)
    network.load_state_dict(state)
