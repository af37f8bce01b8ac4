"""Decisions: thresholds applied to stored measurements."""

from __future__ import annotations

from dataclasses import dataclass

from lipforcing_core.curation.reasons import RejectReason
from lipforcing_core.curation.records import Scores
from lipforcing_core.curation.results import QualityResult, SyncResult
from lipforcing_core.curation.settings import CurationSettings


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A rejection: why, the measured value, and the threshold it missed."""

    reason: RejectReason
    measured: float | None
    threshold: float | None


def judge_sound(scores: Scores, settings: CurationSettings) -> Verdict | None:
    """Reject silence, and sound without speech."""
    assert scores.loudness_dbfs is not None, "loudness is measured first"
    if scores.loudness_dbfs < settings.silence_dbfs:
        return _verdict(RejectReason.SILENT_AUDIO, scores.loudness_dbfs, settings.silence_dbfs)
    if scores.speech_share is not None and scores.speech_share < settings.min_speech_share:
        return _verdict(RejectReason.NO_SPEECH, scores.speech_share, settings.min_speech_share)
    return None


def no_face(scores: Scores, settings: CurationSettings) -> Verdict:
    """The rejection of a piece without a face; what is seen in only a few frames is a mistake of the detector."""
    return _verdict(RejectReason.NO_FACE, scores.detected_fraction or 0.0, settings.min_detected_fraction)


def several_faces(scores: Scores) -> Verdict:
    """The rejection of a piece in which nobody can say which of its faces speaks."""
    return _verdict(RejectReason.SEVERAL_FACES, scores.num_faces or 0, 1)


def judge_face(scores: Scores, settings: CurationSettings) -> Verdict | None:
    """Reject a face that is missing in too many frames, small, turned far to a side, up or down, cut off, covered, or
    shown frozen."""
    limits = (
        (RejectReason.FACE_LOST, scores.absent_frames, settings.max_absent_frames),
        (RejectReason.TURNED_AWAY, scores.yaw_deg, settings.max_yaw_deg),
        (RejectReason.TURNED_UP_OR_DOWN, scores.pitch_deg, settings.max_pitch_deg),
        (RejectReason.LIPS_CUT_OFF, scores.lips_outside, settings.max_lips_outside),
        (RejectReason.FROZEN_PICTURE, scores.longest_repeat_frames, settings.max_repeat_frames),
        (RejectReason.REPEATED_FRAMES, scores.repeated_fraction, settings.max_repeated_fraction),
    )
    height_px = scores.face_height_px
    if height_px is not None and height_px < settings.min_face_height_px:
        return _verdict(RejectReason.FACE_TOO_SMALL, height_px, settings.min_face_height_px)
    for reason, measured, limit in limits:
        if measured is not None and abs(measured) > limit:
            return _verdict(reason, measured, limit)
    likeness = scores.mouth_likeness
    if likeness is not None and likeness < settings.min_mouth_likeness:
        return _verdict(RejectReason.OCCLUDED, likeness, settings.min_mouth_likeness)
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
