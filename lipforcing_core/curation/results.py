"""What the steps of curation find out, each with the JSON form that it has in the step store."""

from __future__ import annotations

from base64 import b64decode, b64encode
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, TypeAdapter

from lipforcing_core.fingerprints.clips import ClipFingerprint
from lipforcing_core.fingerprints.picture import NUM_BLOCKS, PictureFingerprint

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Finished(Generic[T]):
    """A finished step: its key, the folder of its products, and what it found out."""

    key: str
    folder: Path
    result: T


class Result(BaseModel):
    """A value that a step stores."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def to_json(self) -> dict[str, Any]:
        return self.model_dump(mode="json")


class Shot(Result):
    """Frames ``start`` to ``stop`` (exclusive) between two cuts."""

    start: int
    stop: int


class TrackFacts(Result):
    """One face in one piece. ``number`` tells the faces of a shot apart and names its files.

    detected_fraction: share of the frames in which it was seen. absent_frames: frames that do not show it.
    face_height_px, box_xyxy: medians over the frames, in pixels of the source. yaw_deg: median turn of the head to the
    side; None from a detector without points. pitch_deg: that down (positive) or up; None in results of earlier
    versions, too. lips_outside: largest share of the lips' area beyond the borders of the picture.
    mouth_likeness: how much the mouth looks like itself at its worst half second (``mouth_cover``); None from a
    detector without points, and in results of earlier versions.
    repeated: lengths of the runs of frames that show the same as the frame before them.
    """

    number: int
    detected_fraction: float
    absent_frames: int
    face_height_px: float
    box_xyxy: tuple[float, float, float, float]
    yaw_deg: float | None
    lips_outside: float
    repeated: tuple[int, ...]
    clip_sha256: str
    mouth_likeness: float | None = None
    pitch_deg: float | None = None


class Piece(Result):
    """A segment that was cut out, with every face in it. ``num_invented`` frames are not in the source.

    picture_xyxy: the picture within its bars (``media.bars``), in pixels of the source; None where there are none, and
    in results of earlier versions.
    """

    start: int
    stop: int
    shot: int
    num_invented: int
    tracks: tuple[TrackFacts, ...]
    picture_xyxy: tuple[int, int, int, int] | None = None

    @property
    def num_frames(self) -> int:
        return self.stop - self.start

    @property
    def folder(self) -> str:
        """Where its files are, below the folder of the step."""
        return piece_folder(self.start, self.stop)


def piece_folder(start: int, stop: int) -> str:
    """What the folder of a piece is called, from its frames."""
    return f"{start:06d}-{stop:06d}"


class SoundTaken(Result):
    """Which sound track was taken, how its channels were folded down (``sound.fold``), and what is to be noted."""

    track: int
    why: str
    how: str
    notes: tuple[str, ...]


class SizeChange(Result):
    """From this frame on the pictures of a source have another size, in pixels."""

    frame: int
    width: int
    height: int


class Reading(Result):
    """A source that was read from end to end.

    num_frames, num_samples: at 25 fps and 16 kHz; 0 samples without sound. declared_s: what the header says of the
    length of the picture. complaint: the decoder's first one; ``num_damaged`` packets could not be decoded.
    num_invented: pictures that repeat the one before, since the source has none of its own. num_dropped: pictures
    that came too fast. tone_mapped: the kind of HDR that was brought to standard range. short: pieces of shots too
    short for a clip. outside: what the corpus does not want. width, height: of the first picture.
    largest_pixels: width times height of the largest one; None in readings of older versions. size_changes: where
    pictures of another size begin, in order; older versions have not noted them.
    """

    num_frames: int
    num_samples: int
    width: int
    height: int
    declared_s: Fraction
    complaint: str
    num_damaged: int
    num_invented: int
    num_dropped: int
    tone_mapped: str | None
    sound: SoundTaken | None
    shots: tuple[Shot, ...]
    pieces: tuple[Piece, ...]
    short: tuple[Shot, ...]
    outside: tuple[Shot, ...] = ()
    largest_pixels: int | None = None
    size_changes: tuple[SizeChange, ...] = ()


class Undecodable(Result):
    """A source that gives no picture: the problem, the decoder's words, and the length it declares if it does."""

    problem: str
    decoder_message: str
    declared_s: Fraction | None


_READ: TypeAdapter[Reading | Undecodable] = TypeAdapter(Reading | Undecodable)


def reading_from_json(stored: Any) -> Reading | Undecodable:
    """The stored result of the step ``read``."""
    return _READ.validate_python(stored)


class SpeechResult(Result):
    """What the sound of a piece is like (``sound.facts``), and its stretches without speech as (start, stop) in
    samples."""

    loudness_dbfs: float
    speech_share: float
    longest_silence_s: float
    snr_db: float | None
    clipping_share: float
    bandwidth_hz: float | None
    modulation_4hz: float | None
    silences: tuple[tuple[int, int], ...]
    backend: str


class SyncResult(Result):
    """Sync scores after correction; offsets in frames, ``confidence_before`` that of the first measurement."""

    offset_measured: int
    offset_applied: int
    offset_remaining: int
    confidence: float
    distance: float
    confidence_before: float
    backend: str
    audio_sha256: str


class FingerprintResult(Result):
    """The fingerprint of a clip (room ``fingerprints``): ``look`` in hexadecimal, others as base64 of their bytes."""

    look: str
    motion: str
    codes: str

    @classmethod
    def of(cls, fingerprint: ClipFingerprint) -> FingerprintResult:
        return cls(
            look=f"{fingerprint.picture.look:016x}",
            motion=b64encode(fingerprint.picture.motion_TB.astype("<i1").tobytes()).decode(),
            codes=b64encode(fingerprint.codes_N.astype("<u4").tobytes()).decode(),
        )

    def fingerprint(self) -> ClipFingerprint:
        """The fingerprint itself."""
        motion = np.frombuffer(b64decode(self.motion), dtype="<i1").reshape(-1, NUM_BLOCKS)
        return ClipFingerprint(
            picture=PictureFingerprint(look=int(self.look, 16), motion_TB=motion),
            codes_N=np.frombuffer(b64decode(self.codes), dtype="<u4"),
        )


class EmbeddingResult(Result):
    """What a face looks like to a network: a vector of length 1 as base64 of its little-endian float32 numbers."""

    vector: str
    backend: str

    @classmethod
    def of(cls, vector_D: np.ndarray, backend: str) -> EmbeddingResult:
        return cls(vector=b64encode(vector_D.astype("<f4").tobytes()).decode(), backend=backend)

    def vector_D(self) -> np.ndarray:
        """The vector itself: float32."""
        return np.frombuffer(b64decode(self.vector), dtype="<f4")


class QualityResult(Result):
    """A picture-quality score on the scale of its backend."""

    value: float
    backend: str
    higher_is_better: bool
