"""Settings of the training stages: base, LoRA teacher, Diffusion Forcing, distillation (method D)."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import model_validator

from lipforcing_core.base.describe import meaning
from lipforcing_core.presets.section import Amount, Count, NotNegative, Positive, Probability, Section

MouthWeight = Annotated[
    Positive, meaning("Weight of the loss inside the mouth mask, against 1 outside.", "factor")
]


class StageSettings(Section):
    """Optimisation of one stage. The effective batch is ``batch_size x accumulation``."""

    steps: Annotated[Count, meaning("Updates of the weights.", "updates")]
    batch_size: Annotated[Count, meaning("Training windows in one micro-batch.", "windows")]
    accumulation: Annotated[
        Count, meaning("Micro-batches whose gradients are averaged for one update.", "micro-batches")
    ] = 1
    learning_rate: Annotated[Positive, meaning("Learning rate of AdamW after the warm-up.", "per update")]
    lr_schedule: Annotated[
        Literal["constant", "cosine"],
        meaning("What the learning rate does after the warm-up; cosine falls to a tenth at the last step."),
    ] = "constant"
    warmup_steps: Annotated[
        NotNegative, meaning("Updates over which the learning rate rises from nothing.", "updates")
    ] = 0
    betas: Annotated[
        tuple[Probability, Probability],
        meaning("Decay of AdamW's averages of the gradient and of its square.", "per update"),
    ] = (0.9, 0.999)
    weight_decay: Annotated[Amount, meaning("Weight decay of AdamW.", "per update, times the learning rate")]
    clip_norm: Annotated[
        Positive, meaning("Largest norm of the gradient; a longer one is shortened.", "norm")
    ]
    precision: Annotated[
        Literal["fp32", "bf16"], meaning("Type of the computation; weights of the optimiser stay fp32.")
    ]
    seed: Annotated[int, meaning("Seed of all random draws of the stage.")]
    checkpoint_every: Annotated[
        Count, meaning("Updates between two states from which a killed run goes on.", "updates")
    ]
    ema_decay: Annotated[
        Probability | None,
        meaning(
            "Decay of the average of the weights that is saved; without it the last weights are.",
            "per update",
        ),
    ] = None
    ema_start: Annotated[
        Count, meaning("The update (from 1) whose weights the average starts from.", "updates")
    ] = 1

    recompute: Annotated[
        bool,
        meaning(
            "Compute the inside of every block again in the backward pass instead of keeping it: less memory, about a "
            "third more time, the same result."
        ),
    ] = False

    _newer: ClassVar[tuple[str, ...]] = ("ema_decay", "ema_start", "recompute")


class TeacherSettings(StageSettings):
    """Flow matching with a weight on the mouth (D.3)."""

    mouth_weight: MouthWeight
    timestep_weighting: Annotated[
        Literal["none", "gaussian"],
        meaning("Weight of the loss by noise level: none, or a bell around the middle of the schedule."),
    ]
    text_dropout: Annotated[
        Probability, meaning("Share of samples that see the empty prompt.", "share, 0 to 1")
    ]
    audio_dropout: Annotated[Probability, meaning("Share of samples that hear silence.", "share, 0 to 1")]
    sync_weight: Annotated[
        Amount, meaning("Weight of an auxiliary sync loss; 0: none, and none is available yet.", "factor")
    ] = 0.0
    lpips_weight: Annotated[
        Amount, meaning("Weight of an auxiliary LPIPS loss; 0: none, and none is available yet.", "factor")
    ] = 0.0
    trepa_weight: Annotated[
        Amount, meaning("Weight of an auxiliary TREPA loss; 0: none, and none is available yet.", "factor")
    ] = 0.0

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

    rank: Annotated[Count, meaning("Rank of the adapter's matrices.")]
    alpha: Annotated[Positive, meaning("The adapter is scaled by alpha / rank.")]


class ForcingSettings(StageSettings):
    """Diffusion Forcing pre-training of the student (D.4). ``mouth_weight`` 1 is the published loss."""

    mouth_weight: MouthWeight
    objective: Annotated[
        Literal["x0", "flow"],
        meaning(
            "What the loss measures: the error of x0 (the released code) or of the velocity (the paper)."
        ),
    ] = "x0"

    _newer: ClassVar[tuple[str, ...]] = (*StageSettings._newer, "objective")


class DistillSettings(Section):
    """Self-Forcing rollout with Sync-Window DMD, critic and reward (D.5).

    ``student.steps`` counts student updates. The critic is updated in every iteration, the student in every
    ``critic_per_student``-th, so the stage has ``student.steps x critic_per_student`` iterations, and
    ``student.checkpoint_every`` counts these. The critic is trained with the batches, precision and optimiser of the
    student, but for its learning rate and its clipping. The options after ``teacher_preset`` follow the released code
    by default.
    """

    student: StageSettings
    critic_learning_rate: Annotated[Positive, meaning("Learning rate of the critic.", "per update")]
    critic_per_student: Annotated[Count, meaning("Critic updates for every student update.", "updates")]
    reward_beta: Annotated[
        Amount, meaning("Strength of the sync reward R in the weight exp(beta R); 0 switches it off.")
    ]
    reward_weighting: Annotated[
        Literal["per_sample", "self_normalized", "legacy_batch_mean"],
        meaning(
            "per_sample is the published mean(w L), with unbounded weights; self_normalized is sum(w L) / sum(w), "
            "over the whole effective batch; legacy_batch_mean is mean(w) mean(L) of each micro-batch."
        ),
    ]
    teacher_preset: Annotated[
        str | None, meaning("Preset whose (larger) teacher is distilled; without it this one's.")
    ] = None
    guidance: Annotated[
        Literal["inside", "outside", "everywhere", "nowhere"],
        meaning("Where the teacher is guided: inside the sync window, or as in one of the ablations."),
    ] = "inside"
    window_edges: Annotated[
        Literal["rounded", "steps"],
        meaning(
            "Ends of the window: times of three decimals (the released code), or steps themselves (the paper)."
        ),
    ] = "rounded"
    critic_objective: Annotated[
        Literal["x0", "flow"], meaning("What the critic's loss measures: the error of x0 or of the velocity.")
    ] = "x0"
    critic_clip_norm: Annotated[
        Positive | None,
        meaning(
            "Largest norm of the critic's gradient; without it it is never clipped. The paper says 10.",
            "norm",
        ),
    ] = None
    critic_accumulation: Annotated[
        Literal["released", "mean"],
        meaning(
            "How the critic's loss is accumulated: mean divides it by the micro-batches in every iteration; "
            "released does not where the student is updated too."
        ),
    ] = "released"
    reward_centre_momentum: Annotated[
        Probability | None,
        meaning(
            "Momentum of the running mean that is taken off the reward; without it nothing is.", "per update"
        ),
    ] = None
    reward_clamp: Annotated[
        Positive | None, meaning("The reward is clamped to plus or minus this; without it it is not.")
    ] = None

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
