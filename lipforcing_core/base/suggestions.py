"""What a misspelt word was probably meant to be, as messages say it."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(word: str, known: Iterable[str], *, cutoff: float = 0.6) -> str:
    """The closest known word as the end of a clause, `` (did you mean 'nano'?)``; empty where none is close.

    cutoff: how alike the two must be, from 0 to 1, as ``difflib`` measures it.
    """
    close = closest(word, known, cutoff=cutoff)
    return "" if close is None else suggested(close)


def closest(word: str, known: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """The known word that a misspelt one is closest to; None where none is close."""
    close = get_close_matches(word, list(known), n=1, cutoff=cutoff)
    return close[0] if close else None


def suggested(word: str) -> str:
    """A known word as the end of a clause, for one that has another name where the user wrote it."""
    return f" (did you mean {word!r}?)"
