"""Stage 2: distribution matching on the student's own rollouts, guided in the sync window, weighed by reward (D.5).

Three networks: the student (causal, trained), the critic (bidirectional, trained to denoise what the
student makes) and the teacher (bidirectional, frozen). The difference of critic and teacher on a noised
rollout is the gradient.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from lipforcing_core.base.products import content_key, file_sha256
from lipforcing_core.diffusion.guidance import guided_velocity
from lipforcing_core.diffusion.schedule import add_noise, x0_from_velocity
from lipforcing_core.models.causal import CausalStudent
from lipforcing_core.models.wan import WanTransformer
from lipforcing_core.presets.load import load_preset
from lipforcing_core.presets.schema import ModelPreset, Preset
from lipforcing_core.runtime.prompts import Prompts
from lipforcing_core.training.checkpoint import TrainState, step_generator
from lipforcing_core.training.common import MODEL_FILE, load_model, save_model
from lipforcing_core.training.dataset import Batch, LatentWindows
from lipforcing_core.training.loop import (
    OnStep,
    StageResult,
    accumulate,
    compute_precision,
    learning_rate_factor,
    make_optimiser,
    run_steps,
    update,
)
from lipforcing_core.training.reward import RewardModel, reward_loss
from lipforcing_core.training.rollout import roll_out

STAGE = "distill"
_EPSILON = 1e-6


@dataclass(frozen=True, kw_only=True)
class Networks:
    """The three networks of the stage."""

    student: CausalStudent
    critic: WanTransformer
    teacher: WanTransformer


def distill_student(
    preset: Preset,
    data: LatentWindows,
    prompts: Prompts,
    out_dir: Path,
    *,
    student_init: Path,
    teacher_init: Path,
    reward: RewardModel,
    critic_init: Path | None = None,
    on_step: OnStep | None = None,
) -> StageResult:
    """Distil the teacher at ``teacher_init`` into the student at ``student_init``; the critic starts as the teacher.

    Every iteration updates the critic, every ``critic_per_student``-th one the student as well. Writes the
    student's ``model.safetensors`` and the metrics; a killed run continues exactly.
    """
    settings = preset.distill
    critic_init = critic_init or teacher_init
    networks = Networks(
        student=CausalStudent(preset.model.config(), preset.window.config()),
        critic=WanTransformer(preset.model.config()),
        teacher=WanTransformer(_teacher_size(preset).config()).requires_grad_(False),
    )
    load_model(networks.student, student_init)
    load_model(networks.critic, critic_init)
    load_model(networks.teacher, teacher_init)
    optimisers = {
        "student": make_optimiser(networks.student, settings.student),
        "critic": make_optimiser(networks.critic, settings.student, settings.critic_learning_rate),
    }

    def step(index: int) -> Mapping[str, float]:
        values = _critic_step(preset, data, prompts, networks, optimisers["critic"], index)
        if (index + 1) % settings.critic_per_student == 0:
            student_index = index // settings.critic_per_student
            values |= _student_step(
                preset, data, prompts, networks, reward, optimisers["student"], student_index
            )
        return values

    key = content_key(
        STAGE, preset.model, preset.window, preset.schedule, settings, data.key,
        file_sha256(student_init), file_sha256(teacher_init), file_sha256(critic_init), reward.backend_id,
    )  # fmt: skip
    num_iterations = settings.student.steps * settings.critic_per_student
    metrics_path = run_steps(
        STAGE,
        num_iterations,
        TrainState(
            key=key, modules={"student": networks.student, "critic": networks.critic}, optimisers=optimisers
        ),
        step,
        out_dir,
        checkpoint_every=settings.student.checkpoint_every,
        on_step=on_step,
    )
    save_model(networks.student, out_dir / MODEL_FILE)
    return StageResult(
        stage=STAGE, steps=num_iterations, model_path=out_dir / MODEL_FILE, metrics_path=metrics_path
    )


def critic_loss(
    networks: Networks, batch: Batch, prompts: Prompts, preset: Preset, generator: torch.Generator
) -> Tensor:
    """Mean squared x0 error of the critic on a noised rollout of the student (no guidance)."""
    conditions = batch.conditions(prompts.text_BLD)
    with compute_precision(preset.distill.student, batch.latents_BCTHW.device):
        rollout = roll_out(
            networks.student, conditions, t_list=preset.schedule.t_list, generator=generator, with_grad=False
        )
    t_B, x_t = _noised(rollout, preset, generator)
    x0 = _predict(networks.critic, x_t, t_B, batch, prompts, preset)
    return (x0 - rollout).square().mean()


def matching_loss(
    networks: Networks, batch: Batch, prompts: Prompts, preset: Preset, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """The Sync-Window DMD loss of each sample ``[B]``, and the rollout ``[B, C, T, H, W]`` it is about.

    Its gradient with respect to the rollout is (critic - teacher) / (n x numel), n = mean|rollout - teacher|.
    """
    conditions = batch.conditions(prompts.text_BLD)
    with compute_precision(preset.distill.student, batch.latents_BCTHW.device):
        rollout = roll_out(
            networks.student, conditions, t_list=preset.schedule.t_list, generator=generator, with_grad=True
        )
    with torch.no_grad():
        t_B, x_t = _noised(rollout, preset, generator)
        fake = _predict(networks.critic, x_t, t_B, batch, prompts, preset)
        real = guided_prediction(networks.teacher, x_t, t_B, batch, prompts, preset)
        size = (rollout - real).abs().mean(dim=(1, 2, 3, 4)) + _EPSILON
        target = rollout - (fake - real) / size.view(-1, 1, 1, 1, 1)
    return 0.5 * (rollout - target).square().mean(dim=(1, 2, 3, 4)), rollout


def guided_prediction(
    teacher: WanTransformer, x_t: Tensor, t_B: Tensor, batch: Batch, prompts: Prompts, preset: Preset
) -> Tensor:
    """The teacher's x0, guided inside the sync window only (method D.5, step 4.3).

    The unconditional side has the empty prompt and no audio; its pass is made for the samples inside the window
    alone, which changes nothing in the result.
    """
    conditions = batch.conditions(prompts.text_BLD)
    with compute_precision(preset.distill.student, x_t.device):
        velocity = guided_velocity(
            teacher,
            x_t,
            t_B,
            teacher.encode_conditions(conditions),
            teacher.encode_conditions(conditions.null(prompts.negative_text_BLD)),
            preset.schedule.sync_window().scale(t_B),
        )
    return x0_from_velocity(x_t, velocity.float(), t_B)


def _predict(
    model: WanTransformer, x_t: Tensor, t_B: Tensor, batch: Batch, prompts: Prompts, preset: Preset
) -> Tensor:
    """The critic's x0, never guided."""
    with compute_precision(preset.distill.student, x_t.device):
        velocity = model(x_t, t_B, model.encode_conditions(batch.conditions(prompts.text_BLD)))
    return x0_from_velocity(x_t, velocity.float(), t_B)


def _noised(rollout: Tensor, preset: Preset, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A noise level per sample (C.3) and the rollout at that level, cut from its graph."""
    t_B = preset.schedule.flow().sample_t(len(rollout), generator)
    noise = torch.randn(rollout.shape, generator=generator)
    return t_B, add_noise(rollout.detach(), noise, t_B)


def _teacher_size(preset: Preset) -> ModelPreset:
    name = preset.distill.teacher_preset
    return preset.model if name is None else load_preset(name).model


def _critic_step(
    preset: Preset,
    data: LatentWindows,
    prompts: Prompts,
    networks: Networks,
    optimiser: torch.optim.Optimizer,
    index: int,
) -> dict[str, float]:
    settings = preset.distill.student

    def loss_of(micro: int) -> Tensor:
        batch = data.batch(settings.batch_size, settings.seed, micro)
        generator = step_generator(settings.seed, f"{STAGE}/critic", micro)
        return critic_loss(networks, batch, prompts, preset, generator)

    loss = accumulate(settings, index, loss_of)
    rate = preset.distill.critic_learning_rate
    norm = update(optimiser, networks.critic, learning_rate=rate, clip_norm=settings.clip_norm)
    return {"critic_loss": loss, "critic_grad_norm": norm}


def _student_step(
    preset: Preset,
    data: LatentWindows,
    prompts: Prompts,
    networks: Networks,
    reward: RewardModel,
    optimiser: torch.optim.Optimizer,
    index: int,
) -> dict[str, float]:
    settings, total, rewards = preset.distill.student, 0.0, []
    for part in range(settings.accumulation):
        micro = index * settings.accumulation + part
        batch = data.batch(settings.batch_size, settings.seed + 1, micro)
        generator = step_generator(settings.seed, f"{STAGE}/student", micro)
        loss_B, rollout = matching_loss(networks, batch, prompts, preset, generator)
        reward_B = reward.score(rollout.detach(), batch.waveform_BS)
        weighted = reward_loss(
            loss_B, reward_B, beta=preset.distill.reward_beta, weighting=preset.distill.reward_weighting
        )
        (weighted / settings.accumulation).backward()
        total += loss_B.mean().item() / settings.accumulation
        rewards.append(reward_B)
    rate = settings.learning_rate * learning_rate_factor(settings, index)
    norm = update(optimiser, networks.student, learning_rate=rate, clip_norm=settings.clip_norm)
    return {
        "student_loss": total,
        "student_grad_norm": norm,
        "reward": torch.cat(rewards).mean().item(),
        "learning_rate": rate,
    }
