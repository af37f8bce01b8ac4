"""The weights of a trained network on disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from lipforcing_core.base.errors import IncompatibleCheckpointError
from lipforcing_core.base.products import atomic_path
from lipforcing_core.models.state import check_state
from lipforcing_core.training.state_files import StoredShape
from lipforcing_core.training.strategies.protocol import Strategy
from lipforcing_core.training.strategies.tensors import read, whole
from lipforcing_core.weights.formats import safetensors_header

MODEL_FILE = "model.safetensors"


def save_model(strategy: Strategy, network: nn.Module, path: Path) -> None:
    """All weights of a network under their native names, in one safetensors file, written atomically.

    Worker 0 writes one tensor after the other, put together from the workers that hold it, with the bytes that
    ``safetensors.torch.save_file`` would write: the hash of the file is the key of what is trained from it.
    """
    state = network.state_dict()
    names = _file_order(state)
    header = safetensors_header(
        {name: (state[name].dtype, tuple(state[name].shape)) for name in names}, for_transformers=False
    )
    tensors = (whole(state[name]) for name in names)
    if strategy.workers.rank == 0:
        with atomic_path(path) as temporary, open(temporary, "wb") as stream:
            stream.write(header)
            for value in tensors:
                stream.write(value.cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    else:
        for _ in tensors:
            pass
    strategy.workers.wait()


def load_model(network: nn.Module, path: Path, *, leave: Callable[[str], bool] = lambda name: False) -> None:
    """Load weights strictly, one tensor after the other; ``leave`` says which are filled otherwise.

    Raises ``IncompatibleCheckpointError`` that names the first key or shape that differs.
    """
    wanted = {name: value for name, value in network.state_dict().items() if not leave(name)}
    try:
        with safe_open(path, framework="pt") as stored:
            found = {name: StoredShape(tuple(stored.get_slice(name).get_shape())) for name in stored.keys()}  # noqa: SIM118
            check_state(wanted, found, path)
            for name, target in wanted.items():
                read(target, stored, name)
    except (OSError, SafetensorError) as error:
        raise IncompatibleCheckpointError(f"{path}: cannot be read as safetensors ({error})") from error


def _file_order(state: dict[str, torch.Tensor]) -> list[str]:
    """The order that the safetensors library writes in: wide types first, then by name."""
    return sorted(state, key=lambda name: (-state[name].dtype.itemsize, name))
