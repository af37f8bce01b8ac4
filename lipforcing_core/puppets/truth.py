"""The truth file beside every clip: what was put into it, frame by frame.

A clip ``NAME.mp4`` has the truth ``NAME.json``. All positions are those of the decoded, upright picture.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from fractions import Fraction
from pathlib import Path
from typing import Any

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.products import atomic_path
from lipforcing_core.base.user_file import read_json_object
from lipforcing_core.puppets.portraits import LANDMARK_NAMES
from lipforcing_core.puppets.rig import FrameTruth
from lipforcing_core.puppets.speech import TimedPhoneme

TRUTH_VERSION = 1


class Outcome(StrEnum):
    """What curation with its default settings should do with a clip."""

    ACCEPT = "accept"
    REJECT = "reject"
    QUARANTINE = "quarantine"


@dataclass(frozen=True, kw_only=True)
class CutTruth:
    """A hard cut: the first frame of the new shot."""

    frame: int
    """Index at the source's own frame rate."""
    frame_25: int
    """Index after conversion to 25 fps (cuts lie on exact multiples)."""
    time_s: float


@dataclass(frozen=True, kw_only=True)
class ShotTruth:
    """One shot, frames ``[start_frame, stop_frame)`` at the source's rate."""

    portrait: str | None
    """None where nobody is in the picture."""
    seed: int
    speech_seed: int
    start_frame: int
    stop_frame: int
    mirror: bool


@dataclass(frozen=True, kw_only=True)
class FrameColumns:
    """The per-frame truths of a clip, one list entry per frame.

    Landmarks are pixel positions by the names of ``portraits.LANDMARK_NAMES``, left and right as seen in the
    picture; boxes are x0, y0, x1, y1; aperture runs from 0 (closed) to 1, width is relative to rest.
    """

    time_s: list[float]
    aperture: list[float]
    aperture_px: list[float]
    width: list[float]
    width_px: list[float]
    face_box: list[list[float]]
    landmarks: dict[str, list[list[float]]]

    @classmethod
    def of(cls, frames: list[FrameTruth], times_s: list[float]) -> FrameColumns:
        """Columns from the rig's truths; coordinates are rounded to 1/100 pixel."""
        return cls(
            time_s=[round(time, 6) for time in times_s],
            aperture=[round(frame.aperture, 4) for frame in frames],
            aperture_px=[round(frame.aperture_px, 2) for frame in frames],
            width=[round(frame.width, 4) for frame in frames],
            width_px=[round(frame.width_px, 2) for frame in frames],
            face_box=[[round(value, 2) for value in frame.face_box] for frame in frames],
            landmarks={
                name: [[round(value, 2) for value in frame.landmarks[name]] for frame in frames]
                for name in LANDMARK_NAMES
            },
        )


@dataclass(frozen=True, kw_only=True)
class ClipTruth:
    """Everything known about one clip.

    ``av_offset_frames`` counts frames of 1/25 s: positive means that the sound which belongs to a picture
    lies earlier in the file than the picture, so that delaying the sound corrects it.
    """

    name: str
    """File name of the clip."""
    kind: str
    """``reel``, ``offset``, ``held_out`` or the name of a defect or of a packaging."""
    recipe: str
    """Key of the plan and version that made the clip; equal keys mean equal clips."""
    seed: int
    width_px: int
    height_px: int
    frame_rate: Fraction
    num_frames: int
    duration_s: float
    sample_rate: int | None
    """None where there is no sound."""
    av_offset_frames: int
    defects: list[str]
    expected_outcome: Outcome
    expected_reason: str | None
    """Reason code that curation should give, None for an accepted clip."""
    cuts: list[CutTruth]
    shots: list[ShotTruth]
    phonemes: list[TimedPhoneme]
    """At their times in the file's sound; empty without speech."""
    frames: FrameColumns | None
    """None where nobody is in the picture."""


def truth_path(clip: Path | str) -> Path:
    """The truth file of a clip."""
    return Path(clip).with_suffix(".json")


def write_truth(clip: Path | str, truth: ClipTruth) -> None:
    """Write a clip's truth beside it, atomically."""
    write_compact_json(truth_path(clip), asdict(truth) | {"truth_version": TRUTH_VERSION})


def read_truth(clip: Path | str) -> ClipTruth:
    """The truth of a clip, given the path of the clip or of its truth file.

    Raises BadInputError where there is none or it is of another version.
    """
    path = truth_path(clip)
    if not path.exists():
        raise BadInputError(f"{path}: there is no truth file; is this a puppet clip?")
    values = read_json_object(path)
    if values.get("truth_version") != TRUTH_VERSION:
        raise BadInputError(f"{path}: is no truth file of version {TRUTH_VERSION}; render the clip again")
    try:
        return clip_truth(values)
    except (KeyError, TypeError, ValueError) as error:
        raise BadInputError(f"{path}: is a damaged truth file ({error!r}); render the clip again") from error


def clip_truth(values: Mapping[str, Any]) -> ClipTruth:
    """A clip's truth from the plain values in its file; unknown keys are ignored.

    Raises KeyError, TypeError or ValueError where the values do not describe a clip.
    """
    known = {field.name: values[field.name] for field in fields(ClipTruth)}
    known["frame_rate"] = Fraction(known["frame_rate"])
    known["expected_outcome"] = Outcome(known["expected_outcome"])
    known["cuts"] = [CutTruth(**cut) for cut in known["cuts"]]
    known["shots"] = [ShotTruth(**shot) for shot in known["shots"]]
    known["phonemes"] = [(symbol, start, stop) for symbol, start, stop in known["phonemes"]]
    known["frames"] = FrameColumns(**known["frames"]) if known["frames"] else None
    return ClipTruth(**known)


def write_compact_json(path: Path | str, value: Any) -> None:
    """Write JSON atomically without the indentation that would make long number lists unreadable anyway."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str)
    with atomic_path(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
