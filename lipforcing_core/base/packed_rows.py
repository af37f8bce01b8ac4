"""Many rows in little memory: each is kept as compressed bytes and made anew whenever somebody looks at it."""

from __future__ import annotations

import pickle
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import islice
from typing import Generic, TypeVar, overload

T = TypeVar("T")
R = TypeVar("R")

_LEVEL = 1


class PackedRows(Sequence[T]):
    """A sequence of rows that take about a tenth of their size as objects; to look at one costs about 0.1 ms.

    Rows of one kind repeat each other's words, so all are compressed with the first one as their dictionary. A row that
    is changed after it was looked at does not change here.
    """

    def __init__(self, rows: Iterable[T] = ()) -> None:
        self._dictionary = b""
        self._packed: list[bytes] = []
        for row in rows:
            self.append(row)

    def append(self, row: T) -> None:
        """Add a row at the end."""
        self._packed.append(self._pack(row))

    def put(self, number: int, row: T) -> None:
        """Replace a row."""
        self._packed[number] = self._pack(row)

    def in_order(self, numbers: Iterable[int]) -> PackedRows[T]:
        """The rows with these numbers, in this order; nothing is unpacked."""
        chosen: PackedRows[T] = PackedRows()
        chosen._dictionary = self._dictionary
        chosen._packed = [self._packed[number] for number in numbers]
        return chosen

    @property
    def num_bytes(self) -> int:
        """What all rows take, packed."""
        return sum(map(len, self._packed)) + len(self._dictionary)

    def __len__(self) -> int:
        return len(self._packed)

    def __iter__(self) -> Iterator[T]:
        return map(self._row, self._packed)

    @overload
    def __getitem__(self, number: int) -> T: ...
    @overload
    def __getitem__(self, number: slice) -> PackedRows[T]: ...
    def __getitem__(self, number: int | slice) -> T | PackedRows[T]:
        if isinstance(number, slice):
            return self.in_order(range(*number.indices(len(self))))
        return self._row(self._packed[number])

    def _pack(self, row: T) -> bytes:
        plain = pickle.dumps(row, pickle.HIGHEST_PROTOCOL)
        if not self._dictionary:
            self._dictionary = plain
        packer = zlib.compressobj(_LEVEL, zdict=self._dictionary)
        return packer.compress(plain) + packer.flush()

    def _row(self, packed: bytes) -> T:
        row: T = pickle.loads(zlib.decompressobj(zdict=self._dictionary).decompress(packed))
        return row


def batches(rows: Iterable[T], size: int) -> Iterator[list[T]]:
    """The rows in lists of ``size``, the last one shorter; nothing for no rows."""
    left = iter(rows)
    while batch := list(islice(left, size)):
        yield batch


class Parts(Collection[T], Generic[R, T]):
    """The parts of all rows, one after the other, taken out of them anew at each look."""

    def __init__(self, rows: Iterable[R], parts_of: Callable[[R], Iterable[T]]) -> None:
        self._rows, self._parts_of = rows, parts_of
        self._length = sum(1 for _ in self)

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[T]:
        return (part for row in self._rows for part in self._parts_of(row))

    def __contains__(self, part: object) -> bool:
        return any(part == own for own in self)
