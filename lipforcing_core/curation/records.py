"""What curation says about a source: clips, decisions, and the balance of frames."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator, model_serializer, model_validator

from lipforcing_core.base.lean_rows import LeanRow
from lipforcing_core.base.licences import commercial_ok, commercial_use
from lipforcing_core.curation.official import CropBox, Origin, TimeRanges
from lipforcing_core.curation.reasons import RejectReason
from lipforcing_core.media.clock import seconds
from lipforcing_core.media.window_plan import ReferenceKind


class Status(StrEnum):
    """How a piece of video, or a whole source, left curation."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    QUARANTINED = "quarantined"


@dataclass(frozen=True, kw_only=True, slots=True)
class Scores:
    """Everything measured on a segment; None where it was not reached. Offsets are in frames at 25 fps,
    positive where the matching sound lies earlier than the picture. Sync scores are those after correction."""

    loudness_dbfs: float | None = None
    speech_share: float | None = None
    longest_silence_s: float | None = None
    snr_db: float | None = None
    clipping_share: float | None = None
    bandwidth_hz: float | None = None
    modulation_4hz: float | None = None
    activity_backend: str | None = None
    detected_fraction: float | None = None
    absent_frames: int | None = None
    face_height_px: float | None = None
    num_faces: int | None = None
    yaw_deg: float | None = None
    lips_outside: float | None = None
    mouth_likeness: float | None = None
    longest_repeat_frames: int | None = None
    repeated_fraction: float | None = None
    invented_frames: int | None = None
    detector_backend: str | None = None
    sync_confidence: float | None = None
    sync_distance: float | None = None
    av_offset_measured: int | None = None
    av_offset_applied: int | None = None
    av_offset_remaining: int | None = None
    sync_backend: str | None = None
    quality: float | None = None
    quality_backend: str | None = None

    def backend_of(self, name: str) -> str | None:
        """What measured a score; None where no model did."""
        model = next((model for model, names in _MEASURED_BY.items() if name in names), None)
        return None if model is None else getattr(self, model)


_MEASURED_BY = {
    "detector_backend": ("detected_fraction", "absent_frames", "face_height_px", "num_faces", "yaw_deg"),
    "sync_backend": ("sync_confidence", "sync_distance", "av_offset_measured", "av_offset_remaining"),
    "quality_backend": ("quality",),
    "activity_backend": ("speech_share", "longest_silence_s", "snr_db"),
}
"""The scores that each model measures."""
SCORE_NAMES = tuple(field.name for field in fields(Scores))
MAY_LACK = frozenset(
    {
        "speech_share",
        "longest_silence_s",
        "snr_db",
        "clipping_share",
        "bandwidth_hz",
        "modulation_4hz",
        "activity_backend",
        "num_faces",
        "yaw_deg",
        "lips_outside",
        "mouth_likeness",
        "longest_repeat_frames",
        "repeated_fraction",
        "invented_frames",
    }
)
"""Scores that an accepted clip may lack: younger than old manifests, or nothing that every detector can tell."""


class ScoredRow(LeanRow):
    """A row with scores: an object of its own in Python, columns among the others in JSON and in tables."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    complete: ClassVar[bool] = False
    """Whether every score of such a row has a value."""

    @model_validator(mode="before")
    @classmethod
    def _gather_scores(cls, values: Any) -> Any:
        if not isinstance(values, dict) or "scores" in values:
            return values
        scores = {name: values[name] for name in SCORE_NAMES if name in values}
        return {**{name: value for name, value in values.items() if name not in scores}, "scores": scores}

    @model_serializer(mode="wrap")
    def _spread_scores(self, as_dict: Any) -> dict[str, Any]:
        row: dict[str, Any] = {}
        for name, value in as_dict(self).items():
            row |= value if name == "scores" else {name: value}
        return row


SPLITS = ("train", "val", "test")
"""The parts of a data set, as a manifest names them."""


DENIALS = frozenset({"no", "false", "0", "none", "denied", "refused", "revoked", "withdrawn"})
"""What ``consent`` says of people who do not agree, in small letters; any other text is kept as it is."""


class SourceFacts(BaseModel):
    """What the corpus says about a source, from its annotations, a sidecar or the folder's table; None where unknown.

    ``split`` is the official one. ``dataset`` names the corpus. ``audio`` is the path of a separate sound file,
    relative to the root of the corpus. ``ranges`` are the only times of the file that count, and ``crop`` is the part
    of the picture that counts, where a range names no other. ``origin`` tells what the file was cut from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    identity: str | None = None
    licence: str | None = None
    commercial_ok: bool | None = None
    language: str | None = None
    split: Literal["train", "val", "test"] | None = None
    consent: str | None = None
    dataset: str | None = None
    audio: str | None = None
    ranges: TimeRanges | None = None
    crop: CropBox | None = None
    origin: Origin | None = None

    @field_validator("consent", mode="before")
    @classmethod
    def _in_words(cls, value: Any) -> Any:
        return {True: "yes", False: "no"}[value] if isinstance(value, bool) else value

    @field_validator("identity", mode="before")
    @classmethod
    def _number_as_name(cls, value: Any) -> Any:
        """Tables made by programs number their people."""
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else value

    @model_serializer(mode="wrap")
    def _without_the_unknown(self, as_dict: Any) -> dict[str, Any]:
        """Facts that later versions added are left out where unknown: the content keys of finished work stay."""
        return {
            name: value
            for name, value in as_dict(self).items()
            if value is not None or name in ("identity", "licence", "commercial_ok")
        }

    @property
    def consent_denied(self) -> bool:
        """Whether somebody in it does not agree to its use."""
        return (self.consent or "").strip().lower() in DENIALS

    @property
    def rights_contradiction(self) -> str | None:
        """What is wrong with ``commercial_ok`` beside the licence, in words; None where they can both be true."""
        if self.commercial_ok and commercial_use(self.licence) is False:
            return f"commercial_ok is true, but its licence is {self.licence}"
        return None


CLIP_FACTS = ("identity", "licence", "commercial_ok", "language", "consent", "dataset")
"""The facts of a source that are columns of its clips as they are; a clip has a split in any case."""


class ClipRecord(ScoredRow):
    """One accepted clip: a row of the manifest. Paths are relative to the manifest's folder.

    ``commercial_ok`` is what the licence and the side information together allow: a licence wins over a claim.
    ``reference_81`` is the reference that the clip yields for training windows of 81 frames, those of the published
    models (see ``media.window_plan``); None in manifests that were written before there was the column.
    ``duplicate_of`` names the clip of which this one is a near-duplicate. ``identity_from`` says whether the corpus
    names the identity (``official``), its face was told apart from others (``cluster``), or nobody knows it and the
    split follows the source (``source``). ``silences`` are the stretches without speech, as the JSON text of a list of
    [start, end] pairs in seconds of the clip; ``sound_notes`` say what is odd in its sound, separated by semicolons
    (``curation.sound_words``). Both are None in older manifests.
    """

    complete: ClassVar[bool] = True

    clip_id: str
    source_id: str
    source: str
    source_sha256: str
    shot: int
    start_frame: int
    stop_frame: int
    num_frames: int
    seconds: float
    identity: str | None
    licence: str | None
    commercial_ok: bool | None
    language: str | None = None
    consent: str | None = None
    dataset: str | None = None
    split: str
    clip_path: str
    audio_path: str
    alignment_path: str
    clip_sha256: str
    audio_sha256: str
    scores: Scores
    num_lossy_encodes: int
    face_track: int | None = None
    face_box: str | None = None
    reference_81: ReferenceKind | None = None
    duplicate_of: str | None = None
    identity_from: str | None = None
    silences: str | None = None
    sound_notes: str | None = None

    @field_validator("commercial_ok")
    @classmethod
    def _licence_wins(cls, claimed: bool | None, info: ValidationInfo) -> bool | None:
        return commercial_ok(info.data.get("licence"), claimed)

    @model_validator(mode="after")
    def _has_every_score(self) -> ClipRecord:
        if missing := [n for n in SCORE_NAMES if n not in MAY_LACK and getattr(self.scores, n) is None]:
            raise ValueError(f"an accepted clip has a value for each score; {', '.join(missing)} missing")
        return self


class Decision(ScoredRow):
    """What happened to a piece of video, or to a whole source; the pieces of a source add up to it.

    ``duplicate_of``: the id of the clip that a near-duplicate repeats; for a copy of a whole file its name.
    """

    scores: Scores = Scores()
    source: str
    source_id: str
    level: str
    start_frame: int
    stop_frame: int
    seconds: float
    status: Status
    reason: RejectReason | None = None
    measured: float | None = None
    threshold: float | None = None
    message: str = ""
    clip_id: str | None = None
    duplicate_of: str | None = None

    @property
    def num_frames(self) -> int:
        return self.stop_frame - self.start_frame


class StoredClip(LeanRow):
    """Where the products of an accepted clip and its measurements lie in the step store, relative to its root."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    record: ClipRecord
    clip: str
    audio: str
    alignment: str
    fingerprint: str | None = None
    embedding: str | None = None


class SourceOutcome(LeanRow):
    """The whole result for one source. ``frames_in`` counts frames at 25 fps.

    An unreadable source counts the frames it declares, or 0 where even that cannot be read. ``frames_trimmed`` are the
    few at the end that outlast the sound by less than is worth a row.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    source_id: str
    sha256: str
    frames_in: int
    frames_trimmed: int = 0
    clips: tuple[StoredClip, ...] = ()
    decisions: tuple[Decision, ...]
    decoder_message: str = ""

    @property
    def status(self) -> Status:
        """Accepted if any clip was; quarantined if it could not be decoded; rejected otherwise."""
        if self.clips:
            return Status.ACCEPTED
        return Status.QUARANTINED if self.quarantine else Status.REJECTED

    @property
    def quarantine(self) -> tuple[Decision, ...]:
        """Decisions with status quarantined."""
        return tuple(d for d in self.decisions if d.status is Status.QUARANTINED)

    @property
    def failed_this_time(self) -> bool:
        """Whether the machine failed and not the source, so that another run may come to another result."""
        return any(d.reason is RejectReason.FAILED_THIS_TIME for d in self.decisions)

    @property
    def is_final(self) -> bool:
        """Whether equal content will always come to this; an outcome that is not must not be kept for another run."""
        passing = {RejectReason.FAILED_THIS_TIME, RejectReason.INACCESSIBLE}
        return not any(d.reason in passing for d in self.decisions)

    def frames(self, status: Status) -> int:
        """Frames that left with a status."""
        return sum(d.num_frames for d in self.decisions if d.status is status)

    def seconds(self, status: Status | None = None) -> float:
        """Seconds that left with a status, or that came in."""
        return float(seconds(self.frames_in if status is None else self.frames(status)))

    def check_balance(self) -> SourceOutcome:
        """Return self if every frame is accounted for exactly once."""
        covered = sum(self.frames(status) for status in Status) + self.frames_trimmed
        assert covered == self.frames_in, (
            f"{self.source}: {self.frames_in} frames in, {covered} accounted for"
        )
        ids = {d.clip_id for d in self.decisions if d.status is Status.ACCEPTED}
        assert ids == {clip.record.clip_id for clip in self.clips}, (
            f"{self.source}: clips and decisions differ"
        )
        return self
