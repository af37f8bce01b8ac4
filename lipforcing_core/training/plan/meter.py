"""Counts what a computation costs while it runs: FLOP, bytes moved, operations, and bytes alive.

It sees what PyTorch dispatches, on fake tensors, which have shapes and types but no memory: so a step of the 14B model
is counted on a laptop in seconds, from the code that will train it.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import flop_registry, sdpa_backward_flop_count, sdpa_flop_count


def _attention_flops(q: Tensor, k: Tensor, v: Tensor, *_: Any) -> int:
    return int(sdpa_flop_count(q.shape, k.shape, v.shape))  # type: ignore[no-untyped-call]


def _attention_backward_flops(grad: Tensor, q: Tensor, k: Tensor, v: Tensor, *_: Any) -> int:
    return int(sdpa_backward_flop_count(grad.shape, q.shape, k.shape, v.shape))  # type: ignore[no-untyped-call]


_ATTENTION_ON_CPU: dict[Any, Callable[..., int]] = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention_flops,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward_flops,
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

    def plus(self, other: Work, times: float = 1.0) -> Work:
        """This, and ``times`` the other beside it: what both hold adds up, and lies under the peak of this one."""
        return Work(
            flops=self.flops + times * other.flops,
            moved_bytes=self.moved_bytes + times * other.moved_bytes,
            operations=self.operations + times * other.operations,
            peak_bytes=self.peak_bytes + max(0.0, times * other.held_bytes),
            held_bytes=self.held_bytes + times * other.held_bytes,
        )


class Count:
    """Adds up operations as they happen.

    Storages that come from outside, such as weights, gradients and inputs, are no memory of the computation.
    """

    def __init__(self) -> None:
        self._known: set[int] = set()
        self._live = self._peak = 0
        self._flops = self._moved = self._operations = 0
        self._begin = Work()

    def so_far(self) -> Work:
        """All that was computed, with what is alive now as ``held_bytes``, and no peak."""
        return Work(
            flops=self._flops,
            moved_bytes=self._moved,
            operations=self._operations,
            held_bytes=self._live,
        )

    def work(self) -> Work:
        """What was computed since the last call (or since the start)."""
        begin, self._begin = self._begin, self.so_far()
        done = replace(self._begin.plus(begin, -1.0), peak_bytes=self._peak - begin.held_bytes)
        self._peak = self._live
        return done

    def run(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], call: Callable[[], Any]) -> Any:
        """The result of ``call``, which is this operation on these arguments."""
        read = _tensors((*args, *kwargs.values()))
        for tensor in read:
            self._see(tensor, ours=False)
        out = call()
        written = _tensors((out,))
        for tensor in written:
            self._see(tensor, ours=True)
        if not func.is_view:
            self._operations += 1
            self._moved += sum(_bytes_of(tensor) for tensor in (*read, *written))
        packet = func._overloadpacket
        if packet in _ATTENTION_ON_CPU:
            self._flops += _ATTENTION_ON_CPU[packet](*args)
        elif packet in flop_registry:
            self._flops += flop_registry[packet](*args, **kwargs, out_val=out)
        return out

    def _see(self, tensor: Tensor, *, ours: bool) -> None:
        storage = tensor.untyped_storage()
        name = storage._cdata
        if name in self._known:
            return
        self._known.add(name)
        size = storage.nbytes() if ours else 0
        self._live += size
        self._peak = max(self._peak, self._live)
        weakref.finalize(storage, self._gone, name, size)

    def _gone(self, name: int, size: int) -> None:
        self._known.discard(name)
        self._live -= size


class FakeMeter(FakeTensorMode):  # type: ignore[no-untyped-call]
    """Within it, tensors have shape, type and device, and nothing in them; everything is counted."""

    def __init__(self) -> None:
        super().__init__(allow_non_fake_inputs=True)
        self.count = Count()
        self._inside = False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = dict(kwargs or {})
        step = super().__torch_dispatch__
        # "prim" asks for a device; what an operation is made of, where it is met first, is not counted beside it
        if self._inside or func.namespace == "prim":
            return step(func, types, args, given)
        self._inside = True
        try:
            return self.count.run(func, tuple(args), given, lambda: step(func, types, args, given))
        finally:
            self._inside = False


def _tensors(values: Iterable[Any]) -> list[Tensor]:
    """The tensors among arguments or results, which are values and lists of values."""
    found: list[Tensor] = []
    for value in values:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, list | tuple):
            found += _tensors(value)
    return found


def _bytes_of(tensor: Tensor) -> int:
    """Of the part of the storage that a tensor can touch: expanded axes are read once."""
    return min(tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes())
