"""The student's chunks against a plain rollout, and bundles that do not fit."""

from __future__ import annotations

import copy
import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lipforcing_core.base.errors import BadInputError, IncompatibleCheckpointError
from lipforcing_core.base.ledger import Stage
from lipforcing_core.diffusion.samplers import few_step_chunk
from lipforcing_core.faces.mask import keep_mask, latent_keep_mask
from lipforcing_core.models.causal import CausalStudent
from lipforcing_core.models.codecs.block import BlockCodec
from lipforcing_core.models.conditions import Conditions
from lipforcing_core.runtime.bundle import Bundle, load_bundle
from lipforcing_core.streaming import generators
from lipforcing_core.streaming.clock import ChunkClock
from lipforcing_core.streaming.generators import (
    ChunkInput,
    StudentGenerator,
    TeacherGenerator,
    chunk_rng,
    load_generator,
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
    faces, audio_FD = _inputs()
    assert np.array_equal(_streamed(student), _whole_clip(student, faces, audio_FD, seed=7))


def _inputs() -> tuple[np.ndarray, np.ndarray]:
    """33 faces and their sound."""
    audio_FD = np.random.default_rng(0).standard_normal((33, 320)).astype(np.float32)
    return texture(33)[:, :128, :128], audio_FD


def _streamed(bundle: Bundle, seed: int = 7) -> np.ndarray:
    """What the bundle's generator makes of ``_inputs``, chunk by chunk."""
    faces, audio_FD = _inputs()
    generator = load_generator(bundle)
    generator.reset(seed)
    frames, position, clock = [], 0, ChunkClock()
    for size in generator.plan(33):
        stretch = slice(position, position + size)
        frames.append(generator.generate(ChunkInput(faces=faces[stretch], audio_FD=audio_FD[stretch]), clock))
        generator.commit(clock)
        position += size
    return np.concatenate(frames)


def _moved(bundle: Bundle, where: torch.device | torch.dtype) -> Bundle:
    """The bundle with a copy of its model there; its codec goes along to a device."""
    model = copy.deepcopy(bundle.model).to(where)
    codec = bundle.codec
    if isinstance(where, torch.device):
        assert isinstance(codec, BlockCodec)
        codec = codec.to(where)
    return replace(bundle, model=model, codec=codec)


@pytest.mark.parametrize("kind", ["student", "teacher"])
def test_a_bfloat16_model_differs_by_rounding_alone(kind: str, request: pytest.FixtureRequest) -> None:
    bundle: Bundle = request.getfixturevalue(kind)
    expected = _streamed(bundle).astype(float)
    got = _streamed(_moved(bundle, torch.bfloat16))
    error = np.abs(got - expected).mean()
    assert 0 < error < 0.02 * np.abs(_streamed(bundle, seed=8) - expected).mean()


def test_only_the_network_of_a_bfloat16_model_computes_in_bfloat16(
    student: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    types = []

    def recorded(model: CausalStudent, *arguments: Any, noise: torch.Tensor, **options: Any) -> torch.Tensor:
        x0 = few_step_chunk(model, *arguments, noise=noise, **options)
        types.append((model.patch_embedding.weight.dtype, noise.dtype, x0.dtype))
        return x0

    monkeypatch.setattr(generators, "few_step_chunk", recorded)
    _streamed(_moved(student, torch.bfloat16))
    assert types == [(torch.bfloat16, torch.float32, torch.float32)] * 3


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("kind", ["student", "teacher"])
def test_a_gpu_gives_the_same_frames(kind: str, request: pytest.FixtureRequest) -> None:
    bundle: Bundle = request.getfixturevalue(kind)
    expected = _streamed(bundle).astype(float)
    assert np.abs(_streamed(_moved(bundle, torch.device("cuda"))) - expected).mean() < 0.5


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


@torch.inference_mode()
def test_the_teacher_s_windows_are_guided_euler_steps(teacher: Bundle) -> None:
    """Two windows of 33 frames, each from its own noise and nothing of the other; Euler written out."""
    faces, audio_FD = _inputs()
    generator, clock = load_generator(teacher), ChunkClock()
    assert isinstance(generator, TeacherGenerator)
    generator.reset(5)
    found = [generator.generate(ChunkInput(faces=faces, audio_FD=audio_FD), clock) for _ in range(2)]
    generator.commit(clock)
    assert set(clock.finished(33).stage_s) == {Stage.ENCODE, Stage.DENOISE, Stage.DECODE}

    model, codec, schedule = teacher.model, teacher.codec, teacher.preset.schedule
    video = to_model_range(faces)
    plain = codec.encode(video)
    given = Conditions(
        text_BLD=teacher.text_BLD,
        audio_BND=torch.from_numpy(audio_FD)[None],
        reference_BC1HW=plain[:, :, :1],
        keep_mask_HW=torch.tensor(latent_keep_mask(16, 16)),
        masked_video_BCTHW=codec.encode(video * torch.tensor(keep_mask(128))),
        reference_sequence_BCTHW=plain,
    )
    silent = replace(given, text_BLD=teacher.negative_text_BLD, audio_BND=torch.zeros_like(given.audio_BND))
    encoded, unconditional = model.encode_conditions(given), model.encode_conditions(silent)
    assert schedule.guidance_scale != 1
    for index in range(2):
        x = torch.randn(plain.shape, generator=chunk_rng(5, index))
        for now, after in pairwise(schedule.flow().timesteps.tolist()):
            t = torch.tensor([now], dtype=torch.float64)
            without, toward = model(x, t, unconditional), model(x, t, encoded)
            x = x + (without + schedule.guidance_scale * (toward - without)) * (after - now)
        want = to_pixels(codec.decode(x)).astype(int)
        assert np.abs(found[index] - want).max() <= 1
    assert np.abs(found[0].astype(int) - found[1]).mean() > 1
    generator.reset(5)
    again = generator.generate(ChunkInput(faces=faces, audio_FD=audio_FD), clock)
    assert np.array_equal(again, found[0])


@pytest.mark.parametrize(("num_frames", "windows"), [(1, 1), (33, 1), (34, 2), (66, 2), (67, 3)])
def test_the_teacher_plans_whole_windows(teacher: Bundle, num_frames: int, windows: int) -> None:
    assert load_generator(teacher).plan(num_frames) == [33] * windows


def test_generators_need_their_own_kind_of_bundle(student: Bundle, teacher: Bundle) -> None:
    assert isinstance(load_generator(student), StudentGenerator)
    for kind, other in (
        (StudentGenerator, teacher),
        (TeacherGenerator, replace(student, model=torch.nn.Identity())),
    ):
        with pytest.raises(TypeError, match=r"needs a (student|teacher) bundle"):
            kind(other)


def test_a_student_starts_from_seed_0_and_stores_a_chunk_once(student: Bundle) -> None:
    faces, audio_FD = _inputs()
    chunk = ChunkInput(faces=faces[:9], audio_FD=audio_FD[:9])
    generator, clock = StudentGenerator(student), ChunkClock()
    generator.commit(clock)  # nothing to keep yet
    assert clock.finished(9).stage_s == {}
    first = generator.generate(chunk, clock)
    assert set(clock.finished(9).stage_s) == {Stage.ENCODE, Stage.DENOISE, Stage.DECODE}
    generator.commit(clock)
    seconds = clock.finished(9).stage_s[Stage.STORE]
    generator.commit(clock)
    assert clock.finished(9).stage_s[Stage.STORE] == seconds > 0
    later = ChunkInput(faces=faces[9:21], audio_FD=audio_FD[9:21])
    second = generator.generate(later, clock)
    generator.reset(0)
    assert np.array_equal(generator.generate(chunk, clock), first)
    generator.commit(clock)
    assert np.array_equal(generator.generate(later, clock), second)
    assert second.shape == (12, 128, 128, 3)


def test_a_teacher_that_gives_no_numbers_says_in_which_window(teacher: Bundle) -> None:
    faces, audio_FD = _inputs()
    chunk, clock = ChunkInput(faces=faces, audio_FD=audio_FD), ChunkClock()
    broken = replace(teacher, model=copy.deepcopy(teacher.model))
    generator = load_generator(broken)
    generator.generate(chunk, clock)
    torch.nn.init.constant_(broken.model.head.head.bias, float("nan"))
    with pytest.raises(IncompatibleCheckpointError, match=f"{teacher.model_id}: .* in chunk 1"):
        generator.generate(chunk, clock)
    generator.reset(0)
    with pytest.raises(IncompatibleCheckpointError, match="in chunk 0"):
        generator.generate(chunk, clock)


def test_keys_and_values_of_the_text_are_made_once_a_stream(
    student: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Any] = []
    plain = student.model.cache_text
    monkeypatch.setattr(student.model, "cache_text", lambda encoded: calls.append(encoded) or plain(encoded))
    _streamed(student)
    assert len(calls) == 1
    _streamed(student)
    assert len(calls) == 2
