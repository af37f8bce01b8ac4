"""The student's chunks against a plain rollout, and bundles that do not fit."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from lipforcing_core.diffusion.samplers import few_step_chunk
from lipforcing_core.errors import BadInputError, IncompatibleCheckpointError
from lipforcing_core.faces.mask import keep_mask, latent_keep_mask
from lipforcing_core.models.causal import CausalStudent
from lipforcing_core.models.conditions import Conditions
from lipforcing_core.streaming.bundle import Bundle, load_bundle
from lipforcing_core.streaming.clock import ChunkClock
from lipforcing_core.streaming.generators import (
    ChunkInput,
    StudentGenerator,
    chunk_rng,
    to_model_range,
    to_pixels,
)
from tests.streaming.helpers import texture


def test_plan_covers_every_length(student: Bundle) -> None:
    generator = StudentGenerator(student)
    assert generator.plan(1) == [9]
    assert generator.plan(9) == [9]
    assert generator.plan(10) == [9, 12]
    assert generator.plan(81) == [9] + [12] * 6


def test_streaming_equals_a_rollout_over_the_whole_clip(student: Bundle) -> None:
    faces = texture(33)[:, :128, :128]
    audio_FD = np.random.default_rng(0).standard_normal((33, 320)).astype(np.float32)
    generator = StudentGenerator(student)
    generator.reset(7)
    streamed, position, clock = [], 0, ChunkClock()
    for size in generator.plan(33):
        chunk = ChunkInput(
            faces=faces[position : position + size], audio_FD=audio_FD[position : position + size]
        )
        streamed.append(generator.generate(chunk, clock))
        generator.commit(clock)
        position += size
    assert np.array_equal(np.concatenate(streamed), _whole_clip(student, faces, audio_FD, seed=7))


@torch.inference_mode()
def _whole_clip(bundle: Bundle, faces: np.ndarray, audio_FD: np.ndarray, seed: int) -> np.ndarray:
    model, codec = bundle.model, bundle.codec
    assert isinstance(model, CausalStudent)
    video = to_model_range(faces)
    plain = codec.encode(video)
    encoded = model.encode_conditions(
        Conditions(
            text_BLD=bundle.text_BLD,
            audio_BND=torch.from_numpy(audio_FD)[None],
            reference_BC1HW=plain[:, :, :1],
            keep_mask_HW=torch.tensor(latent_keep_mask(16, 16)),
            masked_video_BCTHW=codec.encode(video * torch.tensor(keep_mask(128))),
            reference_sequence_BCTHW=plain,
        )
    )
    cache, latents = model.new_cache(1, 16, 16), []
    for index in range(3):
        part = encoded.chunk(3 * index, 3 * index + 3)
        rng = chunk_rng(seed, index)
        noise = torch.randn(1, 16, 3, 16, 16, generator=rng)
        x0 = few_step_chunk(
            model, part, cache, t_list=bundle.preset.schedule.t_list, noise=noise, generator=rng
        )
        model.store_chunk(x0, part, cache)
        latents.append(x0)
    return to_pixels(codec.decode(torch.cat(latents, dim=2)))


def test_noise_depends_on_seed_and_chunk_alone() -> None:
    draw = [torch.randn(4, generator=chunk_rng(s, c)) for s, c in ((1, 0), (1, 0), (1, 1), (2, 0))]
    assert torch.equal(draw[0], draw[1])
    assert not torch.equal(draw[0], draw[2])
    assert not torch.equal(draw[0], draw[3])


def test_pixels_survive_the_model_range() -> None:
    faces = texture(3)[:, :16, :16]
    assert np.array_equal(to_pixels(to_model_range(faces)), faces)


def test_a_folder_that_is_no_bundle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="not a model bundle"):
        load_bundle(tmp_path)


def test_a_damaged_bundle_is_refused(student_folder: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "bundle"
    shutil.copytree(student_folder, damaged)
    with open(damaged / "model.safetensors", "r+b") as stream:
        stream.truncate(1000)
    with pytest.raises(IncompatibleCheckpointError, match="truncated"):
        load_bundle(damaged)
