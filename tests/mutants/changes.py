"""Damaged media files, the same ones every time: 25 of each kind of clip, each named after what was done to it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from tests.mutants.clips import KINDS, Kind, clip
from tests.mutants.fields import fields_of

PER_KIND = 25
NUM_FILES = PER_KIND * len(KINDS)
_HEADER_BYTES = 1000


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """A damaged file. Its name ends with the suffix of its container."""

    name: str
    kind: Kind
    data: bytes

    @property
    def origin(self) -> bytes:
        """The bytes of the clip from which it was made."""
        return clip(self.kind)


Change = Callable[[bytes, random.Random], tuple[str, bytes]]
"""Bytes with a fault, and what was done in words."""


def mutants(every: int = 1) -> Iterator[Mutant]:
    """All damaged files in order, or one in ``every`` of them, with all kinds of clips among those."""
    for number, (kind, position) in enumerate((kind, p) for p in range(PER_KIND) for kind in KINDS):
        if number % every == 0:
            yield mutant(number, kind, position)


def mutant(number: int, kind: Kind, position: int) -> Mutant:
    """One damaged file; which fault it has follows from its kind and its position among those of its kind."""
    words, data = _faults(kind, PER_KIND)[position]
    name = f"{number:03d} {kind.name} {words}.{kind.container}"
    return Mutant(name=name, kind=kind, data=data)


def _flipped(number: int, *, start: float = 0.0, stop: float = 1.0) -> Change:
    def change(data: bytes, rng: random.Random) -> tuple[str, bytes]:
        changed = bytearray(data)
        for _ in range(number):
            place = rng.randrange(int(len(data) * start), max(int(len(data) * stop), 1))
            changed[place] ^= 1 << rng.randrange(8)
        where = "" if (start, stop) == (0.0, 1.0) else f" between {start:.0%} and {stop:.0%}"
        return f"{number} bits flipped{where}", bytes(changed)

    return change


def _flipped_in_header(data: bytes, rng: random.Random) -> tuple[str, bytes]:
    changed = bytearray(data)
    place = rng.randrange(_HEADER_BYTES)
    changed[place] = rng.randrange(256)
    return f"byte {place} is {changed[place]}", bytes(changed)


def _cut(share: float) -> Change:
    return lambda data, rng: (f"cut off at {share:.0%}", data[: int(len(data) * share)])


def _headless(data: bytes, rng: random.Random) -> tuple[str, bytes]:
    return "without its first half", data[len(data) // 2 :]


def _block(data: bytes, rng: random.Random) -> tuple[int, int]:
    length = rng.randrange(500, 5000)
    start = rng.randrange(_HEADER_BYTES, len(data) - length)
    return start, start + length


def _swapped(data: bytes, rng: random.Random) -> tuple[str, bytes]:
    (a, b), middle = sorted((_block(data, rng)[0], _block(data, rng)[0])), 700
    changed = bytearray(data)
    changed[a : a + middle], changed[b : b + middle] = data[b : b + middle], data[a : a + middle]
    return f"blocks at {a} and {b} swapped", bytes(changed[: len(data)])


def _repeated(data: bytes, rng: random.Random) -> tuple[str, bytes]:
    start, stop = _block(data, rng)
    return f"bytes {start} to {stop} twice", data[:stop] + data[start:]


def _removed(data: bytes, rng: random.Random) -> tuple[str, bytes]:
    start, stop = _block(data, rng)
    return f"bytes {start} to {stop} removed", data[:start] + data[stop:]


def _zeroed(data: bytes, rng: random.Random) -> tuple[str, bytes]:
    start, stop = _block(data, rng)
    return f"bytes {start} to {stop} zero", data[:start] + bytes(stop - start) + data[stop:]


def _doubled(data: bytes, rng: random.Random) -> tuple[str, bytes]:
    return "followed by itself", data + data


def _absurd_field(kind: Kind) -> Change:
    """An absurd value in a field of the header."""

    def change(data: bytes, rng: random.Random) -> tuple[str, bytes]:
        fields = fields_of(kind.container, data)
        name = rng.choice(sorted({field.name for field in fields}))
        field = rng.choice([field for field in fields if field.name == name])
        end = field.start + field.width
        value = _absurd(data[field.start : end], rng)
        return f"{name} at {field.start} is {value.hex()}", data[: field.start] + value + data[end:]

    return change


def _absurd(value: bytes, rng: random.Random) -> bytes:
    width = len(value)
    return rng.choice(
        (
            bytes(width),
            b"\xff" * width,
            b"\x7f" + b"\xff" * (width - 1),
            b"\x80" + bytes(width - 1),
            bytes(width - 1) + b"\x01",
            b"\x01" + bytes(width - 1),
            bytes([value[0] ^ 1 << rng.randrange(8)]) + value[1:],
            value[:-1] + bytes([value[-1] ^ 1 << rng.randrange(8)]),
            rng.randbytes(width),
        )
    )


_CHANGES: tuple[Change, ...] = (
    _flipped(1),
    _flipped(20),
    _flipped(500),
    _flipped(5, start=0.0, stop=0.02),
    _flipped_in_header,
    _cut(0.3),
    _cut(0.9),
    _headless,
    _swapped,
    _repeated,
    _removed,
    _zeroed,
    _doubled,
)


@lru_cache
def _faults(kind: Kind, number: int) -> tuple[tuple[str, bytes], ...]:
    """What was done to a kind of clip, in words, and what came of it: so many different ones."""
    whole, rng = clip(kind), random.Random(kind.name)
    found = {whole: ""}
    while len(found) <= number:
        changes = _CHANGES[len(found) - 1 :][:1] or (_absurd_field(kind),)
        words, data = changes[0](whole, rng)
        found.setdefault(data, words)
    return tuple((words, data) for data, words in found.items() if words)
