"""Counts what a computation costs while it runs: FLOP, bytes moved, operations, and bytes alive.

It sees what PyTorch dispatches, so it works on real tensors and on fake ones (``FakeTensorMode``), which have shapes and
types but no memory: then a step of the 14B model is counted in seconds on a laptop, from the code that will train it.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry, sdpa_backward_flop_count, sdpa_flop_count

_aten = torch.ops.aten
_ATTENTION_ON_CPU: dict[Any, Callable[..., int]] = {
    _aten._scaled_dot_product_flash_attention_for_cpu: lambda q, k, v, *_, **__: sdpa_flop_count(
        q.shape, k.shape, v.shape
    ),
    _aten._scaled_dot_product_flash_attention_for_cpu_backward: (
        lambda grad, q, k, v, *_, **__: sdpa_backward_flop_count(grad.shape, q.shape, k.shape, v.shape)
    ),
}
"""The counter of PyTorch knows the attention kernels of GPUs only."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """What one piece of a computation costs.

    flops: multiplications and additions of matrix products, convolutions and attention, as PyTorch counts them.
    moved_bytes: read and written by all operations one by one, as eager code does. operations: how many there are.
    peak_bytes: most bytes alive at once beyond what was there before it, weights and inputs not counted.
    held_bytes: what of them is alive at its end.
    """

    flops: float = 0.0
    moved_bytes: float = 0.0
    operations: float = 0.0
    peak_bytes: float = 0.0
    held_bytes: float = 0.0


class Meter(TorchDispatchMode):
    """Within it, everything is counted; ``work`` gives the count since it was asked last.

    Storages that come from outside, such as weights, gradients and inputs, are no memory of the computation.
    """

    def __init__(self, outside: Iterable[Tensor] = ()) -> None:
        """outside: tensors that were there before; others are recognised when an operation first reads them."""
        super().__init__()
        self._ours: dict[int, bool] = {}
        self._live = self._peak = self._start = 0
        self._flops = self._moved = self._operations = 0
        for tensor in outside:
            self._see(tensor, ours=False)

    def work(self) -> Work:
        """What was computed since the last call (or since the start)."""
        done = Work(
            flops=self._flops,
            moved_bytes=self._moved,
            operations=self._operations,
            peak_bytes=self._peak - self._start,
            held_bytes=self._live - self._start,
        )
        self._flops = self._moved = self._operations = 0
        self._peak = self._start = self._live
        return done

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        read = list(_tensors((args, kwargs)))
        for tensor in read:
            self._see(tensor, ours=False)
        out = func(*args, **kwargs)
        if func.namespace == "prim":
            return out
        written = list(_tensors(out))
        for tensor in written:
            self._see(tensor, ours=True)
        if not func.is_view:
            self._operations += 1
            self._moved += sum(_bytes_of(tensor) for tensor in (*read, *written))
        packet = func._overloadpacket
        if packet in _ATTENTION_ON_CPU:
            self._flops += _ATTENTION_ON_CPU[packet](*args, **kwargs)
        elif packet in flop_registry:
            self._flops += flop_registry[packet](*args, **kwargs, out_val=out)
        return out

    def _see(self, tensor: Tensor, *, ours: bool) -> None:
        storage = tensor.untyped_storage()
        name = storage._cdata
        if name in self._ours:
            return
        self._ours[name] = ours
        size = storage.nbytes() if ours else 0
        self._live += size
        self._peak = max(self._peak, self._live)
        weakref.finalize(storage, self._gone, name, size)

    def _gone(self, name: int, size: int) -> None:
        del self._ours[name]
        self._live -= size


def _tensors(values: Any) -> Iterator[Tensor]:
    return (value for value in tree_leaves(values) if isinstance(value, Tensor))


def _bytes_of(tensor: Tensor) -> int:
    """Of the part of the storage that a tensor can touch: expanded axes are read once."""
    return min(tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes())
