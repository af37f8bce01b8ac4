"""The story of a source as one self-contained HTML page, with thumbnails and a strip for every score."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from lipforcing_core.curation.histogram import strip_svg
from lipforcing_core.curation.limits import MEASURES, Judged, borders
from lipforcing_core.curation.page import write_page
from lipforcing_core.curation.records import Decision
from lipforcing_core.curation.story import PieceStory, Story
from lipforcing_core.curation.story_text import facts_line, piece_lines, piece_title, reading_lines, verdict
from lipforcing_core.curation.thumbnails import three_frames, thumbnails

TEMPLATE = Path(__file__).with_name("story.html")
MAX_PICTURED = 60
"""Pieces with thumbnails on one page; an hour has some 400, and three pictures of each would be megabytes."""

Pictures = Callable[[Path, Sequence[int]], Sequence[str]]


def write_story_page(path: Path | str, story: Story, pictures: Pictures = thumbnails) -> None:
    """Write the page: no scripts and no outside files; the same story gives the same bytes."""
    ranges = _ranges(story.run.decisions)
    pieces = [
        {
            "story": piece,
            "title": piece_title(number, piece),
            "lines": piece_lines(piece),
            "pictures": _pictures(piece, pictures) if number <= MAX_PICTURED else [],
            "scores": [(score, _strip(score, ranges)) for score in piece.scores],
        }
        for number, piece in enumerate(story.pieces, 1)
    ]
    write_page(
        path,
        TEMPLATE,
        {},
        story=story,
        verdict=verdict(story),
        facts=facts_line(story),
        reading=reading_lines(story),
        pieces=pieces,
        settings=sorted(story.settings.items()),
    )


def _pictures(piece: PieceStory, pictures: Pictures) -> list[str]:
    if piece.clip is None:
        return []
    return list(pictures(piece.clip, three_frames(piece.decision.num_frames)))


def _ranges(decisions: Iterable[Decision]) -> dict[str, tuple[float, float]]:
    """The least and the largest value of every score that any of these decisions has."""
    found: dict[str, tuple[float, float]] = {}
    for decision in decisions:
        for measure in MEASURES:
            if (value := getattr(decision.scores, measure.score)) is not None:
                low, high = found.get(measure.score, (value, value))
                found[measure.score] = min(low, value), max(high, value)
    return found


def _strip(score: Judged, ranges: Mapping[str, tuple[float, float]]) -> str:
    """The place of a value among those of the whole run; empty where there is no value."""
    if score.value is None:
        return ""
    limits = borders(score.limit, score.direction)
    ends = [*ranges[score.measure.score], *limits]
    return strip_svg(float(score.value), limits, min(ends), max(ends))
