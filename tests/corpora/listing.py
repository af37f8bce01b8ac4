"""What tests ask of a listing."""

from __future__ import annotations

from typing import Any

from lipforcing_core.corpora.protocol import CorpusListing
from lipforcing_core.curation.records import SourceFacts


def facts(listing: CorpusListing) -> dict[str, SourceFacts]:
    """The facts of every source by its path below the root."""
    return {s.path.relative_to(listing.root).as_posix(): s.facts for s in listing.sources}


def times(known: SourceFacts) -> list[tuple[Any, ...]]:
    """The ranges of a source, with x, y, width, height and the height of the picture of their crops."""
    return [
        (
            str(r.start),
            str(r.stop),
            r.crop and (r.crop.x, r.crop.y, r.crop.width, r.crop.height, r.crop.frame_height),
        )
        for r in known.ranges or ()
    ]


def left_out(listing: CorpusListing) -> dict[str, tuple[int, str]]:
    """Number and example of what is no source, by kind."""
    return {entry.what: (entry.num, entry.example) for entry in listing.left_out}


def told(listing: CorpusListing) -> list[str]:
    """The problems, one line each."""
    return list(map(str, listing.problems))
