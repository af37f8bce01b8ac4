"""What each score means, which way is better, and the setting that is its limit.

Reports judge stored scores by the settings as they were stored, which may be those of an older version: a mapping of
names to values, in which a setting may be missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from lipforcing_core.curation.reasons import RejectReason, Stage
from lipforcing_core.curation.records import Decision, Scores
from lipforcing_core.quality.catalogue import QUALITY_SCORERS

NOT_RECORDED = "not recorded"


class Direction(StrEnum):
    """Which values of a score are good."""

    HIGHER = "higher is better"
    LOWER = "lower is better"
    ZERO = "nearer to 0 is better"
    UNKNOWN = "direction not recorded"
    NONE = ""


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One score. ``setting`` is its limit, ``fixed`` a limit that no setting moves; without both it only informs."""

    score: str
    label: str
    unit: str
    stage: Stage
    direction: Direction
    setting: str | None = None
    fixed: float | None = None
    reason: RejectReason | None = None


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A score of a piece beside its limit. ``passed`` is None where nothing is asked of it."""

    measure: Measure
    value: float | None
    direction: Direction
    limit: float | None
    asked: str
    passed: bool | None

    @property
    def words(self) -> str:
        """The value with its unit, or that there is none."""
        if self.value is None:
            return "not measured" if self.limit is not None else NOT_RECORDED
        unit = f" {self.measure.unit}" if self.measure.unit else ""
        return f"{self.value:.4g}{unit}"


def _of(
    stage: Stage,
    score: str,
    label: str,
    unit: str,
    direction: Direction,
    limit: tuple[str, str] | None = None,
) -> Measure:
    """A measure; ``limit`` is the setting, and the reason of a piece that misses it."""
    return Measure(
        stage=stage,
        score=score,
        label=label,
        unit=unit,
        direction=direction,
        setting=limit[0] if limit else None,
        reason=RejectReason(limit[1]) if limit else None,
    )


_SOUND, _FACE, _QUALITY, _SYNC = Stage.SOUND, Stage.FACE, Stage.QUALITY, Stage.SYNC
_HIGH, _LOW, _ZERO, _NONE = Direction.HIGHER, Direction.LOWER, Direction.ZERO, Direction.NONE
_DETECTED = "min_detected_fraction"
_STILL = "longest_repeat_frames"
_OFFSET = "av_offset_measured"

MEASURES: tuple[Measure, ...] = (
    _of(_SOUND, "loudness_dbfs", "loudness", "dBFS", _HIGH, ("silence_dbfs", "silent_audio")),
    _of(_SOUND, "speech_share", "speech (share of the time)", "", _HIGH, ("min_speech_share", "no_speech")),
    _of(_FACE, "num_faces", "faces that may speak", "", _NONE),
    _of(_FACE, "detected_fraction", "frames with the face (share)", "", _HIGH, (_DETECTED, "no_face")),
    _of(_FACE, "face_height_px", "face height", "px", _HIGH, ("min_face_height_px", "face_too_small")),
    _of(
        _FACE, "absent_frames", "frames without the face", "frames", _LOW, ("max_absent_frames", "face_lost")
    ),
    _of(_FACE, "yaw_deg", "turn of the head", "degrees", _LOW, ("max_yaw_deg", "turned_away")),
    _of(
        _FACE,
        "pitch_deg",
        "head down (+) or up (-)",
        "degrees",
        _ZERO,
        ("max_pitch_deg", "turned_up_or_down"),
    ),
    _of(_FACE, "lips_outside", "lips beyond border (share)", "", _LOW, ("max_lips_outside", "lips_cut_off")),
    _of(_FACE, _STILL, "longest standstill", "frames", _LOW, ("max_repeat_frames", "frozen_picture")),
    _of(
        _FACE,
        "repeated_fraction",
        "repeated frames (share)",
        "",
        _LOW,
        ("max_repeated_fraction", "repeated_frames"),
    ),
    _of(_FACE, "mouth_likeness", "likeness of the mouth", "", _HIGH, ("min_mouth_likeness", "occluded")),
    _of(_FACE, "invented_frames", "frames invented to fill gaps", "frames", _NONE),
    _of(_QUALITY, "quality", "picture quality", "", Direction.UNKNOWN, ("quality_threshold", "quality_low")),
    _of(_SYNC, "sync_confidence", "Sync-C", "", _HIGH, ("sync_confidence_min", "sync_confidence_low")),
    _of(_SYNC, "sync_distance", "Sync-D", "", _LOW),
    _of(_SYNC, _OFFSET, "offset measured", "frames", _ZERO, ("max_abs_offset_frames", "av_offset_too_large")),
    _of(_SYNC, "av_offset_applied", "offset corrected", "frames", _NONE),
    Measure(
        stage=Stage.SYNC,
        score="av_offset_remaining",
        label="offset that remains",
        unit="frames",
        direction=_ZERO,
        fixed=0.0,
        reason=RejectReason.AV_OFFSET_UNSTABLE,
    ),
)
"""Every score that is a number, in the order in which it is judged."""


def direction_of(
    measure: Measure, settings: Mapping[str, Any], decision: Decision | None = None
) -> Direction:
    """Which way a score is better; that of the picture quality depends on its scorer.

    Where the scorer is none of the catalogue, a rejection for quality tells it: it lies on the bad side of its limit.
    """
    if measure.score != "quality":
        return measure.direction
    backend = (decision.scores.quality_backend if decision else None) or settings.get("quality") or ""
    for scorer in QUALITY_SCORERS:
        if backend == scorer.name or backend.startswith(f"{scorer.name}-"):
            return Direction.HIGHER if scorer.higher_is_better else Direction.LOWER
    if decision is not None and decision.reason is measure.reason:
        measured, limit = decision.measured, decision.threshold
        if measured is not None and limit is not None and measured != limit:
            return Direction.HIGHER if measured < limit else Direction.LOWER
    return Direction.UNKNOWN


def limit_of(measure: Measure, settings: Mapping[str, Any]) -> float | None:
    """The limit of a score under stored settings; None where there is none or it is not recorded."""
    if measure.setting is None:
        return measure.fixed
    value = settings.get(measure.setting)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def borders(limit: float | None, direction: Direction) -> list[float]:
    """Where good and bad values of a score meet; at two places where those near 0 are good."""
    if limit is None:
        return []
    return [-limit, limit] if direction is Direction.ZERO and limit else [limit]


def judged(measure: Measure, decision: Decision, settings: Mapping[str, Any]) -> Judged:
    """A score of a piece beside what is asked of it."""
    value = getattr(decision.scores, measure.score)
    direction = direction_of(measure, settings, decision)
    limit = limit_of(measure, settings)
    ignored = measure.stage is Stage.SYNC and settings.get("sync_filter") is False
    passed = None if ignored or value is None or limit is None else passes(value, limit, direction)
    return Judged(
        measure=measure,
        value=value,
        direction=direction,
        limit=limit,
        asked=_asked(measure, limit, direction, ignored=ignored),
        passed=passed,
    )


def judged_scores(decision: Decision, settings: Mapping[str, Any]) -> list[Judged]:
    """Every score of a piece, in the order of ``MEASURES``; empty for a piece that was not measured."""
    if decision.scores == Scores():
        return []
    return [judged(measure, decision, settings) for measure in MEASURES]


def passes(value: float, limit: float, direction: Direction) -> bool | None:
    """Whether a value is on the good side of its limit, which itself is good; None where no side is known."""
    if direction is Direction.HIGHER:
        return value >= limit
    if direction is Direction.LOWER:
        return value <= limit
    if direction is Direction.ZERO:
        return abs(value) <= limit
    return None


def _asked(measure: Measure, limit: float | None, direction: Direction, *, ignored: bool) -> str:
    """What is asked of a score, in words."""
    if measure.setting is None and measure.fixed is None:
        return "no limit"
    if ignored:
        return "not acted on (sync_filter is off)"
    if limit is None:
        return f"limit {NOT_RECORDED}"
    if measure.fixed is not None:
        return f"exactly {limit:g}"
    words = {Direction.HIGHER: "at least", Direction.LOWER: "at most", Direction.ZERO: "at most +/-"}
    word = words.get(direction, "limit")
    gap = "" if word.endswith("-") else " "
    return f"{word}{gap}{limit:g} ({measure.setting})"
