"""Tensors of networks that may be spread over workers: a ``DTensor`` holds a part of the rows of a whole tensor.

A whole tensor is only ever made of one at a time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.distributed.tensor._utils import compute_local_shape_and_global_offset


def trained_tensors(network: nn.Module) -> dict[str, Tensor]:
    """The parameters that require a gradient, by name, as they are: writing to them changes the network."""
    return {name: value.detach() for name, value in network.named_parameters() if value.requires_grad}


def whole(tensor: Tensor) -> Tensor:
    """The whole of a tensor, without gradient. Of a spread one, every worker has to ask for it."""
    tensor = tensor.detach()
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


@torch.no_grad()
def put(target: Tensor, value: Tensor) -> None:
    """Write a whole value into a tensor, of which this worker may hold a part."""
    _own(target).copy_(value[_part(target)])


@torch.no_grad()
def put_all(network: nn.Module, values: Mapping[str, Tensor]) -> None:
    """``put`` for every tensor of a state dict, which has to hold all of them."""
    for name, target in network.state_dict().items():
        put(target, values[name])


@torch.no_grad()
def read(target: Tensor, stored: Any, name: str) -> None:
    """Fill a tensor from an open safetensors file, of which no more is read than this worker holds."""
    if isinstance(target, DTensor):
        _own(target).copy_(stored.get_slice(name)[_part(target)])
    else:
        target.copy_(stored.get_tensor(name))


def _own(tensor: Tensor) -> Tensor:
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def _part(tensor: Tensor) -> tuple[slice, ...]:
    """Which part of the whole this worker holds."""
    if not isinstance(tensor, DTensor):
        return ()
    shape, start = compute_local_shape_and_global_offset(tensor.shape, tensor.device_mesh, tensor.placements)
    return tuple(slice(first, first + size) for first, size in zip(start, shape, strict=True))
