"""Settings of curation: a frozen model, read from a TOML table, with errors that name the key."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from lipforcing_core.base.catalogue import file_help
from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.layers import read_layers
from lipforcing_core.base.settings_mistakes import mistakes
from lipforcing_core.curation.reasons import RejectReason, Step
from lipforcing_core.faces.detectors.catalogue import DETECTORS
from lipforcing_core.media.clock import FPS
from lipforcing_core.media.timeline import USUAL_GAPS, GapLimits
from lipforcing_core.quality.catalogue import QUALITY_SCORERS
from lipforcing_core.sound.activity.catalogue import ACTIVITY_DETECTORS
from lipforcing_core.sync.experts.catalogue import SYNC_EXPERTS


def _decides(step: Step | None, *reasons: RejectReason, unit: str = "") -> dict[str, Any]:
    """Metadata of a setting: the step whose result it changes, the reject reasons that it can give, and its unit."""
    told = [] if step is None else [f"step {step}"]
    if reasons:
        told.append(f"reject reason{'s' * (len(reasons) > 1)} {', '.join(reasons)}")
    return {"decides": "; ".join(told)} | ({"unit": unit} if unit else {})


def reasons_of(setting: str) -> frozenset[RejectReason]:
    """The reject reasons that a setting can give; none for a name that is no setting."""
    field = CurationSettings.model_fields.get(setting)
    extra = field.json_schema_extra if field is not None else None
    told = str(extra.get("decides", "")) if isinstance(extra, dict) else ""
    return frozenset(reason for reason in RejectReason if re.search(rf"\b{reason.value}\b", told))


_FACE = _decides(Step.READ, RejectReason.NO_FACE, RejectReason.FACE_LOST, RejectReason.FACE_TOO_SMALL)
_IN_SYNC = (
    RejectReason.SYNC_CONFIDENCE_LOW,
    RejectReason.AV_OFFSET_TOO_LARGE,
    RejectReason.AV_OFFSET_UNSTABLE,
)
_SYNC, _QUALITY = _decides(Step.SYNC, *_IN_SYNC), _decides(Step.QUALITY, RejectReason.QUALITY_LOW)


class CurationSettings(BaseModel):
    """Backends, step parameters and thresholds. The defaults are those of the embedded tier.

    Thresholds (the last group) decide about stored scores: changing one repeats no measurement.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    detector: Annotated[str, DETECTORS.choice] = Field(
        DETECTORS.default, description=DETECTORS.help, json_schema_extra=_FACE
    )
    detector_model: Path | None = Field(None, description=file_help(DETECTORS), json_schema_extra=_FACE)
    sync_expert: Annotated[str, SYNC_EXPERTS.choice] = Field(
        SYNC_EXPERTS.default, description=SYNC_EXPERTS.help, json_schema_extra=_SYNC
    )
    sync_weights: Path | None = Field(None, description=file_help(SYNC_EXPERTS), json_schema_extra=_SYNC)
    quality: Annotated[str, QUALITY_SCORERS.choice] = Field(
        QUALITY_SCORERS.default, description=QUALITY_SCORERS.help, json_schema_extra=_QUALITY
    )
    quality_weights: Path | None = Field(
        None, description=file_help(QUALITY_SCORERS), json_schema_extra=_QUALITY
    )
    activity: Annotated[str, ACTIVITY_DETECTORS.choice] = Field(
        ACTIVITY_DETECTORS.default,
        description=ACTIVITY_DETECTORS.help,
        json_schema_extra=_decides(Step.SPEECH, RejectReason.NO_SPEECH),
    )

    identity_model: Path | None = Field(
        None,
        description="File of ArcFace (arcface-r100: glintr100.onnx) that tells people apart where the corpus does not.",
        json_schema_extra=_decides(Step.IDENTITY, RejectReason.HELD_OUT_PERSON),
    )

    max_source_hours: float = Field(
        12.0,
        gt=0,
        description="Longest source in hours; a longer one is not read.",
        json_schema_extra=_decides(Step.READ, RejectReason.OVER_LIMITS, unit="hours"),
    )
    max_megapixels: float = Field(
        40.0,
        gt=0,
        description="Largest picture; 4K has 8.3 and 8K 33.",
        json_schema_extra=_decides(Step.READ, RejectReason.OVER_LIMITS, unit="megapixels"),
    )
    max_hole_frames: int = Field(
        USUAL_GAPS.max_hole_frames,
        ge=0,
        description="Longest hole in the pictures of a source that is filled within a shot, by repeating the picture "
        "before it; a longer one cuts the source there. max_repeat_frames decides about what was filled.",
        json_schema_extra=_decides(Step.READ, RejectReason.TOO_SHORT),
    )
    max_time_gap_s: float = Field(
        float(USUAL_GAPS.max_gap_s),
        gt=0,
        le=3600,
        description="Longest gap in the time stamps of one stream that counts as a hole; a longer one, through which "
        "no other stream goes on, joins two recordings.",
        json_schema_extra=_decides(Step.READ),
    )
    shot_threshold: float = Field(
        2.0,
        gt=0,
        description="Adaptive cut threshold (ratio to neighbours).",
        json_schema_extra=_decides(Step.READ, unit="ratio"),
    )
    shot_min_content_change: float = Field(
        15.0,
        ge=0,
        le=255,
        description="Least change at a cut.",
        json_schema_extra=_decides(Step.READ, unit="levels of 255"),
    )
    min_segment_s: float = Field(
        5.0,
        gt=0,
        description="Shortest clip in seconds.",
        json_schema_extra=_decides(Step.READ, RejectReason.TOO_SHORT),
    )
    max_segment_s: float = Field(
        10.0, gt=0, description="Longest clip in seconds.", json_schema_extra=_decides(Step.READ)
    )
    detect_stride: int = Field(
        5,
        ge=1,
        description="Frames from one face detection to the next.",
        json_schema_extra=_decides(Step.READ, unit="frames"),
    )
    max_gap_frames: int = Field(
        25,
        ge=0,
        description="Longest gap without a detection that is interpolated.",
        json_schema_extra=_decides(Step.READ, RejectReason.FACE_LOST),
    )
    clip_crf: int = Field(
        13,
        ge=0,
        le=51,
        description="x264 quality of the aligned clip.",
        json_schema_extra=_decides(Step.READ, unit="CRF"),
    )

    silence_dbfs: float = Field(
        -50.0,
        le=0,
        description="Quieter sound (RMS) is silent.",
        json_schema_extra=_decides(None, RejectReason.SILENT_AUDIO),
    )
    min_speech_share: float = Field(
        0.2,
        ge=0,
        le=1,
        description="Least share of the time in which somebody speaks.",
        json_schema_extra=_decides(None, RejectReason.NO_SPEECH, unit="share, 0 to 1"),
    )
    max_absent_frames: int = Field(
        0,
        ge=0,
        description="Frames without a face that a clip may have.",
        json_schema_extra=_decides(None, RejectReason.FACE_LOST),
    )
    min_detected_fraction: float = Field(
        0.3,
        ge=0,
        le=1,
        description="Least share of detected frames.",
        json_schema_extra=_decides(None, RejectReason.NO_FACE),
    )
    min_face_height_px: float = Field(
        64.0,
        ge=0,
        description="Least median face height in the source.",
        json_schema_extra=_decides(None, RejectReason.FACE_TOO_SMALL),
    )
    max_yaw_deg: float = Field(
        50.0,
        ge=0,
        le=90,
        description="Largest turn of the head to the side (median; needs a detector with points).",
        json_schema_extra=_decides(None, RejectReason.TURNED_AWAY, unit="degrees"),
    )
    max_lips_outside: float = Field(
        0.1,
        ge=0,
        le=1,
        description="Largest share of the lips' area beyond the border of the picture.",
        json_schema_extra=_decides(None, RejectReason.LIPS_CUT_OFF, unit="share, 0 to 1"),
    )
    min_mouth_likeness: float = Field(
        0.45,
        ge=-1,
        le=1,
        description="Least likeness of the mouth to its usual picture at its worst half second (needs a detector with "
        "points); -1 asks nothing.",
        json_schema_extra=_decides(None, RejectReason.OCCLUDED, unit="correlation"),
    )
    max_repeat_frames: int = Field(
        12,
        ge=0,
        description="Longest run of frames that repeat the one before.",
        json_schema_extra=_decides(None, RejectReason.FROZEN_PICTURE),
    )
    max_repeated_fraction: float = Field(
        0.3,
        ge=0,
        le=1,
        description="Largest share of such frames; a source of 16 frames a second has 0.36.",
        json_schema_extra=_decides(None, RejectReason.REPEATED_FRAMES),
    )
    sync_filter: bool = Field(
        True,
        description="Act on sync scores; off: measure only, shift and reject nothing.",
        json_schema_extra=_SYNC,
    )
    sync_confidence_min: float = Field(
        3.0,
        description="Least Sync-C.",
        json_schema_extra=_decides(None, RejectReason.SYNC_CONFIDENCE_LOW, unit="Sync-C"),
    )
    max_abs_offset_frames: int = Field(
        6,
        ge=0,
        le=15,
        description="Largest offset that is corrected.",
        json_schema_extra=_decides(None, RejectReason.AV_OFFSET_TOO_LARGE),
    )
    quality_threshold: float = Field(
        QUALITY_SCORERS[QUALITY_SCORERS.default].threshold,
        description="Worst accepted quality on the scale of the scorer, whose usual one is the default "
        f"({'; '.join(scorer.scale for scorer in QUALITY_SCORERS)}).",
        json_schema_extra=_decides(None, RejectReason.QUALITY_LOW, unit="points of the scorer"),
    )

    near_duplicates: Literal["mark", "reject", "off"] = Field(
        "mark",
        description="Clips with the footage or the sound of another one of their split: mark or reject them; "
        "those that repeat another split are always rejected. off: look for none.",
        json_schema_extra=_decides(Step.FINGERPRINT, RejectReason.NEAR_DUPLICATE),
    )
    same_person_cosine: float = Field(
        0.45,
        gt=0,
        le=1,
        description="Faces at least so alike are one person (cosine of ArcFace).",
        json_schema_extra=_decides(Step.SPLIT, RejectReason.HELD_OUT_PERSON, unit="cosine"),
    )
    val_fraction: float = Field(
        0.05,
        ge=0,
        lt=1,
        description="Share of identities held out for validation.",
        json_schema_extra=_decides(Step.SPLIT),
    )

    drift: Literal["warn", "fail", "off"] = Field(
        "warn",
        description="A run that differs much from the one before it of the same data set: warn of it, or let the "
        "contract fail. off: compare nothing.",
        json_schema_extra={"decides": "the contract"},
    )
    drift_max_change: float = Field(
        0.5,
        gt=0,
        le=1,
        description="Largest change of clips and hours against the larger of the two runs; 0.5 is half or double.",
        json_schema_extra={"decides": "the contract", "unit": "share, 0 to 1"},
    )
    drift_max_share: float = Field(
        0.1,
        gt=0,
        le=1,
        description="Largest part that moves between accepted and rejected, between languages, or between splits.",
        json_schema_extra={"decides": "the contract", "unit": "share, 0 to 1"},
    )
    drift_max_ks: float = Field(
        0.2,
        gt=0,
        le=1,
        description="Largest two-sample Kolmogorov-Smirnov distance of sync confidence, quality, offset and face "
        "height.",
        json_schema_extra={"decides": "the contract", "unit": "distance, 0 to 1"},
    )

    @model_validator(mode="before")
    @classmethod
    def _usual_threshold_of_the_scorer(cls, values: Any) -> Any:
        if isinstance(values, Mapping) and "quality_threshold" not in values:
            for scorer in QUALITY_SCORERS:
                if scorer.name == values.get("quality"):
                    return {**values, "quality_threshold": scorer.threshold}
        return values

    @model_validator(mode="after")
    def _threshold_is_on_the_scale(self) -> Self:
        scorer = QUALITY_SCORERS[self.quality]
        if not scorer.is_on_scale(self.quality_threshold):
            raise ValueError(
                f"quality_threshold ({self.quality_threshold:g}) is not on the scale of {scorer.scale}"
            )
        return self

    @model_validator(mode="after")
    def _lengths_are_in_order(self) -> Self:
        if self.min_segment_s > self.max_segment_s:
            raise ValueError(
                f"min_segment_s ({self.min_segment_s}) is larger than max_segment_s ({self.max_segment_s})"
            )
        return self

    def deciding(self) -> dict[str, Any]:
        """The settings that decide about a source, as JSON values: all but those of the drift between runs."""
        told = self.model_dump(mode="json")
        return {name: value for name, value in told.items() if not name.startswith("drift")}

    def with_files(self, change: Callable[[Path], Path]) -> Self:
        """The same settings with every file that they name replaced by what ``change`` makes of its path."""
        files = {name: change(value) for name, value in self if isinstance(value, Path)}
        return self.model_copy(update=files)

    @property
    def gaps(self) -> GapLimits:
        """Which holes in the time stamps of a source are filled."""
        return GapLimits(max_hole_frames=self.max_hole_frames, max_gap_s=Fraction(str(self.max_time_gap_s)))

    @property
    def min_frames(self) -> int:
        """Shortest clip in frames."""
        return round(self.min_segment_s * int(FPS))

    @property
    def max_frames(self) -> int:
        """Longest clip in frames."""
        return round(self.max_segment_s * int(FPS))

    @classmethod
    def from_mapping(
        cls,
        values: Mapping[str, Any],
        origin: str = "curation settings",
        *,
        names: Mapping[str, str] | None = None,
    ) -> CurationSettings:
        """Check a mapping; raises BadInputError with a line for each mistake: ``origin``, the key, what is wrong.

        ``names``: what the user calls a key, where that is something else.
        """
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            lines = mistakes(error, cls, names=names)
            raise BadInputError("\n".join(f"{origin}: {line}" for line in lines)) from error

    @classmethod
    def from_toml(cls, path: Path | str, table: str = "curation") -> CurationSettings:
        """Read the table of a TOML file, which may extend another one (``base.layers``).

        Raises ``BadInputError`` for a file without the table, or with unknown keys.
        """
        path = Path(path)
        document = read_layers(path, named={})
        values = document.get(table)
        if not isinstance(values, dict):
            raise BadInputError(f"{path}: has no table [{table}]; the settings belong below that line")
        return cls.from_mapping(values, f"{path} [{table}]")
