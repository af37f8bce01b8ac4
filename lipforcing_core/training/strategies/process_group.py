"""Workers that are processes of one ``torch.distributed`` group, however they were started."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor


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
