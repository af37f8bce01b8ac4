"""One tensor in a weight file: what the header says of it, where its values lie, and how messages call it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

import torch
from torch import Tensor

from lipforcing_core.base.errors import IncompatibleCheckpointError
from lipforcing_core.base.names import shown_name

_LONGEST_NAME = 300  # characters


@dataclass(frozen=True, kw_only=True)
class StoredTensor:
    """One tensor in a file: what its header says, and where the values lie.

    ``start`` is the byte at which they begin; None means that ``values`` holds them already (old torch files
    can only be read whole). ``stride`` is in elements.
    """

    file: Path
    shape: tuple[int, ...]
    dtype: torch.dtype
    start: int | None
    stride: tuple[int, ...]
    values: Tensor | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of the values."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def span(self) -> int:
        """Bytes in the file from the first to the last value; more than ``nbytes`` where the stride has gaps."""
        if 0 in self.shape:
            return 0
        last = sum((size - 1) * step for size, step in zip(self.shape, self.stride, strict=True))
        return (last + 1) * self.dtype.itemsize

    def read(self, stream: BufferedReader) -> Tensor:
        """The values, contiguous, in memory of their own. ``stream`` is the opened file."""
        if self.values is not None:
            return self.values.clone(memory_format=torch.contiguous_format)
        assert self.start is not None
        buffer = torch.empty(self.span, dtype=torch.uint8)
        stream.seek(self.start)
        if self.span and stream.readinto(buffer.numpy().data) != self.span:
            raise IncompatibleCheckpointError(f"{self.file}: ended while it was read")
        return buffer.view(self.dtype).as_strided(self.shape, self.stride).contiguous()


def shown(name: str) -> str:
    """A name from a file as messages and terminals can bear it: escaped if not printable, shortened if long."""
    plain = shown_name(name)
    return plain if len(plain) <= _LONGEST_NAME else f"{plain[:80]}... ({len(name)} characters)"
