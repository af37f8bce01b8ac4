"""What a misspelt word was probably meant to be, as messages say it."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

_CUTOFF = 0.6
"""How alike two words must be, from 0 to 1, as ``difflib`` measures it: ``lpb`` and ``lbp`` have 0.67."""


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """The closest known word as the end of a clause, `` (did you mean 'nano'?)``; empty where none is close."""
    close = get_close_matches(str(word), list(known), n=1, cutoff=_CUTOFF)
    return f" (did you mean {close[0]!r}?)" if close else ""


def unknown(kind: str, word: object, known: Iterable[str]) -> str:
    """What is said of a name that is none of the known: ``unknown preset 'nanoo' (did you mean 'nano'?); known: ...``.

    kind: what the name is to be of, in the singular.
    """
    names = list(known)
    return f"unknown {kind} {word!r}{did_you_mean(word, names)}; known: {', '.join(names)}"
