"""What a misspelt word was probably meant to be, as messages say it."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

_CUTOFF = 0.6
"""How alike two words must be, from 0 to 1, as ``difflib`` measures it: ``lpb`` and ``lbp`` have 0.67."""


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """The closest known word as the end of a clause, `` (did you mean 'nano'?)``; empty where none is close."""
    close = closest(word, known)
    return "" if close is None else suggested(close)


def closest(word: object, known: Iterable[str]) -> str | None:
    """The known word that a misspelt one is closest to; None where none is close."""
    close = get_close_matches(str(word), list(known), n=1, cutoff=_CUTOFF)
    return close[0] if close else None


def suggested(word: str) -> str:
    """A known word as the end of a clause, for one that has another name where the user wrote it."""
    return f" (did you mean {word!r}?)"


def unknown(kind: str, word: object, known: Iterable[str]) -> str:
    """What is said of a name that is none of the known: ``unknown preset 'nanoo' (did you mean 'nano'?); known: ...``.

    kind: what the name is to be of, in the singular.
    """
    names = list(known)
    return f"unknown {kind} {word!r}{did_you_mean(word, names)}; known: {', '.join(names)}"
