"""What a preset holds. Sections follow the method: video and backends, model, window, schedule, then the stages.

Section numbers in the comments of the TOML files (A.1, D.3, H.1, ...) are those of the method specification.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from lipforcing_core.models.audio_encoders.catalogue import AUDIO_ENCODERS
from lipforcing_core.models.codecs.catalogue import CODECS, require_pair
from lipforcing_core.models.config import DiTConfig
from lipforcing_core.models.text_encoders.catalogue import TEXT_ENCODERS
from lipforcing_core.models.window import WindowConfig
from lipforcing_core.sync.experts.catalogue import SYNC_EXPERTS

if TYPE_CHECKING:
    from lipforcing_core.diffusion.schedule import FlowSchedule, SyncWindow
    from lipforcing_core.models.codecs.block import CodecFit

Count = Annotated[int, Field(ge=1)]
Amount = Annotated[float, Field(ge=0)]
Probability = Annotated[float, Field(ge=0, le=1)]


class _Section(BaseModel):
    """A section of a preset. Its ``_newer`` options came after presets had been stored.

    A newer option is left out of a dump while it has its default, so the content keys of older presets do not move.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)
    _newer: ClassVar[tuple[str, ...]] = ()

    @model_serializer(mode="wrap")
    def _without_newer_defaults(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = dump(self)
        for name in self._newer:
            if getattr(self, name) == type(self).model_fields[name].default:
                values.pop(name, None)
        return values


class VideoPreset(_Section):
    """The picture that the model sees, and the training window."""

    size: Annotated[int, Field(ge=64, multiple_of=16)]  # side of the aligned face crop, pixels
    window_frames: Count  # 4T - 3
    window_stride_frames: Count  # distance between the starts of training windows of one clip
    reference: Literal["random", "first"]  # the reference latent: a random frame of the clip, or latent 0

    @model_validator(mode="after")
    def _whole_latents(self) -> VideoPreset:
        if (self.window_frames + 3) % 4:
            raise ValueError(f"window_frames must be 4T - 3 (9, 33, 81, ...), not {self.window_frames}")
        return self


class BackendsPreset(_Section):
    """The names of the backends, each chosen on its own."""

    codec: Annotated[str, CODECS.choice]
    decoder: Annotated[str, CODECS.choice]
    audio: Annotated[str, AUDIO_ENCODERS.choice]
    text: Annotated[str, TEXT_ENCODERS.choice]
    sync: Annotated[str, SYNC_EXPERTS.choice]

    @model_validator(mode="after")
    def _pair(self) -> BackendsPreset:
        require_pair(self.codec, self.decoder)
        return self


class CodecPreset(_Section):
    """How the block codec is fitted (see ``models.codec.CodecFit``)."""

    num_channels: Count = 16
    motion_weight: Annotated[float, Field(gt=0)]
    whitening: Probability

    def settings(self) -> CodecFit:
        """As the codec takes it."""
        from lipforcing_core.models.codecs.block import CodecFit

        return CodecFit(**self.model_dump())


class ModelPreset(_Section):
    """Hyper-parameters of the transformer (A.1)."""

    dim: Count
    ffn_dim: Count
    num_heads: Count
    num_layers: Annotated[int, Field(ge=4, multiple_of=2)]
    freq_dim: Annotated[int, Field(ge=2, multiple_of=2)]
    text_dim: Count
    text_len: Count
    in_channels: Count
    out_channels: Count
    patch_size: tuple[Count, Count, Count]
    audio_dim: Count
    audio_hidden: Count
    eps: Annotated[float, Field(gt=0)]

    @model_validator(mode="after")
    def _even_heads(self) -> ModelPreset:
        if self.dim % self.num_heads or (self.dim // self.num_heads) % 2:
            raise ValueError(f"dim {self.dim} does not split into {self.num_heads} heads of even width")
        return self

    def config(self) -> DiTConfig:
        """As the transformer takes it."""
        return DiTConfig(**self.model_dump())


class WindowPreset(_Section):
    """Chunks and attention window of the student, in latents (B.1, B.2); the current chunk counts (H.1)."""

    chunk_latents: Count
    window_latents: Count
    sink_latents: Annotated[int, Field(ge=0)]

    @model_validator(mode="after")
    def _fits(self) -> WindowPreset:
        if self.window_latents < self.chunk_latents + self.sink_latents:
            raise ValueError(
                f"window_latents ({self.window_latents}) must hold a chunk ({self.chunk_latents}) and the sink "
                f"({self.sink_latents})"
            )
        return self

    def config(self) -> WindowConfig:
        """As the student takes it."""
        return WindowConfig(**self.model_dump())


class SchedulePreset(_Section):
    """Noise schedule (C.2), student steps (C.4), sync window (C.3), prompt."""

    shift: Annotated[float, Field(ge=1)]
    num_steps: Count
    t_list: tuple[Probability, ...]
    sync_window_start: Annotated[int, Field(ge=0)]
    sync_window_stop: Annotated[int, Field(ge=0)]
    guidance_scale: Annotated[float, Field(ge=1)]
    prompt: str

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


class StageSettings(_Section):
    """Optimisation of one stage. The effective batch is ``batch_size x accumulation``."""

    steps: Count
    batch_size: Count
    accumulation: Count = 1
    learning_rate: Annotated[float, Field(gt=0)]
    lr_schedule: Literal["constant", "cosine"] = "constant"  # cosine falls to a tenth at the last step
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    betas: tuple[Probability, Probability] = (0.9, 0.999)
    weight_decay: Amount
    clip_norm: Annotated[float, Field(gt=0)]
    precision: Literal["fp32", "bf16"]
    seed: int
    checkpoint_every: Count
    ema_decay: Probability | None = (
        None  # the saved weights are their exponential average; None: the last ones
    )
    ema_start: Count = 1  # the update (from 1) whose weights the average starts from

    _newer: ClassVar[tuple[str, ...]] = ("ema_decay", "ema_start")


class TeacherSettings(StageSettings):
    """Flow matching with a weight on the mouth (D.3)."""

    mouth_weight: Annotated[float, Field(gt=0)]
    timestep_weighting: Literal["none", "gaussian"]
    text_dropout: Probability
    audio_dropout: Probability
    sync_weight: Amount = 0.0
    lpips_weight: Amount = 0.0
    trepa_weight: Amount = 0.0

    @model_validator(mode="after")
    def _available(self) -> TeacherSettings:
        for name in ("sync_weight", "lpips_weight", "trepa_weight"):
            if getattr(self, name):
                raise ValueError(
                    f"the auxiliary loss behind {name} is not available in this version; set it to 0"
                )
        return self


class LoraSettings(TeacherSettings):
    """The teacher's low-rank finetune: rank and alpha of the adapter on attention and FFN (D.3)."""

    rank: Count
    alpha: Annotated[float, Field(gt=0)]


class ForcingSettings(StageSettings):
    """Diffusion Forcing pre-training of the student (D.4). ``mouth_weight`` 1 is the published loss.

    ``objective``: ``x0`` is the released code's loss, ``flow`` the paper's.
    """

    mouth_weight: Annotated[float, Field(gt=0)]
    objective: Literal["x0", "flow"] = "x0"

    _newer: ClassVar[tuple[str, ...]] = (*StageSettings._newer, "objective")


class DistillSettings(_Section):
    """Self-Forcing rollout with Sync-Window DMD, critic and reward (D.5).

    ``student.steps`` counts student updates. The critic is updated in every iteration, the student in every
    ``critic_per_student``-th, so the stage has ``student.steps x critic_per_student`` iterations.

    The options after ``teacher_preset`` follow the released code by default:

    guidance: where the teacher is guided, inside the sync window or in one of the ablations. window_edges: ``rounded``
    takes the ends of the window as times of three decimals, ``steps`` (the paper) as the steps themselves.
    critic_objective: the error of x0 or of the velocity. critic_clip_norm: the released code never clips the critic's
    gradient, the paper says 10. critic_accumulation: ``mean`` divides its loss by the number of micro-batches in every
    iteration, ``released`` not in those in which the student is updated too. reward_centre_momentum, reward_clamp:
    what is done to the reward before it weighs anything.
    """

    student: StageSettings
    critic_learning_rate: Annotated[float, Field(gt=0)]
    critic_per_student: Count
    reward_beta: Amount
    reward_weighting: Literal["per_sample", "self_normalized", "legacy_batch_mean"]
    teacher_preset: str | None = None  # a preset whose (larger) teacher is distilled; default: this one's
    guidance: Literal["inside", "outside", "everywhere", "nowhere"] = "inside"
    window_edges: Literal["rounded", "steps"] = "rounded"
    critic_objective: Literal["x0", "flow"] = "x0"
    critic_clip_norm: Annotated[float, Field(gt=0)] | None = None
    critic_accumulation: Literal["released", "mean"] = "released"
    reward_centre_momentum: Probability | None = None
    reward_clamp: Annotated[float, Field(gt=0)] | None = None

    _newer: ClassVar[tuple[str, ...]] = (
        "guidance",
        "window_edges",
        "critic_objective",
        "critic_clip_norm",
        "critic_accumulation",
        "reward_centre_momentum",
        "reward_clamp",
    )

    @model_validator(mode="after")
    def _known_ablation(self) -> DistillSettings:
        if self.window_edges == "steps" and self.guidance != "inside":
            raise ValueError(f"guidance = {self.guidance!r} is available with window_edges = 'rounded' only")
        return self


class Preset(_Section):
    """Everything that one model and its training need. ``base`` is for models without a public base checkpoint."""

    name: str
    summary: str
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

    @model_validator(mode="after")
    def _consistent(self) -> Preset:
        if (self.codec is None) == CODECS[self.backends.codec].is_fitted:
            fitted = " or ".join(repr(entry.name) for entry in CODECS if entry.is_fitted)
            raise ValueError(f"a [codec] section belongs to backends.codec = {fitted} and to no other")
        return self
