"""Decisions: thresholds applied to stored measurements."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lipforcing_core.curation.reasons import RejectReason
from lipforcing_core.curation.settings import CurationSettings


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A rejection: why, the measured value, and the threshold it missed."""

    reason: RejectReason
    measured: float | None
    threshold: float | None


def judge_sound(dbfs: float, settings: CurationSettings) -> Verdict | None:
    """Reject silence."""
    if dbfs < settings.silence_dbfs:
        return _verdict(RejectReason.SILENT_AUDIO, dbfs, settings.silence_dbfs)
    return None


def judge_face(result: dict[str, Any], settings: CurationSettings) -> Verdict | None:
    """Reject clips without a face, with too many frames without one, or with a small one.

    What is seen in only a few frames is a mistake of the detector and no face.
    """
    fraction = result["detected_fraction"]
    if not result["has_clip"] or fraction < settings.min_detected_fraction:
        return _verdict(RejectReason.NO_FACE, fraction, settings.min_detected_fraction)
    if result["absent_frames"] > settings.max_absent_frames:
        return _verdict(RejectReason.FACE_LOST, result["absent_frames"], settings.max_absent_frames)
    if result["face_height_px"] < settings.min_face_height_px:
        return _verdict(RejectReason.FACE_TOO_SMALL, result["face_height_px"], settings.min_face_height_px)
    return None


def judge_sync(result: dict[str, Any], settings: CurationSettings) -> Verdict | None:
    """Reject clips whose lips and sound do not match, or match only far apart (method F.1, step 7)."""
    if not settings.sync_filter:
        return None
    if result["confidence"] < settings.sync_confidence_min:
        return _verdict(RejectReason.SYNC_CONFIDENCE_LOW, result["confidence"], settings.sync_confidence_min)
    if abs(result["offset_measured"]) > settings.max_abs_offset_frames:
        return _verdict(
            RejectReason.AV_OFFSET_TOO_LARGE, result["offset_measured"], settings.max_abs_offset_frames
        )
    if result["offset_remaining"] != 0:
        return _verdict(RejectReason.AV_OFFSET_UNSTABLE, result["offset_remaining"], 0)
    return None


def judge_quality(result: dict[str, Any], settings: CurationSettings) -> Verdict | None:
    """Reject poor pictures, in the direction of the scorer's scale."""
    value, threshold = result["value"], settings.quality_threshold
    good = value >= threshold if result["higher_is_better"] else value <= threshold
    return None if good else _verdict(RejectReason.QUALITY_LOW, value, threshold)


def _verdict(reason: RejectReason, measured: float, threshold: float) -> Verdict:
    return Verdict(reason=reason, measured=float(measured), threshold=float(threshold))
