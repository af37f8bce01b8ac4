"""The rollout: which call sees what, where gradients flow, and that a call can be repeated in the backward pass."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from lipforcing_core.models.causal import CausalStudent
from lipforcing_core.models.kv_cache import KVCache
from lipforcing_core.models.layers import recompute_blocks
from lipforcing_core.presets import Preset
from lipforcing_core.runtime.prompts import Prompts
from lipforcing_core.training.dataset import LatentWindows
from lipforcing_core.training.draws import RolloutDraws, rollout_draws, step_generator
from lipforcing_core.training.precision import ComputePrecision, compute_precision
from lipforcing_core.training.rollout import roll_out
from tests.training.fakes import ChunkAnswering, make_batch, make_prompts

BATCH, PROMPTS = make_batch(), make_prompts()
CONDITIONS = BATCH.conditions(PROMPTS.text_BLD)
T_LIST = (0.9, 0.5, 0.0)


def draws_with_exit(exit_step: int, num_latents: int = 4) -> RolloutDraws:
    shape = (2, 2, num_latents, 2, 2)
    chunks = [(start, start + 2) for start in range(0, num_latents, 2)]
    for step in range(100):
        draws = rollout_draws(step_generator(0, "r", step), shape, chunks=chunks, num_calls=2)
        if draws.exit_step == exit_step:
            return draws
    raise AssertionError("no such exit was drawn")


@pytest.mark.parametrize("with_grad", [True, False])
@pytest.mark.parametrize("exit_step", [0, 1])
def test_calls_stores_and_gradients(exit_step: int, with_grad: bool) -> None:
    student = ChunkAnswering()
    latents = roll_out(student, CONDITIONS, draws_with_exit(exit_step), t_list=T_LIST, with_grad=with_grad)
    first, second = pytest.approx(0.9), pytest.approx(0.5)
    of_chunk = [("denoise", first, with_grad)] if exit_step == 0 else [
        ("denoise", first, False), ("denoise", second, with_grad),
    ]  # fmt: skip
    expected = [(*call, 0) for call in of_chunk] + [("store", 0.0, False, 0)]
    expected += [(*call, 1) for call in of_chunk]  # the last chunk is not stored
    assert student.log == expected
    assert latents.requires_grad == with_grad
    assert torch.equal(student.stored[0], latents[:, :, :2])
    assert not student.stored[0].requires_grad


@pytest.mark.parametrize("with_grad", [True, False])
def test_idle_calls_keep_company_and_change_nothing(with_grad: bool) -> None:
    """Two calls before those of every chunk, without gradient, where another worker makes three."""
    draws, lone, idle = draws_with_exit(0), ChunkAnswering(), ChunkAnswering()
    latents = roll_out(lone, CONDITIONS, draws, t_list=T_LIST, with_grad=with_grad)
    again = roll_out(idle, CONDITIONS, draws, t_list=T_LIST, with_grad=with_grad, idle_calls=2)
    assert torch.equal(latents, again)
    extra = ("denoise", pytest.approx(0.9), False)
    first, store, second = lone.log
    assert idle.log == [(*extra, 0), (*extra, 0), first, store, (*extra, 1), (*extra, 1), second]
    if with_grad:
        latents.sum().backward()
        again.sum().backward()
        assert torch.equal(lone.weight.grad, idle.weight.grad)


def test_latents_are_those_worked_out_by_hand() -> None:
    """velocity = w (x + m) + n of a chunk with n stored chunks of mean m; the start is the noise times 0.999."""
    student, draws = ChunkAnswering(weight=0.5), draws_with_exit(1, num_latents=6)
    conditions = make_batch(num_latents=6).conditions(PROMPTS.text_BLD)
    latents = roll_out(student, conditions, draws, t_list=T_LIST, with_grad=False)
    noise, memory, want = 0.999 * draws.noise_BCTHW, torch.zeros(()), []
    for n, (start, stop) in enumerate([(0, 2), (2, 4), (4, 6)]):
        x = noise[:, :, start:stop]
        x0 = x - 0.9 * (0.5 * (x + memory) + n)
        x = 0.5 * x0 + 0.5 * draws.renoise[n][0]
        x0 = x - 0.5 * (0.5 * (x + memory) + n)
        want.append(x0)
        memory = memory + (0.5 * x0).mean()
    torch.testing.assert_close(latents, torch.cat(want, dim=2))


def test_every_chunk_is_made_and_stored_under_its_own_conditions() -> None:
    student, batch = ChunkAnswering(), make_batch(num_latents=6)
    draws, conditions = draws_with_exit(1, num_latents=6), batch.conditions(PROMPTS.text_BLD)
    latents = roll_out(student, conditions, draws, t_list=T_LIST, with_grad=False)
    first, second, third = batch.masked_BCTHW.split(2, dim=2)
    expected = [("denoise", first)] * 2 + [("store", first)]
    expected += [("denoise", second)] * 2 + [("store", second)] + [("denoise", third)] * 2
    assert [kind for kind, _ in student.seen] == [kind for kind, _ in expected]
    for (_, got), (_, own) in zip(student.seen, expected, strict=True):
        assert got is not None
        assert torch.equal(got, own)
    for stored, own in zip(student.stored, latents.split(2, dim=2)[:2], strict=True):
        assert torch.equal(stored, own)


def test_gradient_is_that_of_the_exit_calls_alone() -> None:
    student, draws = ChunkAnswering(weight=0.5), draws_with_exit(0)
    latents = roll_out(student, CONDITIONS, draws, t_list=T_LIST, with_grad=True)
    assert len(student.log) == 3
    latents.sum().backward()
    assert len(student.log) == 3, "nothing is computed again"
    noise = 0.999 * draws.noise_BCTHW
    memory = (0.5 * latents[:, :, :2].detach()).mean()
    expected = -0.9 * (noise[:, :, :2].sum() + (noise[:, :, 2:] + memory).sum())
    torch.testing.assert_close(student.weight.grad, expected)


def test_draws_of_other_chunks_are_an_error() -> None:
    draws = draws_with_exit(0)
    wrong = RolloutDraws(noise_BCTHW=draws.noise_BCTHW, exit_step=0, renoise=((),))
    with pytest.raises(ValueError, match="shorter"):
        roll_out(ChunkAnswering(), CONDITIONS, wrong, t_list=T_LIST, with_grad=False)


@pytest.fixture
def student(preset: Preset, base_path: Path) -> CausalStudent:
    student = CausalStudent(preset.model.config(), preset.window.config())
    student.load_state_dict(load_file(base_path))
    return student


class Computed:
    """How often the blocks of a network are computed, from a hook on a layer that each call uses once."""

    def __init__(self, student: CausalStudent) -> None:
        self.times = 0
        for block in student.blocks:
            block.get_submodule("ffn.0").register_forward_hook(self)

    def __call__(self, *_: object) -> None:
        self.times += 1


def gradients_of(student: CausalStudent) -> dict[str, Tensor]:
    found = {name: p.grad.clone() for name, p in student.named_parameters() if p.grad is not None}
    student.zero_grad(set_to_none=True)
    return found


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(("batch", "calls"), [(1, 1), (2, 2)])
def test_recomputing_blocks_gives_the_same_gradients(
    batch: int, calls: int, precision: ComputePrecision, student: CausalStudent, prompts: Prompts, data: LatentWindows
) -> None:  # fmt: skip
    """With activation checkpointing a block runs again in the backward pass, when the cache has moved on.

    The clip is long enough that the cache has evicted by then what the calls of the second chunk saw.
    """
    conditions = data.batch(batch, seed=0, step=0).conditions(prompts.text_BLD)
    masked, sequence = conditions.masked_video_BCTHW, conditions.reference_sequence_BCTHW
    assert masked is not None
    assert sequence is not None
    assert conditions.audio_BND is not None
    longer = replace(
        conditions,
        masked_video_BCTHW=torch.cat([masked, masked], dim=2),
        reference_sequence_BCTHW=torch.cat([sequence, sequence], dim=2),
        audio_BND=conditions.audio_BND.repeat(1, 3, 1)[:, :45],
    )
    draws = next(
        draws
        for step in range(100)
        if (
            draws := rollout_draws(
                step_generator(0, "r", step), (batch, 16, 12, 8, 8), chunks=student.chunks(12), num_calls=calls
            )
        ).exit_step == calls - 1
    )  # fmt: skip
    t_list = (0.9, 0.0) if calls == 1 else (0.9, 0.5, 0.0)
    computed = Computed(student)

    def gradients() -> tuple[dict[str, Tensor], int, int]:
        computed.times = 0
        with compute_precision(precision, torch.device("cpu")):
            latents = roll_out(student, longer, draws, t_list=t_list, with_grad=True)
        forward = computed.times
        latents.square().mean().backward()
        return gradients_of(student), forward, computed.times - forward

    kept, forward, backward = gradients()
    assert backward == 0
    recompute_blocks(student)
    again, forward_again, backward = gradients()
    assert forward_again == forward
    assert backward == 4 * len(student.blocks), "the exit call of every chunk"
    assert kept.keys() == again.keys() == {name for name, _ in student.named_parameters()}
    assert all(torch.equal(kept[name], again[name]) for name in kept)
    assert any(bool(gradient.any()) for gradient in kept.values())


def test_a_block_that_is_computed_again_sees_the_past_of_its_call(
    student: CausalStudent, prompts: Prompts, data: LatentWindows
) -> None:
    """Also where the past is the cache itself, which is written to before the backward pass."""
    conditions = data.batch(1, seed=0, step=0).conditions(prompts.text_BLD)
    x = torch.randn(1, 16, 3, 8, 8, generator=torch.Generator().manual_seed(0))

    def gradients() -> dict[str, Tensor]:
        encoded = student.encode_conditions(conditions)
        chunk, cache = encoded.chunk(0, 3), student.new_cache(1, 8, 8)
        student.store_chunk(x, chunk, cache)
        velocity = student.denoise_chunk(x + 1, 0.5, encoded.chunk(3, 6), cache)
        cache.reset()
        student.store_chunk(9 * x, chunk, cache)
        velocity.square().mean().backward()
        return gradients_of(student)

    kept = gradients()
    recompute_blocks(student)
    again = gradients()
    assert all(torch.equal(kept[name], again[name]) for name in kept)


def test_a_snapshot_outlives_the_cache(student: CausalStudent) -> None:
    cache = student.new_cache(1, 8, 8)
    generator = torch.Generator().manual_seed(0)

    def store() -> None:
        for layer, key in enumerate(cache.keys):
            new = torch.randn(1, 3, *key.shape[2:], generator=generator)
            cache.write(layer, new, new + 1)
        cache.advance(3)

    assert cache.snapshot().num_past == 0
    for number in range(3):
        store()
        snapshot = cache.snapshot()
        before = [(key.clone(), value.clone()) for key, value in map(snapshot.past, range(len(cache.keys)))]
        live = [cache.past(layer) for layer in range(len(cache.keys))]
        for (key, value), (live_key, live_value) in zip(before, live, strict=True):
            assert torch.equal(key, live_key)
            assert torch.equal(value, live_value)
        assert (snapshot.num_past, snapshot.num_latents, snapshot.batch) == (
            cache.num_past, cache.num_latents, cache.batch,
        )  # fmt: skip
        assert (snapshot.window, snapshot.num_latents) == (cache.window, 3 * (number + 1))
        store()
        for layer, (key, value) in enumerate(before):
            assert torch.equal(snapshot.past(layer)[0], key)
            assert torch.equal(snapshot.past(layer)[1], value)
        cache.reset()
        for _ in range(number + 1):
            store()


def test_under_autocast_the_cache_is_half_as_large_and_the_rollout_the_same(
    student: CausalStudent, prompts: Prompts, data: LatentWindows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys and values are computed in bf16, so fp32 would hold the same numbers in twice the memory."""
    batch = data.batch(1, seed=0, step=0)
    conditions, shape = batch.conditions(prompts.text_BLD), batch.latents_BCTHW.shape
    draws = rollout_draws(step_generator(0, "r", 0), shape, chunks=student.chunks(shape[2]), num_calls=1)
    caches: list[KVCache] = []
    make = student.new_cache

    def rolled(dtype: torch.dtype | None) -> tuple[Tensor, dict[str, Tensor]]:
        def new_cache(*args: int) -> KVCache:
            cache = make(*args)
            if dtype is not None:
                cache.keys = [part.to(dtype) for part in cache.keys]
                cache.values = [part.to(dtype) for part in cache.values]
            caches.append(cache)
            return cache

        monkeypatch.setattr(student, "new_cache", new_cache)
        with compute_precision("bf16", torch.device("cpu")):
            latents = roll_out(student, conditions, draws, t_list=(0.9, 0.0), with_grad=True)
        latents.square().mean().backward()
        return latents, gradients_of(student)

    small, large = rolled(None), rolled(torch.float32)
    assert {part.dtype for part in (*caches[0].keys, *caches[0].values)} == {torch.bfloat16}
    assert torch.equal(small[0], large[0])
    assert all(torch.equal(small[1][name], large[1][name]) for name in large[1])
    assert student.new_cache(8, 8, 8).keys[0].dtype == torch.float32
