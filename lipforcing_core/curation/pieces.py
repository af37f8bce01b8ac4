"""Curation of the pieces of one decoded source: shots, segments, face, quality, sync, decision."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from lipforcing_core.base.products import content_key
from lipforcing_core.curation import steps
from lipforcing_core.curation.backends import CurationBackends
from lipforcing_core.curation.decide import Verdict, judge_face, judge_quality, judge_sound, judge_sync
from lipforcing_core.curation.reasons import RejectReason
from lipforcing_core.curation.records import (
    ClipRecord,
    Decision,
    Scores,
    SourceFacts,
    Status,
    StoredClip,
)
from lipforcing_core.curation.results import FaceResult, Finished, SyncResult
from lipforcing_core.curation.settings import CurationSettings
from lipforcing_core.curation.sources import SourceFile
from lipforcing_core.media.clock import SAMPLES_PER_FRAME, seconds
from lipforcing_core.media.segments import Segment, plan_segments

TRIMMED_FRAMES = 6
"""A picture that outlasts its sound by fewer frames than this, half a chunk, is trimmed without a row: containers round
the lengths of the two to different grids."""


@dataclass(frozen=True, kw_only=True)
class Curated:
    """What became of the pieces: decisions for all but ``frames_trimmed`` frames at the end."""

    decisions: list[Decision] = field(default_factory=list)
    clips: list[StoredClip] = field(default_factory=list)
    frames_trimmed: int = 0


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """A segment that passed every threshold."""

    scores: Scores
    face: Finished[FaceResult]
    sync: Finished[SyncResult]


@dataclass(frozen=True, kw_only=True)
class Rejected:
    """A segment that missed one; ``scores`` end with the one that decided."""

    scores: Scores
    verdict: Verdict


def curate_pieces(
    source: steps.NormalisedSource,
    num_frames: int,
    num_samples: int,
    facts: SourceFacts,
    settings: CurationSettings,
    backends: CurationBackends,
) -> Curated:
    """Divide a source of ``num_frames`` with ``num_samples`` of sound into segments and decide about each."""
    sounding_frames = min(-(-num_samples // SAMPLES_PER_FRAME), num_frames)
    silent_frames = num_frames - sounding_frames
    frames_trimmed = silent_frames if silent_frames < TRIMMED_FRAMES else 0
    curated = Curated(frames_trimmed=frames_trimmed)
    shots = steps.found_shots(source, settings, source.store)
    heard = [(start, min(stop, sounding_frames)) for start, stop in shots if start < sounding_frames]
    kept, short = plan_segments(heard, min_frames=settings.min_frames, max_frames=settings.max_frames)
    if silent_frames > frames_trimmed:
        verdict = Verdict(
            reason=RejectReason.AUDIO_MISSING,
            measured=float(seconds(sounding_frames)),
            threshold=float(seconds(num_frames)),
        )
        curated.decisions.append(rejection(source.file, Segment(sounding_frames, num_frames), verdict))
    for segment in short:
        verdict = Verdict(
            reason=RejectReason.TOO_SHORT,
            measured=float(segment.seconds),
            threshold=settings.min_segment_s,
        )
        curated.decisions.append(rejection(source.file, segment, verdict))
    for segment in kept:
        judged = judge_segment(source, segment, settings, backends)
        if isinstance(judged, Rejected):
            curated.decisions.append(rejection(source.file, segment, judged.verdict, judged.scores))
            continue
        shot = next(i for i, (start, stop) in enumerate(shots) if start <= segment.start < stop)
        clip = _stored_clip(source, segment, shot, judged, facts, settings)
        curated.clips.append(clip)
        curated.decisions.append(_acceptance(source.file, segment, clip.record))
    curated.decisions.sort(key=lambda decision: decision.start_frame)
    return curated


def judge_segment(
    source: steps.NormalisedSource, segment: Segment, settings: CurationSettings, backends: CurationBackends
) -> Accepted | Rejected:
    """Measure a segment, step by step, until one measurement misses its threshold."""
    store, detector = source.store, backends.detector
    dbfs = steps.loudness_dbfs(steps.sound_under(source.audio, segment))
    scores = Scores(loudness_dbfs=dbfs)
    if verdict := judge_sound(dbfs, settings):
        return Rejected(scores=scores, verdict=verdict)

    face = steps.aligned(source, segment, settings, detector, store)
    scores = replace(
        scores,
        detected_fraction=face.result.detected_fraction,
        absent_frames=face.result.absent_frames,
        face_height_px=face.result.crop.face_height_px if face.result.crop else None,
        detector_backend=detector.backend_id,
    )
    if verdict := judge_face(face.result, settings):
        return Rejected(scores=scores, verdict=verdict)

    clip = face.folder / steps.CLIP
    # Before sync: a blurred mouth cannot be read, so low quality is the cause and low confidence its effect.
    quality = steps.rated(face.key, clip, segment.num_frames, backends.quality, store)
    scores = replace(scores, quality=quality.value, quality_backend=quality.backend)
    if verdict := judge_quality(quality, settings):
        return Rejected(scores=scores, verdict=verdict)

    expert, correct = backends.sync_expert, settings.sync_filter
    sync = steps.synchronised(source, segment, face.key, clip, expert, store, correct=correct)
    scores = replace(
        scores,
        sync_confidence=sync.result.confidence,
        sync_distance=sync.result.distance,
        av_offset_measured=sync.result.offset_measured,
        av_offset_applied=sync.result.offset_applied,
        av_offset_remaining=sync.result.offset_remaining,
        sync_backend=sync.result.backend,
    )
    if verdict := judge_sync(sync.result, settings):
        return Rejected(scores=scores, verdict=verdict)
    return Accepted(scores=scores, face=face, sync=sync)


def split_of(identity: str | None, source_id: str, val_fraction: float, official: str | None = None) -> str:
    """The official split, or else ``train`` or ``val`` by the hash of the identity; of the source where it is unknown.

    Without an official split the same person is never on both sides, and adding sources moves none.
    """
    if official is not None:
        return official
    group = f"identity:{identity}" if identity else f"source:{source_id}"
    position = int.from_bytes(hashlib.sha256(group.encode()).digest()[:8], "big") / 2**64
    return "val" if position < val_fraction else "train"


def rejection(file: SourceFile, segment: Segment, verdict: Verdict, scores: Scores | None = None) -> Decision:
    """The row of a segment that misses a threshold."""
    return Decision(
        scores=scores or Scores(),
        source=file.name,
        source_id=file.source_id,
        level="segment",
        start_frame=segment.start,
        stop_frame=segment.stop,
        seconds=float(segment.seconds),
        status=Status.REJECTED,
        reason=verdict.reason,
        measured=verdict.measured,
        threshold=verdict.threshold,
    )


def _acceptance(file: SourceFile, segment: Segment, record: ClipRecord) -> Decision:
    return Decision(
        scores=record.scores,
        source=file.name,
        source_id=file.source_id,
        level="segment",
        start_frame=segment.start,
        stop_frame=segment.stop,
        seconds=float(segment.seconds),
        status=Status.ACCEPTED,
        clip_id=record.clip_id,
    )


def _stored_clip(
    source: steps.NormalisedSource,
    segment: Segment,
    shot: int,
    accepted: Accepted,
    facts: SourceFacts,
    settings: CurationSettings,
) -> StoredClip:
    file, face, sync = source.file, accepted.face, accepted.sync
    assert face.result.crop is not None, "an accepted segment has a face"
    clip_id = content_key("clip", face.key, sync.key)
    record = ClipRecord(
        clip_id=clip_id,
        source_id=file.source_id,
        source=file.name,
        source_sha256=file.sha256,
        shot=shot,
        start_frame=segment.start,
        stop_frame=segment.stop,
        num_frames=segment.num_frames,
        seconds=float(segment.seconds),
        identity=facts.identity,
        licence=facts.licence,
        commercial_ok=facts.commercial_ok,
        split=split_of(facts.identity, file.source_id, settings.val_fraction, facts.split),
        clip_path=f"clips/{clip_id}.mp4",
        audio_path=f"clips/{clip_id}.wav",
        alignment_path=f"clips/{clip_id}.npz",
        clip_sha256=face.result.crop.clip_sha256,
        audio_sha256=sync.result.audio_sha256,
        scores=accepted.scores,
        num_lossy_encodes=1,
    )
    clip, audio, alignment = _below_root(source, face, sync)
    return StoredClip(record=record, clip=clip, audio=audio, alignment=alignment)


def _below_root(
    source: steps.NormalisedSource, face: Finished[FaceResult], sync: Finished[SyncResult]
) -> Iterator[str]:
    for path in (face.folder / steps.CLIP, sync.folder / steps.AUDIO, face.folder / steps.ALIGNMENT):
        yield path.relative_to(source.store.root).as_posix()
