"""The teacher: flow matching with a mouth weight, for all weights (base) or a low-rank adapter (LoRA).

L = w(t) mean( M (v - (eps - x0))^2 ) with M = ``mouth_weight`` inside the latent mask (method D.3). For
guidance the text is replaced by the empty prompt and the audio by zeros, independently and per sample.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from lipforcing_core.base.products import content_key, file_sha256
from lipforcing_core.diffusion.schedule import FlowSchedule, add_noise
from lipforcing_core.models.lora import inject_lora, merge_lora
from lipforcing_core.models.wan import WanTransformer
from lipforcing_core.presets.schema import LoraSettings, Preset, TeacherSettings
from lipforcing_core.runtime.prompts import Prompts
from lipforcing_core.training.checkpoint import TrainState, step_generator
from lipforcing_core.training.common import MODEL_FILE, load_model, save_model, weigh_mouth
from lipforcing_core.training.dataset import Batch, LatentWindows
from lipforcing_core.training.initial import start_at_reference
from lipforcing_core.training.loop import (
    OnStep,
    StageResult,
    compute_precision,
    make_optimiser,
    run_steps,
    train_step,
)

FULLY_TRAINED = ("audio_proj", "audio_cond_projs", "patch_embedding")
_GRID_STEPS = 1000


def train_base(
    preset: Preset, data: LatentWindows, prompts: Prompts, out_dir: Path, *, on_step: OnStep | None = None
) -> StageResult:
    """Train every weight from a seeded initialisation: the stage that stands for a public base checkpoint.

    Writes ``model.safetensors`` and ``metrics.jsonl`` into ``out_dir``; a killed run continues exactly.
    """
    settings = preset.base
    assert settings is not None, "the caller asks for a base stage only where the preset has one"
    model = start_at_reference(WanTransformer(preset.model.config()), settings.seed)
    key = content_key("base", preset.model, preset.schedule, settings, data.key)
    return _train("base", settings, preset, model, data, prompts, out_dir, key, on_step)


def train_lora(
    preset: Preset,
    data: LatentWindows,
    prompts: Prompts,
    out_dir: Path,
    *,
    init: Path,
    on_step: OnStep | None = None,
) -> StageResult:
    """Finetune the base at ``init`` and merge the adapter into the weights that are written.

    Low rank on attention and FFN; audio and patch embedding are trained fully; the rest is frozen (D.3).
    """
    settings = preset.lora
    model = WanTransformer(preset.model.config())
    load_model(model, init)
    inject_lora(
        model,
        rank=settings.rank,
        alpha=settings.alpha,
        also_train=FULLY_TRAINED,
        generator=torch.Generator().manual_seed(settings.seed),
    )
    key = content_key("lora", preset.model, preset.schedule, settings, data.key, file_sha256(init))
    return _train("lora", settings, preset, model, data, prompts, out_dir, key, on_step)


def flow_loss(
    model: WanTransformer,
    batch: Batch,
    prompts: Prompts,
    preset: Preset,
    settings: TeacherSettings,
    generator: torch.Generator,
) -> Tensor:
    """The training loss of one batch (a scalar)."""
    x0 = batch.latents_BCTHW
    size = len(x0)
    t_B = preset.schedule.flow().sample_t(size, generator)
    noise = torch.randn(x0.shape, generator=generator)
    without_text = torch.rand(size, generator=generator) < settings.text_dropout
    without_audio = torch.rand(size, generator=generator) < settings.audio_dropout
    text_BLD = torch.where(without_text.view(-1, 1, 1), prompts.negative_text_BLD, prompts.text_BLD)
    batch = batch.silenced(without_audio)
    x_t = add_noise(x0, noise, t_B)
    with compute_precision(settings, x_t.device):
        velocity = model(x_t, t_B, model.encode_conditions(batch.conditions(text_BLD)))
    error = (velocity.float() - (noise - x0)).square()
    weight_B = torch.ones_like(t_B)
    if settings.timestep_weighting == "gaussian":
        weight_B = FlowSchedule(shift=preset.schedule.shift, num_steps=_GRID_STEPS).loss_weights(t_B)
    return (weight_B * weigh_mouth(error, batch.keep_mask_HW, settings.mouth_weight)).mean()


def _train(
    stage: str,
    settings: TeacherSettings,
    preset: Preset,
    model: WanTransformer,
    data: LatentWindows,
    prompts: Prompts,
    out_dir: Path,
    key: str,
    on_step: OnStep | None,
) -> StageResult:
    model.train()
    optimiser = make_optimiser(model, settings)

    def loss_of(micro: int) -> Tensor:
        batch = data.batch(settings.batch_size, settings.seed, micro)
        generator = step_generator(settings.seed, stage, micro)
        return flow_loss(model, batch, prompts, preset, settings, generator)

    state = TrainState(key=key, modules={"model": model}, optimisers={"model": optimiser})
    metrics_path = run_steps(
        stage,
        settings.steps,
        state,
        lambda index: train_step(model, optimiser, settings, index, loss_of),
        out_dir,
        checkpoint_every=settings.checkpoint_every,
        on_step=on_step,
    )
    if isinstance(settings, LoraSettings):
        merge_lora(model)
    save_model(model, out_dir / MODEL_FILE)
    return StageResult(
        stage=stage, steps=settings.steps, model_path=out_dir / MODEL_FILE, metrics_path=metrics_path
    )
