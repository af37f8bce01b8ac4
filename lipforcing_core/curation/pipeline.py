"""Curation of one source: probe, normalise, shots, segments, face, quality, sync, decision."""

from __future__ import annotations

import hashlib
import os
from fractions import Fraction
from pathlib import Path
from typing import Any

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.products import StepStore, content_key
from lipforcing_core.curation import steps
from lipforcing_core.curation.backends import CurationBackends
from lipforcing_core.curation.decide import Verdict, judge_face, judge_quality, judge_sound, judge_sync
from lipforcing_core.curation.reasons import RejectReason
from lipforcing_core.curation.records import (
    ClipRecord,
    Decision,
    Scores,
    SourceFacts,
    SourceOutcome,
    Status,
    StoredClip,
)
from lipforcing_core.curation.settings import CurationSettings
from lipforcing_core.curation.sources import read_facts, source_name, source_sha256, why_inaccessible
from lipforcing_core.media.clock import FPS, SAMPLES_PER_FRAME, seconds
from lipforcing_core.media.decode import NO_VIDEO
from lipforcing_core.media.segments import Segment, plan_segments

# A file counts as truncated if the decoder complained and this much of its declared length is missing.
TRUNCATED_SHARE = Fraction(1, 20)
TRUNCATED_S = Fraction(1, 2)


def curate_source(
    path: Path | str,
    *,
    settings: CurationSettings,
    backends: CurationBackends,
    store: StepStore,
    root: Path | str,
) -> SourceOutcome:
    """Turn one video into aligned clips, or say of every frame why not.

    Finished steps are taken from ``store``; a killed run repeats only the step in flight. ``root`` is the corpus
    folder that source names are relative to. A file that cannot be opened or decoded becomes a quarantine row; raises
    BadInputError only for a missing file, one outside ``root``, or a malformed sidecar.
    """
    path = Path(path)
    if not os.path.lexists(path):
        raise BadInputError(f"{path}: there is no such file")
    sha256 = source_sha256(path, root)
    if problem := why_inaccessible(path):
        return _inaccessible(source_name(path, root), sha256, problem)
    with steps.one_at_a_time(store, sha256):
        return _Curator(path, sha256, settings, backends, store, root).run().check_balance()


def split_of(identity: str | None, source_id: str, val_fraction: float) -> str:
    """``train`` or ``val`` by the hash of the identity, or of the source where the identity is unknown.

    The same person is never on both sides, and adding sources moves none.
    """
    group = f"identity:{identity}" if identity else f"source:{source_id}"
    position = int.from_bytes(hashlib.sha256(group.encode()).digest()[:8], "big") / 2**64
    return "val" if position < val_fraction else "train"


class _Curator:
    """The state of one `curate_source` call."""

    def __init__(
        self,
        path: Path,
        sha256: str,
        settings: CurationSettings,
        backends: CurationBackends,
        store: StepStore,
        root: Path | str,
    ) -> None:
        self.settings, self.backends, self.store = settings, backends, store
        self.name = source_name(path, root)
        self.facts: SourceFacts = read_facts(path, root)
        self.sha256, self.source_id = sha256, sha256[:16]
        self.source = steps.normalised(path, steps.normalise_key(sha256), store)
        self.clips: list[StoredClip] = []
        self.decisions: list[Decision] = []

    def run(self) -> SourceOutcome:
        result = self.source.result
        message = result.get("decoder_message", "")
        declared = Fraction(result["declared_s"]) if result["declared_s"] else Fraction(0)
        if self.source.error is not None:
            return self._refuse(declared, self.source.error)
        num_frames: int = result["num_frames"]
        frames_in = num_frames
        missing = declared - seconds(num_frames)
        if message and missing > max(TRUNCATED_S, declared * TRUNCATED_SHARE):
            frames_in = round(declared * FPS)
            self._decide(
                Segment(0, frames_in),
                "source",
                Status.QUARANTINED,
                Verdict(
                    reason=RejectReason.TRUNCATED,
                    measured=float(seconds(num_frames)),
                    threshold=float(declared),
                ),
                message=message,
            )
        elif result["num_samples"] == 0:
            verdict = Verdict(reason=RejectReason.NO_AUDIO, measured=None, threshold=None)
            self._decide(Segment(0, num_frames), "source", Status.REJECTED, verdict, message=message)
        else:
            self._curate_segments(num_frames, -(-result["num_samples"] // SAMPLES_PER_FRAME))
        if not self.settings.keep_normalised:
            self.source.clear_video()
        return self._outcome(frames_in, message)

    def _refuse(self, declared: Fraction, error: dict[str, str]) -> SourceOutcome:
        """The outcome of a source that gives no picture: whole, but without one, or broken."""
        words = error["decoder_message"]
        status, reason = Status.QUARANTINED, RejectReason.UNREADABLE
        if error["problem"] == NO_VIDEO:
            status, reason = Status.REJECTED, RejectReason.NO_VIDEO
        elif _is_cut_off(self.source.path):
            reason = RejectReason.TRUNCATED
        message = f"{error['problem']}: {words}" if words else error["problem"]
        verdict = Verdict(reason=reason, measured=None, threshold=None)
        whole = Segment(0, round(declared * FPS))
        self._decide(whole, "source", status, verdict, message=message)
        return self._outcome(whole.num_frames, message)

    def _curate_segments(self, num_frames: int, sounding_frames: int) -> None:
        shots = steps.found_shots(self.source, self.settings, self.store)
        heard = [(start, min(stop, sounding_frames)) for start, stop in shots if start < sounding_frames]
        kept, short = plan_segments(
            heard, min_frames=self.settings.min_frames, max_frames=self.settings.max_frames
        )
        if sounding_frames < num_frames:
            verdict = Verdict(
                reason=RejectReason.AUDIO_MISSING,
                measured=float(seconds(sounding_frames)),
                threshold=float(seconds(num_frames)),
            )
            self._decide(Segment(sounding_frames, num_frames), "segment", Status.REJECTED, verdict)
        for segment in short:
            verdict = Verdict(
                reason=RejectReason.TOO_SHORT,
                measured=float(segment.seconds),
                threshold=self.settings.min_segment_s,
            )
            self._decide(segment, "segment", Status.REJECTED, verdict)
        for segment in kept:
            shot = next(i for i, (start, stop) in enumerate(shots) if start <= segment.start < stop)
            self._curate_segment(segment, shot)

    def _curate_segment(self, segment: Segment, shot: int) -> None:
        settings, store = self.settings, self.store
        scores: dict[str, Any] = {
            "loudness_dbfs": steps.loudness_dbfs(steps.sound_under(self.source.audio, segment))
        }
        if verdict := judge_sound(scores["loudness_dbfs"], settings):
            return self._decide(segment, "segment", Status.REJECTED, verdict, scores)

        detector = self.backends.detector
        align_key, face = steps.aligned(self.source, segment, settings, detector, store)
        names = ("detected_fraction", "absent_frames", "face_height_px")
        scores |= {name: face.result.get(name) for name in names}
        scores["detector_backend"] = detector.backend_id
        if verdict := judge_face(face.result, settings):
            return self._decide(segment, "segment", Status.REJECTED, verdict, scores)

        clip = face.folder / steps.CLIP
        # Before sync: a blurred mouth cannot be read, so low quality is the cause and low confidence its effect.
        quality = steps.rated(align_key, clip, segment.num_frames, self.backends.quality, store).result
        scores |= {"quality": quality["value"], "quality_backend": quality["backend"]}
        if verdict := judge_quality(quality, settings):
            return self._decide(segment, "segment", Status.REJECTED, verdict, scores)

        expert = self.backends.sync_expert
        sync_key, sync = steps.synchronised(
            self.source, segment, align_key, clip, expert, store, correct=settings.sync_filter
        )
        scores |= {
            "sync_confidence": sync.result["confidence"],
            "sync_distance": sync.result["distance"],
            "av_offset_measured": sync.result["offset_measured"],
            "av_offset_applied": sync.result["offset_applied"],
            "av_offset_remaining": sync.result["offset_remaining"],
            "sync_backend": sync.result["backend"],
        }
        if verdict := judge_sync(sync.result, settings):
            return self._decide(segment, "segment", Status.REJECTED, verdict, scores)

        clip_id = content_key("clip", align_key, sync_key)
        self._keep(clip_id, segment, shot, scores, face, sync)
        return self._decide(segment, "segment", Status.ACCEPTED, None, scores, clip_id=clip_id)

    def _keep(
        self,
        clip_id: str,
        segment: Segment,
        shot: int,
        scores: dict[str, Any],
        face: steps.StepResult,
        sync: steps.StepResult,
    ) -> None:
        record = ClipRecord(
            clip_id=clip_id,
            source_id=self.source_id,
            source=self.name,
            source_sha256=self.sha256,
            shot=shot,
            start_frame=segment.start,
            stop_frame=segment.stop,
            num_frames=segment.num_frames,
            seconds=float(segment.seconds),
            **self.facts.model_dump(),
            split=split_of(self.facts.identity, self.source_id, self.settings.val_fraction),
            clip_path=f"clips/{clip_id}.mp4",
            audio_path=f"clips/{clip_id}.wav",
            alignment_path=f"clips/{clip_id}.npz",
            clip_sha256=face.result["clip_sha256"],
            audio_sha256=sync.result["audio_sha256"],
            num_lossy_encodes=1,
            **scores,
        )
        self.clips.append(
            StoredClip(
                record=record,
                clip=(face.folder / steps.CLIP).relative_to(self.store.root).as_posix(),
                audio=(sync.folder / steps.AUDIO).relative_to(self.store.root).as_posix(),
                alignment=(face.folder / steps.ALIGNMENT).relative_to(self.store.root).as_posix(),
            )
        )

    def _decide(
        self,
        segment: Segment,
        level: str,
        status: Status,
        verdict: Verdict | None,
        scores: dict[str, Any] | None = None,
        *,
        message: str = "",
        clip_id: str | None = None,
    ) -> None:
        self.decisions.append(
            Decision(
                **Scores(**(scores or {})).model_dump(),
                source=self.name,
                source_id=self.source_id,
                level=level,
                start_frame=segment.start,
                stop_frame=segment.stop,
                seconds=float(segment.seconds),
                status=status,
                reason=verdict.reason if verdict else None,
                measured=verdict.measured if verdict else None,
                threshold=verdict.threshold if verdict else None,
                message=message,
                clip_id=clip_id,
            )
        )

    def _outcome(self, frames_in: int, message: str) -> SourceOutcome:
        decisions = sorted(self.decisions, key=lambda d: d.start_frame)
        return SourceOutcome(
            source=self.name,
            source_id=self.source_id,
            sha256=self.sha256,
            frames_in=frames_in,
            clips=tuple(self.clips),
            decisions=tuple(decisions),
            decoder_message=message,
        )


def _inaccessible(name: str, sha256: str, problem: str) -> SourceOutcome:
    decision = Decision(
        source=name,
        source_id=sha256[:16],
        level="source",
        start_frame=0,
        stop_frame=0,
        seconds=0.0,
        status=Status.QUARANTINED,
        reason=RejectReason.INACCESSIBLE,
        message=problem,
    )
    return SourceOutcome(
        source=name,
        source_id=decision.source_id,
        sha256=sha256,
        frames_in=0,
        decisions=(decision,),
        decoder_message=problem,
    )


def _is_cut_off(path: Path) -> bool:
    """Whether an MP4 file ends inside one of its boxes (ISO/IEC 14496-12: size, type, content)."""
    length = path.stat().st_size
    position = 0
    with open(path, "rb") as stream:
        while position + 8 <= length:
            stream.seek(position)
            head = stream.read(16)
            if position == 0 and head[4:8] != b"ftyp":
                return False
            size = int.from_bytes(head[:4], "big")
            if size == 1:
                size = int.from_bytes(head[8:16], "big")
            if size == 0:  # reaches to the end of the file, wherever that is
                return False
            if size < 8 or position + size > length:
                return position + size > length
            position += size
    return False
