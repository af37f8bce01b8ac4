"""The facts of a data-set card: how much there is, of whom, in which languages, under which terms."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath, PureWindowsPath
from statistics import median
from typing import Any

from lipforcing_core.base.licences import commercial_ok, commercial_ok_of_all
from lipforcing_core.curation.records import ClipRecord
from lipforcing_core.export.curated import CuratedSet
from lipforcing_core.media.clock import seconds

SCORES = (
    "sync_confidence",
    "sync_distance",
    "av_offset_applied",
    "quality",
    "face_height_px",
    "loudness_dbfs",
)
BACKENDS = ("detector_backend", "sync_backend", "quality_backend")


@dataclass(frozen=True, kw_only=True)
class Share:
    """The clips that have one value in a column; ``value`` is None for those of which it is not known."""

    value: str | None
    num_clips: int
    seconds: float
    num_identities: int
    commercial_ok: bool | None
    """Whether all of these clips may be used commercially: False if one may not, None where that is not known."""


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Smallest, middle and largest value of a score."""

    score: str
    lowest: float
    middle: float
    highest: float


@dataclass(frozen=True, kw_only=True)
class Card:
    """What a data-set card tells.

    identities counts those that are named; clips without one are in ``num_unnamed``. leaking are the identities that
    appear in more than one split. funnel and reasons are the rows of ``funnel.json``.
    """

    num_clips: int
    num_frames: int
    seconds: float
    num_sources: int
    num_identities: int
    num_unnamed: int
    leaking: tuple[str, ...]
    splits: tuple[Share, ...]
    licences: tuple[Share, ...]
    languages: tuple[Share, ...]
    consents: tuple[Share, ...]
    corpora: tuple[Share, ...]
    commercial_ok: bool | None
    scores: tuple[Spread, ...]
    backends: tuple[str, ...]
    funnel: tuple[Mapping[str, Any], ...]
    reasons: tuple[Mapping[str, Any], ...]
    settings: tuple[tuple[str, str], ...]
    num_checks: int | None
    num_failed_checks: int

    @property
    def hours(self) -> float:
        """Length of all clips in hours."""
        return self.seconds / 3600


def make_card(curated: CuratedSet) -> Card:
    """The card of a data set; columns that a manifest does not have count as not known."""
    clips = curated.clips
    splits_of = defaultdict(set)
    for clip in clips:
        if clip.identity:
            splits_of[clip.identity].add(clip.split)
    return Card(
        num_clips=len(clips),
        num_frames=sum(clip.num_frames for clip in clips),
        seconds=_seconds(clips),
        num_sources=len({clip.source_sha256 for clip in clips}),
        num_identities=len(splits_of),
        num_unnamed=sum(not clip.identity for clip in clips),
        leaking=tuple(sorted(name for name, splits in splits_of.items() if len(splits) > 1)),
        splits=shares(clips, "split"),
        licences=shares(clips, "licence"),
        languages=shares(clips, "language"),
        consents=shares(clips, "consent"),
        corpora=shares(clips, "dataset"),
        commercial_ok=_commercial_ok(clips),
        scores=tuple(_spread(clips, score) for score in SCORES),
        backends=tuple(sorted({str(getattr(clip.scores, name)) for clip in clips for name in BACKENDS})),
        funnel=_rows(curated.funnel.get("stages")),
        reasons=_rows(curated.funnel.get("reasons")),
        settings=_settings(curated.funnel.get("settings")),
        num_checks=curated.contract.get("num_checks"),
        num_failed_checks=int(curated.contract.get("num_failed") or 0),
    )


def shares(clips: Sequence[ClipRecord], column: str) -> tuple[Share, ...]:
    """The clips by their value in a column, the most seconds first and those without a value last."""
    groups: dict[str | None, list[ClipRecord]] = {}
    for clip in clips:
        value = getattr(clip, column, None)
        groups.setdefault(None if value in (None, "") else str(value), []).append(clip)
    found = [
        Share(
            value=value,
            num_clips=len(group),
            seconds=_seconds(group),
            num_identities=len({clip.identity for clip in group if clip.identity}),
            commercial_ok=_commercial_ok(group),
        )
        for value, group in groups.items()
    ]
    return tuple(sorted(found, key=lambda share: (share.value is None, -share.seconds, share.value or "")))


def known(found: Iterable[Share]) -> list[str]:
    """The values of shares that have one."""
    return [share.value for share in found if share.value is not None]


def _seconds(clips: Iterable[ClipRecord]) -> float:
    return float(seconds(sum(clip.num_frames for clip in clips)))


def _commercial_ok(clips: Iterable[ClipRecord]) -> bool | None:
    return commercial_ok_of_all([commercial_ok(clip.licence, clip.commercial_ok) for clip in clips])


def _spread(clips: Sequence[ClipRecord], score: str) -> Spread:
    values = [float(getattr(clip.scores, score)) for clip in clips]
    return Spread(score=score, lowest=min(values), middle=float(median(values)), highest=max(values))


def _rows(value: Any) -> tuple[Mapping[str, Any], ...]:
    return tuple(row for row in value if isinstance(row, dict)) if isinstance(value, list) else ()


def _settings(value: Any) -> tuple[tuple[str, str], ...]:
    """Settings as text; of the path of a file only its name, since the rest says something of a machine alone."""
    if not isinstance(value, dict):
        return ()
    return tuple(
        (name, _without_folders(entry)) for name, entry in sorted(value.items()) if entry is not None
    )


def _without_folders(entry: Any) -> str:
    text = str(entry)
    return PureWindowsPath(PurePath(text).name).name if isinstance(entry, str) and text else text
