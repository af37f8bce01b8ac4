"""The steps of curation that cost time. Each is done once per content and settings, and kept in the step store.

A step measures and never decides: thresholds are no part of its key. The step ``read`` goes through the source; all
others look at what it has cut out.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lipforcing_core.base.errors import MediaError
from lipforcing_core.base.products import KEY_LENGTH, StepStore, content_key, file_sha256, one_process
from lipforcing_core.curation.crops import CLIP_SIZE
from lipforcing_core.curation.hearing import MAX_SHIFT_FRAMES, delayed, loudness_dbfs
from lipforcing_core.curation.likeness import face_crops, mean_direction
from lipforcing_core.curation.reading import SOUND, OverLimitsError, read, require_within_limits
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
    Undecodable,
    reading_from_json,
)
from lipforcing_core.curation.settings import CurationSettings
from lipforcing_core.curation.sources import SourceFile, SourceLostError, check_unchanged
from lipforcing_core.curation.wanted import CropOutsideError, Wanted
from lipforcing_core.fingerprints.clips import FINGERPRINT_VERSION, ClipFingerprint
from lipforcing_core.media.decode import decoder_errors, opened_video, read_flac
from lipforcing_core.media.encode import write_wav
from lipforcing_core.media.picture import reduced
from lipforcing_core.media.picture_form import Forms
from lipforcing_core.media.source_stream import SourceStream
from lipforcing_core.media.timeline import USUAL_GAPS
from lipforcing_core.quality.protocol import sampled_indices
from lipforcing_core.sound.facts import sound_facts

if TYPE_CHECKING:
    from lipforcing_core.faces.detectors.protocol import FaceDetector
    from lipforcing_core.metrics.networks.protocol import FeatureExtractor
    from lipforcing_core.quality.protocol import QualityScorer
    from lipforcing_core.sound.activity.protocol import VoiceActivityDetector
    from lipforcing_core.sync.experts.protocol import SyncExpert

READ_VERSION = 2
SYNC_VERSION = 2
QUALITY_VERSION = 2
SPEECH_VERSION = 1
IDENTITY_VERSION = 1

SYNC_FRAME_SIZE = 256
# At 512 pixels most faces are enlarged and all look smooth; LatentSync too rates clips of 256 pixels.
QUALITY_FRAME_SIZE = 256
MAX_CORRECTIONS = 2

READ, SPEECH, FINGERPRINT, IDENTITY = "read", "speech", "fingerprint", "identity"
QUALITY, SYNC = "quality", "sync"
AUDIO = "audio.wav"


@dataclass(frozen=True, kw_only=True)
class ReadSource:
    """A source that has been read, or refused."""

    file: SourceFile
    store: StepStore
    key: str
    result: Reading | Undecodable

    @property
    def folder(self) -> Path:
        return self.store.folder(READ, self.key)


@dataclass(frozen=True, kw_only=True)
class CutFace:
    """One face of one piece, as the step ``read`` has left it: a clip, its alignment, and the sound around it."""

    source: ReadSource
    piece: Piece
    track: TrackFacts

    @property
    def key(self) -> str:
        return face_key(self.source.key, self.piece, self.track)

    @property
    def clip(self) -> Path:
        return self.source.folder / self.piece.folder / f"{self.track.number}.mp4"

    @property
    def alignment(self) -> Path:
        return self.clip.with_suffix(".npz")

    @cached_property
    def wide_S(self) -> np.ndarray:
        """The sound of the piece with ``MAX_SHIFT_FRAMES`` before and after it."""
        return piece_sound(self.source, self.piece)

    @cached_property
    def frames_FHW3(self) -> np.ndarray:
        """All frames of the clip at 256 pixels, decoded once for all that look at them."""
        return small_frames(self.clip, SYNC_FRAME_SIZE)


@contextmanager
def one_at_a_time(store: StepStore, sha256: str) -> Iterator[None]:
    """Hold the lock of one source content, so that copies of a file are not worked on side by side."""
    with one_process(store.root / "locks" / f"{sha256[:KEY_LENGTH]}.lock"):
        yield


def read_key(sha256: str, wanted: Wanted, settings: CurationSettings, detector_id: str) -> str:
    """The key of a source's reading: its content, and everything that decides what is cut out of it.

    The limits of gaps became settings later than others; the usual ones leave the keys of finished work as they were.
    """
    gaps = settings.gaps
    return content_key(
        READ,
        READ_VERSION,
        sha256,
        [settings.shot_threshold, settings.shot_min_content_change],
        [settings.min_frames, settings.max_frames],
        detector_id,
        [settings.detect_stride, settings.max_gap_frames, settings.clip_crf, CLIP_SIZE],
        *wanted.identity(),
        *([] if gaps == USUAL_GAPS else [["gaps", gaps.max_hole_frames, gaps.max_gap_s]]),
    )


def read_source(
    file: SourceFile, wanted: Wanted, settings: CurationSettings, detector: FaceDetector, store: StepStore
) -> ReadSource:
    """Step ``read``. A decoder's refusal is a result too, so a broken file is not tried again.

    A failure of the machine is none: it raises ``SurroundingsError``, or ``SourceLostError`` where the file could not
    be read or changed meanwhile. What a decoder says after an error of input and output is believed the second time.
    Pieces that a killed attempt has written are kept for the next one. Raises ``OverLimitsError`` for a source beyond
    the limits of the settings, one that was read under others included.
    """
    key = read_key(file.sha256, wanted, settings, detector.backend_id)

    def attempt(folder: Path) -> Reading | Undecodable:
        result = _read_into(folder, file.path, wanted, settings, detector)
        check_unchanged(file, reread=isinstance(result, Undecodable) or bool(result.complaint))
        return result

    def work(folder: Path) -> dict[str, Any]:
        try:
            result = attempt(folder)
            # All bytes can be read now, so it may have been the disk, for a moment.
            if os.strerror(errno.EIO) in _words(result):
                _empty(folder)
                result = attempt(folder)
        except (OverLimitsError, SourceLostError):
            _empty(folder)  # pieces of other bytes than the key says, or of a source that is refused
            raise
        if isinstance(result, Undecodable):
            _empty(folder)
        return result.to_json()

    found = store.run(READ, key, work, resumable=True)
    result = reading_from_json(found.result)
    require_within_limits(result, settings)
    return ReadSource(file=file, store=store, key=key, result=result)


def _words(result: Reading | Undecodable) -> str:
    """What the decoder said, as far as it spoke."""
    return result.decoder_message if isinstance(result, Undecodable) else result.complaint


def _empty(folder: Path) -> None:
    for piece in folder.iterdir():
        shutil.rmtree(piece) if piece.is_dir() else piece.unlink()


def _read_into(
    folder: Path, path: Path, wanted: Wanted, settings: CurationSettings, detector: FaceDetector
) -> Reading | Undecodable:
    declared_s = None
    try:
        with SourceStream(path, sound_path=wanted.sound, gaps=settings.gaps) as source:
            declared_s = source.declared_s or None
            return read(source, folder, wanted, settings, detector)
    except MediaError as error:
        return Undecodable(
            problem=error.problem, decoder_message=error.decoder_message, declared_s=declared_s
        )
    except CropOutsideError as error:
        return Undecodable(problem=str(error), decoder_message="", declared_s=declared_s)


def forget_damaged(store: StepStore, product: Path) -> bool:
    """Remove the finished step that a damaged product belongs to; False if it belongs to none."""
    if not product.is_relative_to(store.root):
        return False
    step, key, *_ = product.relative_to(store.root).parts
    store.forget(step, key)
    return True


def speech_key(reading: str, piece: Piece, activity_id: str) -> str:
    """The key of what is heard in a piece. reading: the key of the source's reading."""
    return content_key(SPEECH, SPEECH_VERSION, reading, piece.start, piece.stop, activity_id)


def face_key(reading: str, piece: Piece, track: TrackFacts) -> str:
    """The key of one face of a piece, of which those of all steps that look at it are made."""
    return content_key("face", reading, piece.start, piece.stop, track.number)


def sync_key(face: str, expert_id: str, *, correct: bool) -> str:
    """The key of the step ``sync`` of a face."""
    return content_key(SYNC, SYNC_VERSION, face, expert_id, SYNC_FRAME_SIZE, correct)


def quality_key(face: str, scorer_id: str) -> str:
    """The key of the step ``quality`` of a face."""
    return content_key(QUALITY, QUALITY_VERSION, face, scorer_id, QUALITY_FRAME_SIZE)


def fingerprint_key(face: str) -> str:
    """The key of the step ``fingerprint`` of a face."""
    return content_key(FINGERPRINT, FINGERPRINT_VERSION, face)


def identity_key(face: str, network_id: str) -> str:
    """The key of the step ``identity`` of a face."""
    return content_key(IDENTITY, IDENTITY_VERSION, face, network_id)


def heard(source: ReadSource, piece: Piece, activity: VoiceActivityDetector) -> SpeechResult:
    """Step ``speech``: who speaks in a piece, and what else its sound is like."""
    key = speech_key(source.key, piece, activity.backend_id)

    def work(folder: Path) -> dict[str, Any]:
        sound_S = delayed(piece_sound(source, piece), piece.num_frames)
        found = activity.activity(sound_S)
        facts = sound_facts(sound_S, found)
        return SpeechResult(
            loudness_dbfs=loudness_dbfs(sound_S),
            speech_share=found.speech_share,
            longest_silence_s=facts.longest_silence_s or 0.0,
            snr_db=facts.snr_db,
            clipping_share=facts.clipping_share or 0.0,
            bandwidth_hz=facts.bandwidth_hz,
            modulation_4hz=facts.modulation_4hz,
            silences=tuple(found.silences),
            backend=activity.backend_id,
        ).to_json()

    return SpeechResult.model_validate(source.store.run(SPEECH, key, work).result)


def synchronised(
    face: CutFace, expert: SyncExpert, store: StepStore, *, correct: bool
) -> Finished[SyncResult]:
    """Step ``sync``: measure the offset, shift the samples, measure again, write the corrected sound.

    The sound is cut from the whole source, so a shift brings in what really comes before or after. Without
    ``correct`` nothing is shifted.
    """
    key = sync_key(face.key, expert.backend_id, correct=correct)

    def work(folder: Path) -> dict[str, Any]:
        applied = 0
        waveform = delayed(face.wide_S, face.piece.num_frames)
        first = score = expert.score(face.frames_FHW3, waveform)
        for _ in range(MAX_CORRECTIONS if correct else 0):
            if score.offset_frames == 0 or abs(applied + score.offset_frames) > MAX_SHIFT_FRAMES:
                break
            applied += score.offset_frames
            waveform = delayed(face.wide_S, face.piece.num_frames, applied)
            score = expert.score(face.frames_FHW3, waveform)
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

    found = store.run(SYNC, key, work)
    return Finished(key=key, folder=found.folder, result=SyncResult.model_validate(found.result))


def rated(face: CutFace, scorer: QualityScorer, store: StepStore) -> QualityResult:
    """Step ``quality``: the first, middle and last frame of the aligned clip, reduced."""
    key = quality_key(face.key, scorer.backend_id)

    def work(folder: Path) -> dict[str, Any]:
        score = scorer.score(face.frames_FHW3[list(sampled_indices(face.piece.num_frames))])
        return QualityResult(
            value=float(score.value),
            backend=score.backend,
            higher_is_better=bool(score.higher_is_better),
        ).to_json()

    return QualityResult.model_validate(store.run(QUALITY, key, work).result)


def fingerprinted(face: CutFace, store: StepStore) -> Finished[FingerprintResult]:
    """Step ``fingerprint``: by what picture and sound of a clip are recognised, before any shift of the sound."""
    key = fingerprint_key(face.key)

    def work(folder: Path) -> dict[str, Any]:
        waveform_S = delayed(face.wide_S, face.piece.num_frames)
        found = ClipFingerprint.of(face.frames_FHW3, waveform_S, face.piece.start)
        return FingerprintResult.of(found).to_json()

    done = store.run(FINGERPRINT, key, work)
    return Finished(key=key, folder=done.folder, result=FingerprintResult.model_validate(done.result))


def embedded(face: CutFace, network: FeatureExtractor, store: StepStore) -> Finished[EmbeddingResult]:
    """Step ``identity``: the mean direction of the face in the first, middle and last frame, to a face network."""
    key = identity_key(face.key, network.backend_id)

    def work(folder: Path) -> dict[str, Any]:
        frames_FHW3 = face.frames_FHW3[list(sampled_indices(face.piece.num_frames))]
        return EmbeddingResult.of(
            mean_direction(network.embed(face_crops(frames_FHW3))), network.backend_id
        ).to_json()

    done = store.run(IDENTITY, key, work)
    return Finished(key=key, folder=done.folder, result=EmbeddingResult.model_validate(done.result))


def piece_sound(source: ReadSource, piece: Piece) -> np.ndarray:
    """The sound of a piece with ``MAX_SHIFT_FRAMES`` before and after it: float32 [S] at 16 kHz."""
    return read_flac(source.folder / piece.folder / SOUND)


def small_frames(path: Path, size: int) -> np.ndarray:
    """All frames of an aligned clip reduced by area averaging: uint8 [F, size, size, 3], one full frame in memory."""
    with opened_video(path) as (container, stream), decoder_errors(path):
        forms = Forms(stream)
        small = [reduced(frame, forms.of(frame), size).rgb_HW3 for frame in container.decode(stream)]
    return np.stack(small)
