"""What becomes of the pieces of a source that has been read: face, quality, sync, decision."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from pathlib import Path

from lipforcing_core.base.products import StepStore, content_key
from lipforcing_core.curation import steps
from lipforcing_core.curation.backends import CurationBackends
from lipforcing_core.curation.decide import (
    Verdict,
    judge_face,
    judge_quality,
    judge_sound,
    judge_sync,
    no_face,
    several_faces,
)
from lipforcing_core.curation.reasons import RejectReason
from lipforcing_core.curation.records import (
    ClipRecord,
    Decision,
    Scores,
    SourceFacts,
    Status,
    StoredClip,
)
from lipforcing_core.curation.results import (
    EmbeddingResult,
    FingerprintResult,
    Finished,
    Piece,
    QualityResult,
    Reading,
    SpeechResult,
    SyncResult,
    TrackFacts,
)
from lipforcing_core.curation.settings import CurationSettings
from lipforcing_core.curation.sound_words import as_column, silences_of_clip, sound_notes
from lipforcing_core.curation.sources import SourceFile
from lipforcing_core.faces.detectors.protocol import MIN_RELATIVE_HEIGHT
from lipforcing_core.media.clock import SAMPLES_PER_FRAME, seconds
from lipforcing_core.media.segments import Segment

TRIMMED_FRAMES = 6
"""A picture that outlasts its sound by fewer frames than this, half a chunk, is trimmed without a row: containers round
the lengths of the two to different grids."""


@dataclass(kw_only=True)
class Curated:
    """What became of the pieces: decisions for all but ``frames_trimmed`` frames after the end of the sound."""

    decisions: list[Decision] = field(default_factory=list)
    clips: list[StoredClip] = field(default_factory=list)
    frames_trimmed: int = 0


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Everything that is known of one face of a piece."""

    face: steps.CutFace
    quality: QualityResult
    sync: Finished[SyncResult]
    scores: Scores
    speech: SpeechResult
    fingerprint: Finished[FingerprintResult]
    embedding: Finished[EmbeddingResult] | None


@dataclass(frozen=True, kw_only=True)
class Rejected:
    """A piece that missed one; ``scores`` are those of the face that came closest."""

    scores: Scores
    verdict: Verdict


def curate_pieces(
    source: steps.ReadSource,
    reading: Reading,
    facts: SourceFacts,
    settings: CurationSettings,
    backends: CurationBackends,
) -> Curated:
    """Decide about every piece of a source that has been read."""
    sounding_frames = min(-(-reading.num_samples // SAMPLES_PER_FRAME), reading.num_frames)
    curated = Curated()
    for rest in _left_over(reading):
        if rest.num_frames < TRIMMED_FRAMES:
            curated.frames_trimmed += rest.num_frames
        else:
            verdict = _without_sound(sounding_frames, rest.stop)
            curated.decisions.append(rejection(source.file, rest, verdict))
    for outside in reading.outside:
        verdict = Verdict(reason=RejectReason.OUTSIDE_RANGES, measured=None, threshold=None)
        curated.decisions.append(rejection(source.file, Segment(outside.start, outside.stop), verdict))
    for short in reading.short:
        segment = Segment(short.start, short.stop)
        verdict = Verdict(
            reason=RejectReason.TOO_SHORT,
            measured=float(segment.seconds),
            threshold=settings.min_segment_s,
        )
        curated.decisions.append(rejection(source.file, segment, verdict))
    for piece in reading.pieces:
        segment = Segment(piece.start, piece.stop)
        if piece.stop - sounding_frames >= TRIMMED_FRAMES:
            verdict = _without_sound(sounding_frames, piece.stop)
            curated.decisions.append(rejection(source.file, segment, verdict))
            continue
        judged = judge_piece(source, piece, settings, backends)
        if isinstance(judged, Rejected):
            curated.decisions.append(rejection(source.file, segment, judged.verdict, judged.scores))
            continue
        clip = _stored_clip(judged, facts, settings)
        curated.clips.append(clip)
        curated.decisions.append(_acceptance(source.file, segment, clip.record))
    curated.decisions.sort(key=lambda decision: decision.start_frame)
    return curated


def _left_over(reading: Reading) -> list[Segment]:
    """The frames that no piece has, since the sound had ended before them."""
    cut = [(piece.start, piece.stop) for piece in reading.pieces]
    parts = sorted(cut + [(part.start, part.stop) for part in (*reading.short, *reading.outside)])
    edges = [0, *(edge for part in parts for edge in part), reading.num_frames]
    return [Segment(*edges[i : i + 2]) for i in range(0, len(edges), 2) if edges[i] < edges[i + 1]]


def _without_sound(sounding_frames: int, stop: int) -> Verdict:
    return Verdict(
        reason=RejectReason.AUDIO_MISSING,
        measured=float(seconds(sounding_frames)),
        threshold=float(seconds(stop)),
    )


def judge_piece(
    source: steps.ReadSource, piece: Piece, settings: CurationSettings, backends: CurationBackends
) -> Measured | Rejected:
    """Measure every face of a piece that may be the speaker, choose one, and apply the thresholds.

    The chosen face is returned where it passes them all.
    All scores are measured whatever the thresholds say, so that other thresholds can decide later without another look.
    Of several faces the one whose lips go best with the sound is chosen; where nobody may judge that, none is.
    """
    speech = steps.heard(source, piece, backends.activity)
    common = Scores(
        loudness_dbfs=speech.loudness_dbfs,
        speech_share=speech.speech_share,
        longest_silence_s=speech.longest_silence_s,
        snr_db=speech.snr_db,
        clipping_share=speech.clipping_share,
        bandwidth_hz=speech.bandwidth_hz,
        modulation_4hz=speech.modulation_4hz,
        activity_backend=speech.backend,
        invented_frames=piece.num_invented,
    )
    faces = [steps.CutFace(source=source, piece=piece, track=t) for t in _speakers(piece, settings)]
    common = replace(common, num_faces=len(faces), detector_backend=backends.detector.backend_id)
    if not faces:
        seen = max((track.detected_fraction for track in piece.tracks), default=0.0)
        scores = replace(common, detected_fraction=seen)
        return Rejected(scores=scores, verdict=judge_sound(scores, settings) or no_face(scores, settings))
    measured = [_measured(face, speech, common, settings, backends) for face in faces]
    best = max(measured, key=lambda m: (m.sync.result.confidence, -m.face.track.number))
    verdict = judge_sound(best.scores, settings) or judge_face(best.scores, settings)
    if len(measured) > 1 and not settings.sync_filter:
        verdict = verdict or several_faces(best.scores)
    verdict = verdict or judge_quality(best.quality, settings) or judge_sync(best.sync.result, settings)
    return Rejected(scores=best.scores, verdict=verdict) if verdict else best


def _speakers(piece: Piece, settings: CurationSettings) -> list[TrackFacts]:
    """The faces that may be the speaker: seen often enough, and not small against the largest of them."""
    often = [t for t in piece.tracks if t.detected_fraction >= settings.min_detected_fraction]
    largest_px = max((track.face_height_px for track in often), default=0.0)
    return [track for track in often if track.face_height_px >= MIN_RELATIVE_HEIGHT * largest_px]


def _measured(
    face: steps.CutFace,
    speech: SpeechResult,
    common: Scores,
    settings: CurationSettings,
    backends: CurationBackends,
) -> Measured:
    store, track = face.source.store, face.track
    quality = steps.rated(face, backends.quality, store)
    sync = steps.synchronised(face, backends.sync_expert, store, correct=settings.sync_filter)
    scores = replace(
        common,
        detected_fraction=track.detected_fraction,
        absent_frames=track.absent_frames,
        face_height_px=track.face_height_px,
        yaw_deg=track.yaw_deg,
        pitch_deg=track.pitch_deg,
        lips_outside=track.lips_outside,
        mouth_likeness=track.mouth_likeness,
        longest_repeat_frames=max(track.repeated, default=0),
        repeated_fraction=_num_repeated(face) / face.piece.num_frames,
        quality=quality.value,
        quality_backend=quality.backend,
        sync_confidence=sync.result.confidence,
        sync_distance=sync.result.distance,
        av_offset_measured=sync.result.offset_measured,
        av_offset_applied=sync.result.offset_applied,
        av_offset_remaining=sync.result.offset_remaining,
        sync_backend=sync.result.backend,
    )
    return Measured(
        face=face,
        quality=quality,
        sync=sync,
        scores=scores,
        speech=speech,
        fingerprint=steps.fingerprinted(face, store),
        embedding=None if backends.identity is None else steps.embedded(face, backends.identity, store),
    )


def _num_repeated(face: steps.CutFace) -> int:
    """How many frames of a clip show the same as the frame before.

    The crop of a head that moves is not the same for the same picture, since its place is smoothed over time; of an
    invented frame it is known that it repeats the one before.
    """
    return max(sum(face.track.repeated), face.piece.num_invented)


def split_of(identity: str | None, source_id: str, val_fraction: float, official: str | None = None) -> str:
    """The official split, or else ``train`` or ``val`` by the hash of the identity; of the source where it is unknown.

    Without an official split the same person is never on both sides, and adding sources moves none, but for those that
    repeat the footage or the sound of each other (``together``).
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


def _stored_clip(chosen: Measured, facts: SourceFacts, settings: CurationSettings) -> StoredClip:
    face, sync, track = chosen.face, chosen.sync, chosen.face.track
    file, piece, root = face.source.file, face.piece, face.source.store.root
    clip_id = content_key("clip", face.key, sync.key)
    silences = silences_of_clip(chosen.speech, piece.num_frames, sync.result.offset_applied)
    record = ClipRecord(
        clip_id=clip_id,
        source_id=file.source_id,
        source=file.name,
        source_sha256=file.sha256,
        shot=piece.shot,
        start_frame=piece.start,
        stop_frame=piece.stop,
        num_frames=piece.num_frames,
        seconds=float(seconds(piece.num_frames)),
        identity=facts.identity,
        licence=facts.licence,
        commercial_ok=facts.commercial_ok,
        language=facts.language,
        consent=facts.consent,
        dataset=facts.dataset,
        split=split_of(facts.identity, file.source_id, settings.val_fraction, facts.split),
        clip_path=f"clips/{clip_id}.mp4",
        audio_path=f"clips/{clip_id}.wav",
        alignment_path=f"clips/{clip_id}.npz",
        clip_sha256=track.clip_sha256,
        audio_sha256=sync.result.audio_sha256,
        scores=chosen.scores,
        num_lossy_encodes=1,
        face_track=track.number,
        identity_from="official" if facts.identity else "source",
        face_box=",".join(f"{edge:g}" for edge in track.box_xyxy),
        silences=as_column(silences),
        sound_notes="; ".join(sound_notes(chosen.scores)),
    )

    def below(path: Path) -> str:
        return path.relative_to(root).as_posix()

    return StoredClip(
        record=record,
        clip=below(face.clip),
        audio=below(sync.folder / steps.AUDIO),
        alignment=below(face.alignment),
        fingerprint=below(chosen.fingerprint.folder / StepStore.RESULT),
        embedding=below(chosen.embedding.folder / StepStore.RESULT) if chosen.embedding else None,
    )
