"""Stage 2: distribution matching on the student's own rollouts, guided in the sync window, weighed by reward (D.5).

Three networks: the student (causal, trained), the critic (bidirectional, trained to denoise what the
student makes) and the teacher (bidirectional, frozen).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

from lipforcing_core.diffusion.schedule import FlowSchedule, GuidanceLaw, SyncWindow
from lipforcing_core.models.causal import CausalStudent
from lipforcing_core.models.wan import WanTransformer
from lipforcing_core.presets.load import load_preset
from lipforcing_core.presets.schema import DistillSettings, ModelPreset, Preset, WindowPreset
from lipforcing_core.runtime.prompts import Prompts
from lipforcing_core.training.checkpoint import Stateful, TrainState
from lipforcing_core.training.draws import RoleDraws, role_draws, step_generator
from lipforcing_core.training.iteration import Distilled, MicroBatch, distill_iteration
from lipforcing_core.training.loop import OnStep, StageResult, run_steps
from lipforcing_core.training.model_file import load_model
from lipforcing_core.training.optimisation import learning_rate_factor, make_optimiser
from lipforcing_core.training.reward_weights import RewardScale, weighs_together
from lipforcing_core.training.stages.alone import average_of, finish, run_key
from lipforcing_core.training.stages.protocol import StageInputs
from lipforcing_core.training.strategies.protocol import Strategy
from lipforcing_core.training.strategies.workers import share

STUDENT, TEACHER, CRITIC = "student", "teacher", "critic"
"""The names of the weights that the stage starts from."""


@dataclass(frozen=True, kw_only=True)
class Distillation:
    """Distils the teacher into the student by Self-Forcing rollouts, Sync-Window DMD and reward.

    teacher_model: the teacher may be larger than student and critic. sync_window: its first and last step.
    """

    name: ClassVar[str] = "distill"
    starts_from: ClassVar[tuple[str, ...]] = (STUDENT, TEACHER, CRITIC)

    model: ModelPreset
    teacher_model: ModelPreset
    window: WindowPreset
    text: str
    prompt: str
    shift: float
    grid_steps: int
    t_list: tuple[float, ...]
    sync_window: tuple[int, int]
    guidance_scale: float
    settings: DistillSettings

    @classmethod
    def of(cls, preset: Preset) -> Distillation:
        """The stage that a preset describes."""
        schedule, teacher = preset.schedule, preset.distill.teacher_preset
        return cls(
            model=preset.model,
            teacher_model=preset.model if teacher is None else load_preset(teacher).model,
            window=preset.window,
            text=preset.backends.text,
            prompt=schedule.prompt,
            shift=schedule.shift,
            grid_steps=schedule.num_steps,
            t_list=schedule.t_list,
            sync_window=(schedule.sync_window_start, schedule.sync_window_stop),
            guidance_scale=schedule.guidance_scale,
            settings=preset.distill.model_copy(update={"teacher_preset": None}),
        )

    @property
    def version(self) -> int:
        """3 also where micro-batches cannot weigh each other: what they then give has not changed since."""
        settings = self.settings
        together = weighs_together(
            settings.reward_weighting, centres=settings.reward_centre_momentum is not None
        )
        return 4 if together and settings.student.accumulation > 1 else 3

    @property
    def num_steps(self) -> int:
        """One step an iteration: an update of the critic, and in some of the student too."""
        return self.settings.student.steps * self.settings.critic_per_student

    def guidance(self) -> GuidanceLaw:
        """Where the teacher is guided."""
        start, stop = self.sync_window
        schedule = FlowSchedule(shift=self.shift, num_steps=self.grid_steps)
        window = SyncWindow(
            start_step=start, stop_step=stop, guidance_scale=self.guidance_scale, schedule=schedule
        )
        return window if self.settings.window_edges == "steps" else window.rounded(self.settings.guidance)

    def run(
        self, inputs: StageInputs, out_dir: Path, *, strategy: Strategy, on_step: OnStep | None = None
    ) -> StageResult:
        """As for every stage; the inputs hold a reward."""
        settings, reward = self.settings, inputs.reward
        assert reward is not None, "the distillation weighs its losses by a reward"
        state, guidance = self._build(inputs, strategy), self.guidance()
        prompts = inputs.prompts_on(strategy.device)
        average = average_of(state.student, settings.student)

        def step(index: int) -> Mapping[str, float]:
            trains_student = (index + 1) % settings.critic_per_student == 0
            update, rate = index // settings.critic_per_student, None
            if trains_student:
                rate = settings.student.learning_rate * learning_rate_factor(settings.student, update)
            values = distill_iteration(
                state,
                self._micro_batches(inputs, prompts, strategy, state.student, index, trains_student),
                negative_text_BLD=prompts.negative_text_BLD,
                settings=settings,
                t_list=self.t_list,
                guidance=guidance,
                reward=reward,
                strategy=strategy,
                student_rate=rate,
            )
            if trains_student and average is not None:
                average.follow(state.student, update + 1)
            return values

        others: dict[str, Stateful] = {"reward_scale": state.reward_scale}
        if average is not None:
            others["average"] = average
        metrics_path = run_steps(
            self.name,
            self.num_steps,
            TrainState(
                key=run_key(self, inputs),
                strategy=strategy,
                modules={STUDENT: state.student, CRITIC: state.critic},
                optimisers={STUDENT: state.student_optimiser, CRITIC: state.critic_optimiser},
                others=others,
            ),
            step,
            out_dir,
            checkpoint_every=settings.student.checkpoint_every,
            on_step=on_step,
        )
        if average is not None:
            average.put_into(state.student)
        return finish(self, state.student, out_dir, metrics_path, strategy)

    def _build(self, inputs: StageInputs, strategy: Strategy) -> Distilled:
        settings, init = self.settings, inputs.init
        precision, recompute = settings.student.precision, settings.student.recompute
        student = strategy.build(
            partial(CausalStudent, self.model.config(), self.window.config()),
            partial(load_model, path=init[STUDENT]),
            trained=True,
            precision=precision,
            recompute=recompute,
        )
        critic = strategy.build(
            partial(WanTransformer, self.model.config()),
            partial(load_model, path=init[CRITIC]),
            trained=True,
            precision=precision,
            recompute=recompute,
        )
        teacher = strategy.build(
            partial(WanTransformer, self.teacher_model.config()),
            partial(load_model, path=init[TEACHER]),
            trained=False,
            precision=precision,
        )
        return Distilled(
            student=student,
            critic=critic,
            teacher=teacher,
            student_optimiser=make_optimiser(student, settings.student),
            critic_optimiser=make_optimiser(critic, settings.student, settings.critic_learning_rate),
            reward_scale=RewardScale(
                centre_momentum=settings.reward_centre_momentum, clamp=settings.reward_clamp
            ),
        )

    def _micro_batches(
        self,
        inputs: StageInputs,
        prompts: Prompts,
        strategy: Strategy,
        student: CausalStudent,
        index: int,
        trains_student: bool,
    ) -> Iterator[MicroBatch]:
        """This worker's batches of iteration ``index`` (from 0) with the draws of both roles, one after the other."""
        settings = self.settings.student
        schedule = FlowSchedule(shift=self.shift, num_steps=self.grid_steps)

        def draws(role: str, micro: int, shape: Sequence[int]) -> RoleDraws:
            return role_draws(
                step_generator(settings.seed, f"{self.name}/{role}", micro),
                shape,
                chunks=student.chunks(shape[2]),
                num_calls=len(self.t_list) - 1,
                schedule=schedule,
            ).to(strategy.device)

        for part in share(settings.accumulation, strategy.workers):
            micro = index * settings.accumulation + part.number
            batch = inputs.data.batch(settings.batch_size, settings.seed, micro).to(strategy.device)
            shape = batch.latents_BCTHW.shape
            yield MicroBatch(
                part=part,
                conditions=batch.conditions(prompts.text_BLD),
                waveform_BS=batch.waveform_BS,
                critic=draws(CRITIC, micro, shape),
                student=draws(STUDENT, micro, shape) if trains_student else None,
            )
