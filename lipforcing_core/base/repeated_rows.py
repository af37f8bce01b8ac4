"""Rows of a table that are about the same thing: either they say the same, or they contradict each other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from lipforcing_core.base.names import shortened

T = TypeVar("T")
_LONGEST_VALUE = 80


@dataclass(frozen=True, kw_only=True)
class Contradiction:
    """A row that says something else than the first row about the same thing.

    line: of this row. field: the first one that differs. message: what the two rows say, in a clause with both lines.
    """

    line: int
    field: str
    message: str


@dataclass(kw_only=True)
class Stated(Generic[T]):
    """What the rows of a table say of one thing.

    line, value: of the first row about it. again: the lines of further rows that say the same.
    """

    line: int
    value: T
    again: list[int] = field(default_factory=list)
    contradiction: Contradiction | None = None

    def repetition(self, name: str) -> str:
        """A clause for people about the rows that say the same; empty where there are none."""
        if not self.again:
            return ""
        lines = f"line{'s' * (len(self.again) > 1)} {', '.join(map(str, self.again))}"
        return f"{name} has the same row again in {lines}; it counts once"


def stated(
    rows: Iterable[tuple[str, int, T]], fields: Callable[[T], Mapping[str, object]]
) -> dict[str, Stated[T]]:
    """What the rows say of each name, in the order of the first rows.

    rows: the name that a row is about, its line, and what it says. fields: that as names and values, which are
    compared and shown to people; a value that one row has and another lacks is a contradiction.
    """
    found: dict[str, Stated[T]] = {}
    for name, line, value in rows:
        known = found.get(name)
        if known is None:
            found[name] = Stated(line=line, value=value)
        elif (differing := _difference(fields(known.value), fields(value))) is None:
            known.again.append(line)
        elif known.contradiction is None:
            where, first, second = differing
            known.contradiction = Contradiction(
                line=line,
                field=where,
                message=f"{_shown(second)} for {name}, and line {known.line} says {_shown(first)}; correct or remove "
                "one of the two rows",
            )
    return found


def _difference(one: Mapping[str, object], other: Mapping[str, object]) -> tuple[str, object, object] | None:
    names = dict.fromkeys((*one, *other))
    return next(
        ((name, one.get(name), other.get(name)) for name in names if one.get(name) != other.get(name)), None
    )


def _shown(value: object) -> str:
    return "nothing" if value in (None, "") else shortened(repr(value), _LONGEST_VALUE)
