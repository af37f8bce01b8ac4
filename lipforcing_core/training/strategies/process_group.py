"""Workers that are processes of one ``torch.distributed`` group, however they were started."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor


@contextmanager
def meeting(device_type: str) -> Iterator[None]:
    """Inside, this process and the others that its launcher started are a group.

    ``torchrun`` and Ray Train say in the environment who they are (``RANK``, ``WORLD_SIZE``, ``MASTER_ADDR``,
    ``MASTER_PORT``). A process without a launcher is a group of one. A group that there is already is used, and left.
    """
    if dist.is_initialized():
        yield
        return
    backend = "cpu:gloo,cuda:nccl" if device_type == "cuda" else "gloo"
    if device_type == "cuda":
        torch.cuda.set_device(own_device("cuda"))
    if "WORLD_SIZE" in os.environ:
        dist.init_process_group(backend)
    else:
        dist.init_process_group(backend, store=dist.HashStore(), rank=0, world_size=1)
    try:
        yield
    finally:
        dist.destroy_process_group()


def own_device(device_type: str) -> torch.device:
    """The device of this worker among those of its machine."""
    return torch.device(device_type, int(os.environ.get("LOCAL_RANK", "0")))


class ProcessGroup:
    """All processes of the default group; numbers are exchanged in a group on the CPU."""

    def __init__(self) -> None:
        """The default group has been initialised. Every process makes this, in the same order as its other groups."""
        assert dist.is_initialized(), "the processes have met: torch.distributed.init_process_group"
        self.rank, self.count = dist.get_rank(), dist.get_world_size()
        self._group = dist.new_group(backend="gloo")

    def total(self, value: float) -> float:
        """The sum of a value over all workers."""
        return float(self._reduced(torch.tensor(value, dtype=torch.float64), dist.ReduceOp.SUM))

    def largest(self, value: int) -> int:
        """The largest value of any worker."""
        return int(self._reduced(torch.tensor(value), dist.ReduceOp.MAX))

    def gather(self, values: Tensor) -> list[Tensor]:
        """The values of every worker, on the CPU."""
        own = values.detach().cpu().contiguous()
        found = [torch.empty_like(own) for _ in range(self.count)]
        dist.all_gather(found, own, group=self._group)
        return found

    def wait(self) -> None:
        """Return once all workers are here."""
        dist.barrier(group=self._group)

    def _reduced(self, value: Tensor, operation: dist.ReduceOp.RedOpType) -> Tensor:
        dist.all_reduce(value, operation, group=self._group)
        return value
