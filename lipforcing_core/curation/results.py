"""What the steps of curation find out, each with the JSON form that it has in the step store.

The stored form is older than these classes and does not change: finished steps stay finished.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from fractions import Fraction
from pathlib import Path
from typing import Any, Generic, TypeVar

from lipforcing_core.base.failures import surroundings_in_words

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Finished(Generic[T]):
    """A finished step: its key, the folder of its products, and what it found out."""

    key: str
    folder: Path
    result: T


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """A source in the house's form. ``num_samples`` is 0 without sound; ``declared_s`` is what its header says."""

    num_frames: int
    num_samples: int
    width: int
    height: int
    decoder_message: str
    declared_s: Fraction
    has_audio: bool

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "declared_s": str(self.declared_s)}


@dataclass(frozen=True, kw_only=True)
class Undecodable:
    """A source that gives no picture: the problem, the decoder's words, and the length it declares if it does."""

    problem: str
    decoder_message: str
    declared_s: Fraction | None

    def to_json(self) -> dict[str, Any]:
        words = {"problem": self.problem, "decoder_message": self.decoder_message}
        return {"error": words, "declared_s": None if self.declared_s is None else str(self.declared_s)}

    @property
    def is_doubtful(self) -> bool:
        """Whether this may be the trace of a machine that failed, as earlier versions stored it for good."""
        words = self.decoder_message
        return words == "no message" or "received signal" in words or surroundings_in_words(words) is not None


def decoding_from_json(stored: Mapping[str, Any]) -> Decoded | Undecodable:
    """The stored result of the step ``normalise``."""
    declared = stored["declared_s"]
    if "error" in stored:
        return Undecodable(
            problem=stored["error"]["problem"],
            decoder_message=stored["error"]["decoder_message"],
            declared_s=None if declared is None else Fraction(declared),
        )
    return _from_fields(Decoded, {**stored, "declared_s": Fraction(declared)})


@dataclass(frozen=True, kw_only=True)
class Crop:
    """The aligned clip of a face: median height of the face in the source, and the hash of the file."""

    face_height_px: float
    clip_sha256: str


@dataclass(frozen=True, kw_only=True)
class FaceResult:
    """How the face of a segment was tracked; ``crop`` is None where no frame shows one."""

    num_frames: int
    detected_fraction: float
    absent_frames: int
    crop: Crop | None

    def to_json(self) -> dict[str, Any]:
        return {
            "num_frames": self.num_frames,
            "detected_fraction": self.detected_fraction,
            "absent_frames": self.absent_frames,
            "has_clip": self.crop is not None,
            **(asdict(self.crop) if self.crop else {}),
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> FaceResult:
        return cls(
            num_frames=stored["num_frames"],
            detected_fraction=stored["detected_fraction"],
            absent_frames=stored["absent_frames"],
            crop=_from_fields(Crop, stored) if stored["has_clip"] else None,
        )


@dataclass(frozen=True, kw_only=True)
class SyncResult:
    """Sync scores after correction; offsets in frames, ``confidence_before`` that of the first measurement."""

    offset_measured: int
    offset_applied: int
    offset_remaining: int
    confidence: float
    distance: float
    confidence_before: float
    backend: str
    audio_sha256: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> SyncResult:
        return _from_fields(cls, stored)


@dataclass(frozen=True, kw_only=True)
class QualityResult:
    """A picture-quality score on the scale of its backend."""

    value: float
    backend: str
    higher_is_better: bool

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> QualityResult:
        return _from_fields(cls, stored)


def _from_fields(kind: type[T], stored: Mapping[str, Any]) -> T:
    return kind(**{field.name: stored[field.name] for field in fields(kind)})  # type: ignore[arg-type]
