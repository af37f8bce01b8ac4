"""The first difference between the tensors that a network wants and those that a file holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol


class Shaped(Protocol):
    """A tensor, or the description of one."""

    @property
    def shape(self) -> Sequence[int]: ...


def first_mismatch(wanted: Mapping[str, Shaped], found: Mapping[str, Shaped]) -> tuple[str, str] | None:
    """The first key, sorted, that is on one side only or of another shape, and what is wrong with it."""
    for key in sorted(wanted.keys() | found.keys()):
        if key not in found or key not in wanted:
            return key, "is missing" if key in wanted else "is unexpected"
        if tuple(found[key].shape) != tuple(wanted[key].shape):
            return key, f"has shape {tuple(found[key].shape)}, not {tuple(wanted[key].shape)}"
    return None
