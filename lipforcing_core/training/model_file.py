"""The weights of a trained network on disk."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from lipforcing_core.base.errors import IncompatibleCheckpointError
from lipforcing_core.base.products import atomic_path
from lipforcing_core.models.state import fill_network
from lipforcing_core.training.strategies.protocol import Strategy

MODEL_FILE = "model.safetensors"


def save_model(strategy: Strategy, network: nn.Module, path: Path) -> None:
    """All weights of a network in fp32 under their native names, written atomically."""
    state = strategy.state_dict(network, trained_only=False)
    with atomic_path(path) as temporary:
        save_file({name: value.cpu().contiguous() for name, value in state.items()}, temporary)


def load_model(network: nn.Module, path: Path) -> None:
    """Load weights strictly; ``IncompatibleCheckpointError`` names the first key or shape that differs."""
    try:
        stored = load_file(path)
    except (OSError, SafetensorError) as error:
        raise IncompatibleCheckpointError(f"{path}: cannot be read as safetensors ({error})") from error
    fill_network(network, stored, path)
