"""The sections of a preset that describe the model: video, backends, codec, transformer, window and schedule.

Section numbers in the comments of the TOML files (A.1, D.3, H.1, ...) are those of the method specification.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from lipforcing_core.base.describe import meaning
from lipforcing_core.models.audio_encoders.catalogue import AUDIO_ENCODERS
from lipforcing_core.models.codecs.catalogue import CODECS, require_pair
from lipforcing_core.models.config import DiTConfig
from lipforcing_core.models.text_encoders.catalogue import TEXT_ENCODERS
from lipforcing_core.models.window import WindowConfig
from lipforcing_core.presets.section import BoundedCount, Count, NotNegative, Positive, Probability, Section
from lipforcing_core.sync.experts.catalogue import SYNC_EXPERTS

if TYPE_CHECKING:
    from lipforcing_core.diffusion.schedule import FlowSchedule, SyncWindow
    from lipforcing_core.models.codecs.block import CodecFit


class VideoPreset(Section):
    """The picture that the model sees, and the training window."""

    size: Annotated[
        int,
        Field(ge=64, le=4096, multiple_of=16),
        meaning("Side of the aligned face crop that the model sees.", "pixels"),
    ]
    window_frames: Annotated[
        BoundedCount, meaning("Length of a training window: 4T - 3 frames for T latents.", "frames")
    ]
    window_stride_frames: Annotated[
        BoundedCount, meaning("Distance between the starts of training windows of one clip.", "frames")
    ]
    reference: Annotated[
        Literal["random", "first"],
        meaning("The reference latent: the first of a random window of the clip, or of the window itself."),
    ]

    @model_validator(mode="after")
    def _whole_latents(self) -> VideoPreset:
        if (self.window_frames + 3) % 4:
            raise ValueError(f"window_frames must be 4T - 3 (9, 33, 81, ...), not {self.window_frames}")
        return self


class BackendsPreset(Section):
    """The names of the backends, each chosen on its own."""

    codec: Annotated[str, CODECS.choice, meaning("Codec that encodes video into latents.")]
    decoder: Annotated[
        str, CODECS.choice, meaning("Codec that decodes latents; it must share the latents of the first.")
    ]
    audio: Annotated[
        str, AUDIO_ENCODERS.choice, meaning("Encoder of the sound into features per video frame.")
    ]
    text: Annotated[str, TEXT_ENCODERS.choice, meaning("Encoder of the prompt.")]
    sync: Annotated[
        str, SYNC_EXPERTS.choice, meaning("Sync expert whose score is the reward of distillation.")
    ]

    @model_validator(mode="after")
    def _pair(self) -> BackendsPreset:
        require_pair(self.codec, self.decoder)
        return self

    @property
    def weights(self) -> tuple[str, ...]:
        """The registered checkpoints of codec, decoder, audio and text encoder, each once."""
        entries = (
            CODECS[self.codec],
            CODECS[self.decoder],
            AUDIO_ENCODERS[self.audio],
            TEXT_ENCODERS[self.text],
        )
        return tuple(dict.fromkeys(name for entry in entries for name in entry.weights))


class CodecPreset(Section):
    """How a fitted codec is fitted on the corpus (see ``models.codecs.block.CodecFit``)."""

    num_channels: Annotated[BoundedCount, meaning("Latent channels.", "channels")] = 16
    motion_weight: Annotated[
        Positive, meaning("Weight of what changes within the four frames of a block, against 1.", "factor")
    ]
    whitening: Annotated[
        Probability,
        meaning("How far the variances of the channels are made equal: 0 not at all, 1 wholly.", "power"),
    ]

    def settings(self) -> CodecFit:
        """As the codec takes it."""
        from lipforcing_core.models.codecs.block import CodecFit

        return CodecFit(**self.model_dump())


class ModelPreset(Section):
    """Hyper-parameters of the transformer (A.1)."""

    dim: Annotated[Count, meaning("Width of the tokens.", "channels")]
    ffn_dim: Annotated[Count, meaning("Width of the feed-forward layers.", "channels")]
    num_heads: Annotated[Count, meaning("Attention heads.", "heads")]
    num_layers: Annotated[
        int, Field(ge=4, multiple_of=2), meaning("Transformer blocks; the first half hears sound.", "blocks")
    ]
    freq_dim: Annotated[
        int,
        Field(ge=2, multiple_of=2),
        meaning("Sines and cosines that stand for the noise level.", "values"),
    ]
    text_dim: Annotated[Count, meaning("Width of the rows of the text encoder.", "channels")]
    text_len: Annotated[BoundedCount, meaning("Rows of the encoded prompt.", "tokens")]
    in_channels: Annotated[
        Count, meaning("Channels of noise and conditions together: one of the layouts of A.3.", "channels")
    ]
    out_channels: Annotated[Count, meaning("Latent channels of the codec.", "channels")]
    patch_size: Annotated[
        tuple[Count, Count, Count], meaning("Frames, rows and columns of latents in one token.", "latents")
    ]
    audio_dim: Annotated[Count, meaning("Width of the audio encoder's features per video frame.", "channels")]
    audio_hidden: Annotated[Count, meaning("Width of the packed audio features (A.6).", "channels")]
    eps: Annotated[Positive, meaning("What keeps the norms from dividing by zero.")]

    @model_validator(mode="after")
    def _is_a_transformer(self) -> ModelPreset:
        self.config()
        return self

    def config(self) -> DiTConfig:
        """As the transformer takes it; ``BadInputError`` for numbers that do not fit together."""
        return DiTConfig(**self.model_dump())


class WindowPreset(Section):
    """Chunks and attention window of the student, in latents (B.1, B.2); the current chunk counts (H.1)."""

    chunk_latents: Annotated[BoundedCount, meaning("Latents that are generated at once.", "latents")]
    window_latents: Annotated[
        BoundedCount, meaning("Latents that attention sees: sink, past and the current chunk.", "latents")
    ]
    sink_latents: Annotated[NotNegative, meaning("First latents that always stay in sight.", "latents")]

    @model_validator(mode="after")
    def _is_a_window(self) -> WindowPreset:
        self.config()
        return self

    def config(self) -> WindowConfig:
        """As the student takes it; ``BadInputError`` for a window that does not hold the sink and a chunk."""
        return WindowConfig(**self.model_dump())


class SchedulePreset(Section):
    """Noise schedule (C.2), student steps (C.4), sync window (C.3), prompt."""

    shift: Annotated[float, Field(ge=1), meaning("Shift of the noise levels towards noise (C.2).", "factor")]
    num_steps: Annotated[BoundedCount, meaning("Steps of the teacher's sampler.", "steps")]
    t_list: Annotated[
        tuple[Probability, ...],
        meaning("Noise levels of the student's steps, falling from the first to 0.", "noise level, 0 to 1"),
    ]
    sync_window_start: Annotated[NotNegative, meaning("First step in which the teacher is guided.", "step")]
    sync_window_stop: Annotated[NotNegative, meaning("Last step in which it is.", "step")]
    guidance_scale: Annotated[
        float,
        Field(ge=1),
        meaning(
            "Scale of the teacher's guidance, in the sync window or, when it generates, in all steps; 1: none.",
            "factor",
        ),
    ]
    prompt: Annotated[str, meaning("The text that goes with every clip.")]

    @model_validator(mode="after")
    def _ordered(self) -> SchedulePreset:
        falling = all(a > b for a, b in zip(self.t_list, self.t_list[1:], strict=False))
        if len(self.t_list) < 2 or self.t_list[-1] != 0 or not falling:
            raise ValueError(f"t_list must fall from the first noise level to 0, not {list(self.t_list)}")
        if not self.sync_window_start <= self.sync_window_stop <= self.num_steps:
            window = f"{self.sync_window_start} to {self.sync_window_stop}"
            raise ValueError(
                f"sync_window_start to sync_window_stop ({window}) must lie within 0 to num_steps ({self.num_steps})"
            )
        return self

    def flow(self) -> FlowSchedule:
        """The noise schedule."""
        from lipforcing_core.diffusion.schedule import FlowSchedule

        return FlowSchedule(shift=self.shift, num_steps=self.num_steps)

    def sync_window(self) -> SyncWindow:
        """The stretch of the trajectory in which the teacher is guided."""
        from lipforcing_core.diffusion.schedule import SyncWindow

        return SyncWindow(
            start_step=self.sync_window_start,
            stop_step=self.sync_window_stop,
            guidance_scale=self.guidance_scale,
            schedule=self.flow(),
        )
