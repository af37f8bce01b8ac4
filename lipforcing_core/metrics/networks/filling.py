"""How a learned network is made from a file."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from lipforcing_core.weights.load import load_network

_Network = TypeVar("_Network", bound=nn.Module)


def filled(kind: type[_Network], path: Path | None) -> _Network:
    """A network of ``kind``, frozen, with the float32 weights of a local file.

    Raises ``MissingWeightsError`` and ``IncompatibleCheckpointError`` as ``load_network`` does.
    """
    assert path is not None, "the catalogue gives the file of a learned network"
    with torch.device("meta"):
        network = kind()
    load_network(network, path, dtype=torch.float32)
    return network.requires_grad_(False)
