"""The steps of curation that cost time. Each is done once per content and settings, and kept in the step store.

A step measures and never decides: thresholds are no part of its key.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from lipforcing_core.base.errors import MediaError
from lipforcing_core.base.products import KEY_LENGTH, StepStore, content_key, file_sha256, one_process
from lipforcing_core.curation.results import (
    Crop,
    Decoded,
    FaceResult,
    Finished,
    QualityResult,
    SyncResult,
    Undecodable,
    decoding_from_json,
)
from lipforcing_core.curation.settings import CurationSettings
from lipforcing_core.curation.sources import SourceFile, check_unchanged
from lipforcing_core.media.clock import SAMPLES_PER_FRAME
from lipforcing_core.media.decode import FrameReader, read_wav
from lipforcing_core.media.encode import VideoWriter, write_wav
from lipforcing_core.media.normalise import normalise
from lipforcing_core.media.probe import probe
from lipforcing_core.media.segments import Segment
from lipforcing_core.media.shots import detect_shots
from lipforcing_core.quality.protocol import sampled_indices

if TYPE_CHECKING:
    from lipforcing_core.faces.detectors.protocol import FaceDetector
    from lipforcing_core.quality.protocol import QualityScorer
    from lipforcing_core.sync.experts.protocol import SyncExpert

NORMALISE_VERSION = 2
SHOTS_VERSION = 1
ALIGN_VERSION = 2
SYNC_VERSION = 1
QUALITY_VERSION = 1

CLIP_SIZE = 512
SYNC_FRAME_SIZE = 256
# At 512 pixels most faces are enlarged and all look smooth; LatentSync too rates clips of 256 pixels.
QUALITY_FRAME_SIZE = 256
MAX_CORRECTIONS = 2
MAX_SHIFT_FRAMES = 15

VIDEO, AUDIO, CLIP, ALIGNMENT = "video.mp4", "audio.wav", "clip.mp4", "alignment.npz"


@dataclass(frozen=True, kw_only=True)
class NormalisedSource:
    """A source in the house's form; the lossless picture is made again if it was cleared away."""

    file: SourceFile
    store: StepStore
    result: Decoded | Undecodable

    @property
    def key(self) -> str:
        return normalise_key(self.file.sha256)

    @property
    def audio(self) -> Path:
        return self.store.folder("normalise", self.key) / AUDIO

    def video(self) -> Path:
        """The lossless picture."""
        path = self.store.folder("normalise", self.key) / VIDEO
        if not path.is_file():
            self.store.forget("normalise", self.key)
            normalised(self.file, self.store)
        return path


@contextmanager
def one_at_a_time(store: StepStore, sha256: str) -> Iterator[None]:
    """Hold the lock of one source content, so that copies of a file are not worked on side by side."""
    with one_process(store.root / "locks" / f"{sha256[:KEY_LENGTH]}.lock"):
        yield


def normalise_key(sha256: str) -> str:
    """The key of a source's normalised form: its content alone."""
    return content_key("normalise", NORMALISE_VERSION, sha256)


def normalised(file: SourceFile, store: StepStore) -> NormalisedSource:
    """Step ``normalise``. A decoder's refusal is a result too, so a broken file is not tried again.

    A failure of the machine is none: it raises ``SurroundingsError``, or ``SourceLostError`` where the file could not
    be read or changed meanwhile, and leaves nothing.
    """
    key = normalise_key(file.sha256)

    def work(folder: Path) -> dict[str, Any]:
        result = _decoded_into(folder, file.path)
        check_unchanged(file, reread=bool(result.decoder_message) or isinstance(result, Undecodable))
        return result.to_json()

    found = store.run("normalise", key, work)
    result = decoding_from_json(found.result)
    if found.reused and isinstance(result, Undecodable) and result.is_doubtful:
        store.forget("normalise", key)
        result = decoding_from_json(store.run("normalise", key, work).result)
    return NormalisedSource(file=file, store=store, result=result)


def _decoded_into(folder: Path, path: Path) -> Decoded | Undecodable:
    declared_s = None
    try:
        facts = probe(path)
        declared_s = facts.duration_s
        info = normalise(path, folder / VIDEO, folder / AUDIO)
    except MediaError as error:
        (folder / VIDEO).unlink(missing_ok=True)
        return Undecodable(
            problem=error.problem, decoder_message=error.decoder_message, declared_s=declared_s
        )
    return Decoded(**asdict(info), declared_s=declared_s, has_audio=facts.has_audio)


def clear_video(store: StepStore, sha256: str) -> None:
    """Remove the lossless picture of a source, which is large and can be made again."""
    (store.folder("normalise", normalise_key(sha256)) / VIDEO).unlink(missing_ok=True)


def forget_damaged(store: StepStore, product: Path) -> bool:
    """Remove the finished step that a damaged product belongs to; False if it belongs to none."""
    if not product.is_relative_to(store.root):
        return False
    step, key, *_ = product.relative_to(store.root).parts
    store.forget(step, key)
    return True


def found_shots(
    source: NormalisedSource, settings: CurationSettings, store: StepStore
) -> list[tuple[int, int]]:
    """Step ``shots``: half-open frame ranges."""
    threshold, change = settings.shot_threshold, settings.shot_min_content_change
    key = content_key("shots", SHOTS_VERSION, source.key, threshold, change)

    def work(folder: Path) -> dict[str, list[list[int]]]:
        shots = detect_shots(source.video(), threshold=threshold, min_content_change=change)
        return {"shots": [list(shot) for shot in shots]}

    return [(start, stop) for start, stop in store.run("shots", key, work).result["shots"]]


def aligned(
    source: NormalisedSource,
    segment: Segment,
    settings: CurationSettings,
    detector: FaceDetector,
    store: StepStore,
) -> Finished[FaceResult]:
    """Step ``align``: track the face, cut the canonical crop of every frame, encode it once."""
    key = content_key(
        "align",
        ALIGN_VERSION,
        source.key,
        [segment.start, segment.stop],
        detector.backend_id,
        [settings.detect_stride, settings.max_gap_frames, settings.clip_crf, CLIP_SIZE],
    )

    def work(folder: Path) -> dict[str, Any]:
        return _tracked_into(folder, source.video(), segment, settings, detector).to_json()

    found = store.run("align", key, work)
    return Finished(key=key, folder=found.folder, result=FaceResult.from_json(found.result))


def _tracked_into(
    folder: Path, video: Path, segment: Segment, settings: CurationSettings, detector: FaceDetector
) -> FaceResult:
    from lipforcing_core.faces.align import align_track, warp_face
    from lipforcing_core.faces.track import FaceState, track_face

    with FrameReader(video) as reader:
        track = track_face(
            reader.frames(segment.start, segment.stop),
            detector,
            stride=settings.detect_stride,
            max_gap_frames=settings.max_gap_frames,
        )
        result = FaceResult(
            num_frames=segment.num_frames,
            detected_fraction=track.detected_fraction,
            absent_frames=sum(state is FaceState.ABSENT for state in track.states),
            crop=None,
        )
        if result.absent_frames == segment.num_frames:
            return result
        alignment = align_track(track)
        with VideoWriter(folder / CLIP, width=CLIP_SIZE, height=CLIP_SIZE, crf=settings.clip_crf) as writer:
            for index, frame in enumerate(reader.frames(segment.start, segment.stop)):
                writer.write(warp_face(frame, alignment.matrices_F23[index], CLIP_SIZE))
    boxes = track.boxes_F4[track.usable]
    np.savez(
        folder / ALIGNMENT,
        matrices_F23=alignment.matrices_F23,
        usable_F=track.usable,
        boxes_F4=track.boxes_F4,
        start_frame=segment.start,
    )
    crop = Crop(
        face_height_px=float(np.median(boxes[:, 3] - boxes[:, 1])), clip_sha256=file_sha256(folder / CLIP)
    )
    return replace(result, crop=crop)


def synchronised(
    source: NormalisedSource,
    segment: Segment,
    align_key: str,
    clip: Path,
    expert: SyncExpert,
    store: StepStore,
    *,
    correct: bool,
) -> Finished[SyncResult]:
    """Step ``sync``: measure the offset, shift the samples, measure again, write the corrected sound.

    The sound is cut from the whole source, so a shift brings in what really comes before or after. Without
    ``correct`` nothing is shifted.
    """
    key = content_key("sync", SYNC_VERSION, align_key, expert.backend_id, SYNC_FRAME_SIZE, correct)

    def work(folder: Path) -> dict[str, Any]:
        frames = small_frames(clip, SYNC_FRAME_SIZE)
        applied = 0
        waveform = sound_under(source.audio, segment, applied)
        first = score = expert.score(frames, waveform)
        for _ in range(MAX_CORRECTIONS if correct else 0):
            if score.offset_frames == 0 or abs(applied + score.offset_frames) > MAX_SHIFT_FRAMES:
                break
            applied += score.offset_frames
            waveform = sound_under(source.audio, segment, applied)
            score = expert.score(frames, waveform)
        write_wav(folder / AUDIO, waveform)
        return SyncResult(
            offset_measured=int(first.offset_frames),
            offset_applied=int(applied),
            offset_remaining=int(score.offset_frames),
            confidence=float(score.confidence),
            distance=float(score.distance),
            confidence_before=float(first.confidence),
            backend=score.backend,
            audio_sha256=file_sha256(folder / AUDIO),
        ).to_json()

    found = store.run("sync", key, work)
    return Finished(key=key, folder=found.folder, result=SyncResult.from_json(found.result))


def rated(
    align_key: str, clip: Path, num_frames: int, scorer: QualityScorer, store: StepStore
) -> QualityResult:
    """Step ``quality``: the first, middle and last frame of the aligned clip, reduced."""
    key = content_key("quality", QUALITY_VERSION, align_key, scorer.backend_id, QUALITY_FRAME_SIZE)

    def work(folder: Path) -> dict[str, Any]:
        with FrameReader(clip) as reader:
            chosen = [reader.read(k, k + 1)[0] for k in sampled_indices(num_frames)]
        score = scorer.score(np.stack([_reduced(frame, QUALITY_FRAME_SIZE) for frame in chosen]))
        return QualityResult(
            value=float(score.value),
            backend=score.backend,
            higher_is_better=bool(score.higher_is_better),
        ).to_json()

    return QualityResult.from_json(store.run("quality", key, work).result)


def sound_under(wav: Path, segment: Segment, delay_frames: int = 0) -> np.ndarray:
    """The sound of a segment delayed by whole frames, float32 [640 * frames]; silence beyond the source's ends."""
    start = (segment.start - delay_frames) * SAMPLES_PER_FRAME
    wanted = segment.num_frames * SAMPLES_PER_FRAME
    before = max(-start, 0)
    found = read_wav(wav, max(start, 0), max(start + wanted, 0))
    return np.pad(found, (min(before, wanted), max(wanted - before - len(found), 0)))[:wanted]


def loudness_dbfs(waveform: np.ndarray) -> float:
    """RMS level in dB below full scale; at least -120."""
    rms = float(np.sqrt(np.mean(np.square(waveform, dtype=np.float64)))) if len(waveform) else 0.0
    return 20.0 * float(np.log10(max(rms, 1e-6)))


def small_frames(path: Path, size: int) -> np.ndarray:
    """All frames of a clip reduced by area averaging: uint8 [F, size, size, 3], one full frame in memory."""
    with FrameReader(path) as reader:
        return np.stack([_reduced(frame, size) for frame in reader.frames(0, reader.num_frames)])


def _reduced(frame: np.ndarray, size: int) -> np.ndarray:
    return cv2.resize(frame, (size, size), interpolation=cv2.INTER_AREA)
