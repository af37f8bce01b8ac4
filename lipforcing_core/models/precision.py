"""The floating-point type that a network runs in, by device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class Precision:
    """Names of torch types: on a CPU, and on everything else."""

    cpu: str
    accelerator: str

    def on(self, device: str) -> torch.dtype:
        """The type on a device called as torch does (``cpu``, ``cuda``, ``cuda:1``)."""
        import torch

        dtype: torch.dtype = getattr(torch, self.cpu if device == "cpu" else self.accelerator)
        return dtype


FLOAT32 = Precision(cpu="float32", accelerator="float32")
BFLOAT16 = Precision(cpu="bfloat16", accelerator="bfloat16")
