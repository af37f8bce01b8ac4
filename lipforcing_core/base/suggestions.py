"""What a misspelt word was probably meant to be, as messages say it."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(word: str, known: Iterable[str], *, cutoff: float = 0.6) -> str:
    """The closest known word as the end of a clause, `` (did you mean 'nano'?)``; empty where none is close.

    cutoff: how alike the two must be, from 0 to 1, as ``difflib`` measures it.
    """
    close = get_close_matches(word, list(known), n=1, cutoff=cutoff)
    return f" (did you mean {close[0]!r}?)" if close else ""
