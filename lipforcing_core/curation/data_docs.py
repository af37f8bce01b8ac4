"""The data docs: one self-contained HTML page about a curation run, of bounded size whatever the corpus."""

from __future__ import annotations

import heapq
from array import array
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar
from urllib.parse import quote

from lipforcing_core.base.packed_rows import Parts
from lipforcing_core.curation.contract import Check, ContractResult
from lipforcing_core.curation.funnel import Balance, FunnelRow, ReasonCount
from lipforcing_core.curation.gallery import ClipOf, Kind, gallery
from lipforcing_core.curation.histogram import histogram, histogram_svg
from lipforcing_core.curation.limits import MEASURES, Direction, borders, judged, limit_of, passes
from lipforcing_core.curation.page import write_page
from lipforcing_core.curation.reasons import RejectReason
from lipforcing_core.curation.records import ClipRecord, Decision, SourceOutcome, Status
from lipforcing_core.curation.sources import IgnoredFiles, ignored_line
from lipforcing_core.curation.thumbnails import thumbnails
from lipforcing_core.sync.offset import MAX_OFFSET

TEMPLATE = Path(__file__).with_name("data_docs.html")

MAX_ROWS = 400
MAX_LINES = 100
MAX_PLAYERS = 12
MAX_ORIGINS = 24
MAX_TEXT = 240
"""What the page shows at most of a table, a list, the players, the corpora and a text; the Parquet files hold all."""

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class DataDocs:
    """Everything that the page shows.

    name: of the data set; origins: the corpus that a source is from, by the name of the source, where it is from one.
    settings: those of the run, as stored. clip_of: where the aligned clip of a piece lies, of rejected ones too.
    """

    clips: Collection[ClipRecord]
    outcomes: Collection[SourceOutcome]
    counts: Balance
    funnel: Sequence[FunnelRow]
    reasons: Sequence[ReasonCount]
    contract: ContractResult
    name: str = ""
    origins: Mapping[str, str] = field(default_factory=dict)
    ignored: tuple[IgnoredFiles, ...] = ()
    warnings: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    clip_of: ClipOf = lambda decision: None
    pictures: Callable[[Path], Sequence[str]] = lambda clip: thumbnails(clip, [0])


@dataclass(frozen=True, kw_only=True)
class Some(Generic[T]):
    """The first entries of something, and how many more there are."""

    rows: list[T]
    more: int


@dataclass(frozen=True, kw_only=True)
class ScoreChart:
    """One score over all measured pieces: its histogram, its limit and which way is better, in words."""

    label: str
    unit: str
    direction: Direction
    asked: str
    low: float
    high: float
    num_missed: int
    svg: str


def write_data_docs(path: Path | str, docs: DataDocs) -> None:
    """Write the page: no scripts, no outside files but the clips beside it; equal input gives equal bytes."""
    first = heapq.nsmallest(MAX_ROWS, docs.clips, key=_place)
    decisions = Parts(docs.outcomes, lambda outcome: outcome.decisions)
    write_page(
        path,
        TEMPLATE,
        {"short": short, "address": address},
        clips=Some(rows=first, more=len(docs.clips) - len(first)),
        players=_players(docs.clips, decisions, docs),
        outcomes=Some(
            rows=heapq.nsmallest(MAX_ROWS, docs.outcomes, key=lambda o: o.source),
            more=max(0, len(docs.outcomes) - MAX_ROWS),
        ),
        some=some,
        counts=docs.counts,
        funnel=docs.funnel,
        longest=max(max((row.seconds for row in docs.funnel), default=0.0), 1e-9),
        reasons=docs.reasons,
        contract=docs.contract,
        name=docs.name,
        drift=docs.contract.drift,
        offsets=some(offset_charts(decisions, docs.origins, docs.settings), MAX_ORIGINS),
        references=Counter(clip.reference_81 for clip in docs.clips if clip.reference_81),
        checks=sorted(docs.contract.checks, key=_broken_first),
        ignored=docs.ignored,
        ignored_line=ignored_line(docs.ignored),
        warnings=some(docs.warnings, MAX_LINES),
        problems=some(docs.problems, MAX_LINES),
        num_problems=len(docs.problems),
        backends=_backends(docs.clips),
        charts=score_charts(decisions, docs.settings),
        kinds=gallery(decisions, docs.clip_of, docs.pictures),
        meaning_of=meaning_of,
        sync_filter=docs.settings.get("sync_filter") is not False,
        facts_of=lambda decision: facts_of(decision, docs.settings),
    )


def score_charts(decisions: Iterable[Decision], settings: Mapping[str, Any]) -> list[ScoreChart]:
    """A chart for every score that any piece has."""
    scored: dict[str, tuple[array[float], array[float]]] = {}
    firsts: dict[str, Decision] = {}
    for decision in decisions:
        for measure in MEASURES:
            if (value := getattr(decision.scores, measure.score)) is not None:
                firsts.setdefault(measure.score, decision)
                lost, kept = scored.setdefault(measure.score, (array("d"), array("d")))
                (kept if decision.status is Status.ACCEPTED else lost).append(value)
    charts = []
    for measure in MEASURES:
        if measure.score not in scored:
            continue
        lost, kept = scored[measure.score]
        first = judged(measure, firsts[measure.score], settings)
        shape = histogram(kept, lost, borders(first.limit, first.direction))
        assert shape is not None, "a piece has the score"
        missed = 0
        if first.limit is not None and first.passed is not None:
            values = kept + lost
            missed = sum(passes(value, first.limit, first.direction) is False for value in values)
        charts.append(
            ScoreChart(
                label=measure.label,
                unit=measure.unit,
                direction=first.direction,
                asked=first.asked,
                low=shape.low,
                high=shape.high,
                num_missed=missed,
                svg=histogram_svg(shape),
            )
        )
    return charts


@dataclass(frozen=True, kw_only=True)
class OffsetChart:
    """The measured offsets of the pieces of one corpus, one bar a frame; origin is empty for sources of no corpus."""

    origin: str
    num_pieces: int
    num_missed: int
    svg: str


def offset_charts(
    decisions: Iterable[Decision], origins: Mapping[str, str], settings: Mapping[str, Any]
) -> list[OffsetChart]:
    """A chart for each corpus that a measured piece is from, the largest first, all over the same range."""
    (measure,) = (m for m in MEASURES if m.score == "av_offset_measured")
    groups: dict[str, tuple[array[float], array[float]]] = {}
    missed: Counter[str] = Counter()
    for decision in decisions:
        if decision.scores.av_offset_measured is not None:
            origin = origins.get(decision.source, "")
            lost, kept = groups.setdefault(origin, (array("d"), array("d")))
            (kept if decision.status is Status.ACCEPTED else lost).append(_offset(decision))
            missed[origin] += judged(measure, decision, settings).passed is False
    limits = borders(limit_of(measure, settings), measure.direction)
    ends = (-MAX_OFFSET - 0.5, MAX_OFFSET + 0.5)
    charts = []
    for origin in sorted(groups, key=lambda origin: (-sum(map(len, groups[origin])), origin)):
        lost, kept = groups[origin]
        shape = histogram(kept, lost, limits, 2 * MAX_OFFSET + 1, ends)
        assert shape is not None, "a group has a piece"
        charts.append(
            OffsetChart(
                origin=origin,
                num_pieces=len(kept) + len(lost),
                num_missed=missed[origin],
                svg=histogram_svg(shape),
            )
        )
    return charts


def _offset(decision: Decision) -> float:
    """The measured offset in frames, kept inside the charts."""
    measured = float(decision.scores.av_offset_measured or 0)
    return min(max(measured, -MAX_OFFSET), MAX_OFFSET)


def _players(
    clips: Collection[ClipRecord], decisions: Iterable[Decision], docs: DataDocs
) -> list[tuple[ClipRecord, str]]:
    """A few clips from all over the corpus, each with its first frame as a data URI (empty where there is none)."""
    places = sorted((_place(clip), number) for number, clip in enumerate(clips))
    numbers = {number for _, number in places[:: max(1, -(-len(clips) // MAX_PLAYERS))]}
    chosen = sorted((clip for number, clip in enumerate(clips) if number in numbers), key=_place)
    ids = {clip.clip_id for clip in chosen}
    paths = {d.clip_id: docs.clip_of(d) for d in decisions if d.clip_id in ids}
    found = []
    for clip in chosen:
        path = paths.get(clip.clip_id)
        pictures = [] if path is None else docs.pictures(path)
        found.append((clip, next(iter(pictures), "")))
    return found


def _place(clip: ClipRecord) -> tuple[str, int]:
    return clip.source, clip.start_frame


def facts_of(decision: Decision, settings: Mapping[str, Any]) -> str:
    """What decided about a piece, in one line."""
    if decision.measured is not None:
        words = f"measured {decision.measured:.4g}"
        return words if decision.threshold is None else f"{words}, limit {decision.threshold:.4g}"
    names = ("sync_confidence", "quality")
    lines = [judged(m, decision, settings) for m in MEASURES if m.score in names]
    return ", ".join(f"{line.measure.label} {line.value:.4g}" for line in lines if line.value is not None)


def meaning_of(kind: Kind) -> str:
    """What it is for a piece to be of a kind, in a clause."""
    known = {reason.value: reason.explanation for reason in RejectReason}
    return known.get(kind.name, "these pieces became clips")


def some(entries: Iterable[T], most: int) -> Some[T]:
    """The first ``most`` entries."""
    rows = list(entries)
    return Some(rows=rows[:most], more=max(0, len(rows) - most))


def short(text: object, most: int = MAX_TEXT) -> str:
    """A text with its middle left out if it is very long; names of files may have kilobytes."""
    words = str(text)
    half = (most - 3) // 2
    return words if len(words) <= most else f"{words[:half]}...{words[-half:]}"


def address(relative: str) -> str:
    """A path below the page's folder as a link."""
    return quote(relative)


def _broken_first(check: Check) -> tuple[bool, bool]:
    return check.success, check.only_warns


def _backends(clips: Iterable[ClipRecord]) -> list[tuple[str, list[str]]]:
    used = {(c.scores.detector_backend, c.scores.sync_backend, c.scores.quality_backend) for c in clips}
    titles = ("Face detector", "Sync expert", "Picture quality")
    return [
        (title, sorted({*filter(None, (backends[place] for backends in used))}))
        for place, title in enumerate(titles)
    ]
