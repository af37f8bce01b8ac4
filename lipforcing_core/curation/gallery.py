"""The pieces that the data docs show: a few of each kind, chosen the same way every time."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lipforcing_core.curation.records import Decision, Status

ACCEPTED = Status.ACCEPTED.value
PER_KIND = 12
PICTURE_BYTES = 1_500_000
"""What all thumbnails of a page may take together."""

ClipOf = Callable[[Decision], Path | None]
"""Says where the aligned clip of a piece lies; None for a piece without one."""


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A piece with its picture, a data URI; None where it has none."""

    decision: Decision
    picture: str | None


@dataclass(frozen=True, kw_only=True)
class Kind:
    """The pieces of one reason, or the accepted ones: how many there are, and the ones that are shown."""

    name: str
    num_pieces: int
    shown: tuple[Shown, ...]


def gallery(
    decisions: Iterable[Decision],
    clip_of: ClipOf,
    pictures: Callable[[Path], Sequence[str]],
    *,
    per_kind: int = PER_KIND,
    picture_bytes: int = PICTURE_BYTES,
) -> list[Kind]:
    """At most ``per_kind`` pieces of each kind, accepted ones first and then reasons by name.

    Which ones is decided by a hash of source and place, so that they come from all over the corpus and stay the same
    from run to run. Pieces with a clip come before those without. ``pictures`` makes the thumbnails of a clip, of which
    the first is taken, as long as ``picture_bytes`` last.
    """
    counts: Counter[str] = Counter()
    drawn: dict[str, list[Decision]] = defaultdict(list)
    for decision in decisions:
        name = kind_of(decision)
        counts[name] += 1
        drawn[name].append(decision)
        if len(drawn[name]) >= 8 * per_kind:
            drawn[name] = _first(drawn[name], per_kind)
    left = picture_bytes
    found = []
    for name in sorted(counts, key=lambda kind: (kind != ACCEPTED, kind)):
        shown = []
        for decision in sorted(_first(drawn[name], per_kind), key=lambda d: (d.source, d.start_frame)):
            clip = clip_of(decision)
            made = list(pictures(clip))[:1] if clip is not None else []
            picture = made[0] if made and len(made[0]) <= left else None
            left -= len(picture or "")
            shown.append(Shown(decision=decision, picture=picture))
        found.append(Kind(name=name, num_pieces=counts[name], shown=tuple(shown)))
    return found


def _first(decisions: list[Decision], most: int) -> list[Decision]:
    """The first few by lot, those with a clip before those without."""
    return sorted(decisions, key=lambda d: (d.scores.detector_backend is None, _lot(d)))[:most]


def kind_of(decision: Decision) -> str:
    """The reason of a piece, or ``accepted``."""
    return (decision.reason or decision.status).value


def _lot(decision: Decision) -> bytes:
    place = f"{decision.source}\n{decision.start_frame}"
    return hashlib.sha256(place.encode("utf-8", "surrogatepass")).digest()
