"""Decisions: thresholds applied to stored measurements."""

from __future__ import annotations

from dataclasses import dataclass

from lipforcing_core.curation.reasons import RejectReason
from lipforcing_core.curation.results import FaceResult, QualityResult, SyncResult
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


def judge_face(face: FaceResult, settings: CurationSettings) -> Verdict | None:
    """Reject clips without a face, with too many frames without one, or with a small one.

    What is seen in only a few frames is a mistake of the detector and no face.
    """
    if face.crop is None or face.detected_fraction < settings.min_detected_fraction:
        return _verdict(RejectReason.NO_FACE, face.detected_fraction, settings.min_detected_fraction)
    if face.absent_frames > settings.max_absent_frames:
        return _verdict(RejectReason.FACE_LOST, face.absent_frames, settings.max_absent_frames)
    if face.crop.face_height_px < settings.min_face_height_px:
        return _verdict(RejectReason.FACE_TOO_SMALL, face.crop.face_height_px, settings.min_face_height_px)
    return None


def judge_sync(sync: SyncResult, settings: CurationSettings) -> Verdict | None:
    """Reject clips whose lips and sound do not match, or match only far apart (method F.1, step 7)."""
    if not settings.sync_filter:
        return None
    if sync.confidence < settings.sync_confidence_min:
        return _verdict(RejectReason.SYNC_CONFIDENCE_LOW, sync.confidence, settings.sync_confidence_min)
    if abs(sync.offset_measured) > settings.max_abs_offset_frames:
        return _verdict(
            RejectReason.AV_OFFSET_TOO_LARGE, sync.offset_measured, settings.max_abs_offset_frames
        )
    if sync.offset_remaining != 0:
        return _verdict(RejectReason.AV_OFFSET_UNSTABLE, sync.offset_remaining, 0)
    return None


def judge_quality(quality: QualityResult, settings: CurationSettings) -> Verdict | None:
    """Reject poor pictures, in the direction of the scorer's scale."""
    value, threshold = quality.value, settings.quality_threshold
    good = value >= threshold if quality.higher_is_better else value <= threshold
    return None if good else _verdict(RejectReason.QUALITY_LOW, value, threshold)


def _verdict(reason: RejectReason, measured: float, threshold: float) -> Verdict:
    return Verdict(reason=reason, measured=float(measured), threshold=float(threshold))
