"""What a preset holds: the sections of the model first (``model_sections``), then the stages (``stages``)."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import model_validator

from lipforcing_core.base.describe import meaning
from lipforcing_core.models.bases.catalogue import BASES
from lipforcing_core.models.codecs.catalogue import CODECS
from lipforcing_core.presets.model_sections import (
    BackendsPreset,
    CodecPreset,
    ModelPreset,
    SchedulePreset,
    VideoPreset,
    WindowPreset,
)
from lipforcing_core.presets.section import Section
from lipforcing_core.presets.stages import (
    DistillSettings,
    ForcingSettings,
    LoraSettings,
    StageSettings,
    TeacherSettings,
)

__all__ = [
    "BackendsPreset",
    "CodecPreset",
    "DistillSettings",
    "ForcingSettings",
    "LoraSettings",
    "ModelPreset",
    "Preset",
    "SchedulePreset",
    "StageSettings",
    "TeacherSettings",
    "VideoPreset",
    "WindowPreset",
]


class Preset(Section):
    """Everything that one model and its training need.

    ``base`` says how a base is trained where none is public; ``base_checkpoint`` names a base that ships with the
    package (``models/bases/catalogue.py``). With both, the teacher starts from the shipped one, and ``base`` says how
    that was made; without ``base_checkpoint`` the teacher's training begins with the base.
    """

    name: Annotated[str, meaning("What the preset is called in runs and model bundles.")]
    summary: Annotated[str, meaning("What it is, in a sentence.")]
    base_checkpoint: Annotated[
        Annotated[str, BASES.choice] | None,
        meaning("Shipped base that the teacher starts from; left out, the [base] section trains one."),
    ] = None
    video: VideoPreset
    backends: BackendsPreset
    codec: CodecPreset | None = None
    model: ModelPreset
    window: WindowPreset
    schedule: SchedulePreset
    base: TeacherSettings | None = None
    lora: LoraSettings
    diffusion_forcing: ForcingSettings
    distill: DistillSettings

    _newer: ClassVar[tuple[str, ...]] = ("base_checkpoint",)

    @model_validator(mode="after")
    def _consistent(self) -> Preset:
        if (self.codec is None) == CODECS[self.backends.codec].is_fitted:
            fitted = " or ".join(repr(entry.name) for entry in CODECS if entry.is_fitted)
            raise ValueError(f"a [codec] section belongs to backends.codec = {fitted} and to no other")
        if self.codec is not None and self.codec.num_channels != self.model.out_channels:
            raise ValueError(
                f"codec.num_channels ({self.codec.num_channels}) must be model.out_channels "
                f"({self.model.out_channels}): the transformer predicts the latents of the codec"
            )
        return self
