"""The teacher's loss around a given prediction, and everything the network is given, against the reference code."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from lipforcing_core.diffusion.schedule import FlowSchedule
from lipforcing_core.faces.mask import latent_keep_mask
from lipforcing_core.models.conditions import Conditions, EncodedConditions, condition_channels
from lipforcing_core.presets.schema import TeacherSettings
from lipforcing_core.runtime.prompts import Prompts
from lipforcing_core.training.dataset import Batch
from lipforcing_core.training.draws import TeacherDraws, dropped
from lipforcing_core.training.losses.flow import GRID_STEPS, flow_loss
from tests.parity.filler import Vectors
from tests.parity.training.cases import Case, all_cases, vectors_of
from tests.parity.training.standin import stage_settings


@pytest.fixture(scope="module")
def vectors(parity_dir: Path) -> Vectors:
    return vectors_of(parity_dir, "teacher_loss")


class Given:
    """Answers with a given prediction, and keeps what it was asked."""

    def __init__(self, prediction: Tensor) -> None:
        self.prediction = prediction

    def encode_conditions(self, cond: Conditions) -> EncodedConditions:
        self.conditions = cond
        return EncodedConditions(y_BCTHW=None, context_BLD=cond.text_BLD, audio_BPTD=None)

    def __call__(self, x: Tensor, t_B: Tensor, encoded: EncodedConditions) -> Tensor:
        self.x_t, self.t_B = x, t_B
        return self.prediction


def test_loss_and_inputs_of_the_network(vectors: Vectors) -> None:
    for one in all_cases(vectors):
        check(one)


def check(one: Case) -> None:
    config, data = one.config, one.data
    x0 = data["in.latents"]
    keep_mask = latent_keep_mask(*x0.shape[-2:], source=255 * data["in.mask"].numpy().astype(np.float32))
    batch = Batch(
        latents_BCTHW=x0,
        masked_BCTHW=data["in.masked"],
        reference_BC1HW=x0[:, :, :1],
        reference_sequence_BCTHW=data["in.ref_sequence"],
        audio_BND=data["in.audio"],
        waveform_BS=torch.zeros(len(x0), 1),
        keep_mask_HW=torch.from_numpy(keep_mask.copy()),
    )
    assert config["training_steps"] == GRID_STEPS
    schedule = FlowSchedule(shift=config["shift"], num_steps=GRID_STEPS)
    draws = TeacherDraws(
        t_B=schedule.timesteps[data["in.index"]],
        noise_BCTHW=data["in.noise"],
        text_dropped_B=dropped(data["in.text_uniform"], config["text_drop_prob"]),
        audio_dropped_B=dropped(data["in.audio_uniform"], config["audio_drop_prob"]),
    )
    assert draws.text_dropped_B.tolist() == one.settings["text_dropped"]
    assert draws.audio_dropped_B.tolist() == one.settings["audio_dropped"]
    settings = TeacherSettings.model_validate(
        stage_settings(
            mouth_weight=one.settings["mouth_weight"],
            timestep_weighting="gaussian",
            text_dropout=config["text_drop_prob"],
            audio_dropout=config["audio_drop_prob"],
        )
    )
    network = Given(data["in.prediction"].clone().requires_grad_())
    prompts = Prompts(text_BLD=data["in.text"], negative_text_BLD=data["in.empty_text"])
    loss = flow_loss(network, batch, prompts, draws, shift=config["shift"], settings=settings)
    loss.backward()
    one.close(loss, "loss")
    assert network.prediction.grad is not None
    one.close(network.prediction.grad, "grad_prediction")
    one.close(network.x_t, "x_t")
    one.close(1000 * network.t_B, "timestep")
    one.close(network.t_B, "sigma")
    one.close(schedule.loss_weights(network.t_B), "weight")
    one.close(network.conditions.text_BLD, "context")
    assert network.conditions.audio_BND is not None
    one.close(network.conditions.audio_BND, "audio")
    channels = x0.shape[1]
    y = condition_channels(network.conditions, latent_channels=channels, num_channels=3 * channels + 1)
    assert y is not None
    one.close(y, "y")
    one.close(batch.keep_mask_HW, "latent_mask")
    one.done()
