"""Stage 1: the causal student learns from real latents, every chunk at a noise level of its own (method D.4).

All latents of a chunk share t, drawn from the student's own levels and 0; a chunk at t = 0 is clean
context, as the cache holds it at inference, and gives no gradient since x0_hat - x0 = -t (v_hat - v).
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from lipforcing_core.base.products import content_key, file_sha256
from lipforcing_core.diffusion.schedule import add_noise, x0_from_velocity
from lipforcing_core.models.causal import CausalStudent
from lipforcing_core.presets.schema import ForcingSettings, Preset
from lipforcing_core.runtime.prompts import Prompts
from lipforcing_core.training.checkpoint import TrainState, step_generator
from lipforcing_core.training.common import MODEL_FILE, load_model, save_model, weigh_mouth
from lipforcing_core.training.dataset import Batch, LatentWindows
from lipforcing_core.training.loop import (
    OnStep,
    StageResult,
    compute_precision,
    make_optimiser,
    run_steps,
    train_step,
)

STAGE = "diffusion_forcing"


def pretrain_student(
    preset: Preset,
    data: LatentWindows,
    prompts: Prompts,
    out_dir: Path,
    *,
    init: Path,
    on_step: OnStep | None = None,
) -> StageResult:
    """Train the student from the merged teacher at ``init``; writes ``model.safetensors`` and the metrics."""
    settings = preset.diffusion_forcing
    student = CausalStudent(preset.model.config(), preset.window.config())
    load_model(student, init)
    student.train()
    optimiser = make_optimiser(student, settings)

    def loss_of(micro: int) -> Tensor:
        batch = data.batch(settings.batch_size, settings.seed, micro)
        generator = step_generator(settings.seed, STAGE, micro)
        return forcing_loss(student, batch, prompts, preset, settings, generator)

    key = content_key(
        STAGE, preset.model, preset.window, preset.schedule, settings, data.key, file_sha256(init)
    )
    metrics_path = run_steps(
        STAGE,
        settings.steps,
        TrainState(key=key, modules={"student": student}, optimisers={"student": optimiser}),
        lambda index: train_step(student, optimiser, settings, index, loss_of),
        out_dir,
        checkpoint_every=settings.checkpoint_every,
        on_step=on_step,
    )
    save_model(student, out_dir / MODEL_FILE)
    return StageResult(
        stage=STAGE, steps=settings.steps, model_path=out_dir / MODEL_FILE, metrics_path=metrics_path
    )


def forcing_loss(
    student: CausalStudent,
    batch: Batch,
    prompts: Prompts,
    preset: Preset,
    settings: ForcingSettings,
    generator: torch.Generator,
) -> Tensor:
    """0.5 x the mean squared error of x0_hat (a scalar)."""
    x0 = batch.latents_BCTHW
    t_BT = draw_chunk_levels(len(x0), x0.shape[2], preset, generator)
    x_t = add_noise(x0, torch.randn(x0.shape, generator=generator), t_BT)
    with compute_precision(settings, x_t.device):
        velocity = student.forward_full(
            x_t, t_BT, student.encode_conditions(batch.conditions(prompts.text_BLD))
        )
    error = (x0_from_velocity(x_t, velocity.float(), t_BT) - x0).square()
    return 0.5 * weigh_mouth(error, batch.keep_mask_HW, settings.mouth_weight).mean()


def draw_chunk_levels(size: int, num_latents: int, preset: Preset, generator: torch.Generator) -> Tensor:
    """A noise level per latent ``[B, T]``: uniform over the preset's ``t_list`` (0 included), one per chunk."""
    levels = torch.tensor(preset.schedule.t_list)
    lengths = torch.tensor([stop - start for start, stop in preset.window.config().chunks(num_latents)])
    index = torch.randint(len(levels), (size, len(lengths)), generator=generator)
    return levels[index].repeat_interleave(lengths, dim=1)
