"""The student's three modes agree, its memory is bounded, and nobody sees the future."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.models.causal import CausalStudent
from lipforcing_core.models.conditions import EncodedConditions
from lipforcing_core.models.kv_cache import KVCache
from lipforcing_core.models.wan import WanTransformer
from lipforcing_core.models.window import Positions, WindowConfig
from lipforcing_core.models.window_attention import Way, best_way
from tests.models.tiny import HEIGHT, WIDTH, random_conditions, random_latents, tiny_student

WINDOWS = [
    WindowConfig(),
    WindowConfig(window_latents=10),
    WindowConfig(window_latents=9, sink_latents=3),
    WindowConfig(window_latents=6, sink_latents=0),
    WindowConfig(chunk_latents=2, window_latents=5),
    WindowConfig(window_latents=4),
    WindowConfig(chunk_latents=1, window_latents=5, sink_latents=3),
    WindowConfig(chunk_latents=2, window_latents=5, sink_latents=3),
    WindowConfig(window_latents=None, sink_latents=0),
]
window_cases = pytest.mark.parametrize(
    "window", WINDOWS, ids=lambda w: f"{w.chunk_latents}-{w.window_latents}-{w.sink_latents}"
)


def cached_velocities(
    student: CausalStudent, clean: Tensor, noisy: Tensor, t: float, encoded: EncodedConditions, cache: KVCache
) -> list[Tensor]:
    """Velocity of every noisy chunk, each after a cache of the clean chunks before it."""
    velocities = []
    for start, stop in student.window.chunks(clean.shape[2]):
        chunk = encoded.chunk(start, stop)
        velocities.append(student.denoise_chunk(noisy[:, :, start:stop], t, chunk, cache))
        student.store_chunk(clean[:, :, start:stop], chunk, cache)
    return velocities


def whole_clip_cache(student: CausalStudent, num_latents: int) -> KVCache:
    return student.new_cache(2, HEIGHT, WIDTH, capacity=max(num_latents, student.window.past_budget or 0))


@window_cases
@pytest.mark.parametrize("num_latents", [12, 11, 2])
@torch.no_grad()
def test_parallel_training_forward_equals_rollout(window: WindowConfig, num_latents: int) -> None:
    student = tiny_student(window=window)
    encoded = student.encode_conditions(random_conditions(num_latents))
    clean, noisy = random_latents(num_latents), random_latents(num_latents, seed=3)
    rollout = cached_velocities(student, clean, noisy, 0.769, encoded, whole_clip_cache(student, num_latents))
    for (start, stop), expected in zip(window.chunks(num_latents), rollout, strict=True):
        x, t = clean.clone(), torch.zeros(2, num_latents, dtype=torch.float64)
        x[:, :, start:stop], t[:, start:stop] = noisy[:, :, start:stop], 0.769
        got = student.forward_full(x, t, encoded)[:, :, start:stop]
        torch.testing.assert_close(got, expected, atol=2e-5, rtol=0)


@pytest.mark.parametrize(
    "window", WINDOWS[:-1], ids=lambda w: f"{w.chunk_latents}-{w.window_latents}-{w.sink_latents}"
)
@torch.no_grad()
def test_rolling_cache_equals_unbounded_cache_bit_for_bit(window: WindowConfig) -> None:
    assert window.past_budget is not None
    student = tiny_student(window=window)
    encoded = student.encode_conditions(random_conditions(17))
    clean, noisy = random_latents(17), random_latents(17, seed=3)
    unbounded = cached_velocities(student, clean, noisy, 0.5, encoded, whole_clip_cache(student, 17))
    for capacity in (window.past_budget, window.past_budget + 1, window.past_budget + window.chunk_latents):
        cache = student.new_cache(2, HEIGHT, WIDTH, capacity=capacity)
        rolling = cached_velocities(student, clean, noisy, 0.5, encoded, cache)
        assert all(torch.equal(a, b) for a, b in zip(rolling, unbounded, strict=True))


@torch.no_grad()
def test_window_matters() -> None:
    """The fourth chunk sees latent 0 and latents 6, 7, 8 of the past, no others."""
    student = tiny_student(num_layers=4)
    encoded = student.encode_conditions(random_conditions(12))

    def last_velocity(changed: int) -> Tensor:
        cache = student.new_cache(2, HEIGHT, WIDTH, capacity=12)
        for start, stop in student.window.chunks(9):
            student.store_chunk(random_latents(9)[:, :, start:stop], encoded.chunk(start, stop), cache)
        for buffer in cache.keys:
            buffer[:, changed] += 1.0
        return student.denoise_chunk(random_latents(3, seed=3), 0.5, encoded.chunk(9, 12), cache)

    untouched = last_velocity(11)
    changes = [not torch.equal(last_velocity(latent), untouched) for latent in range(9)]
    assert changes == [True, False, False, False, False, False, True, True, True]


@pytest.mark.parametrize("positions", ["window", "absolute", "own_window"])
@torch.no_grad()
def test_no_chunk_sees_the_future(positions: str) -> None:
    student = tiny_student()
    encoded = student.encode_conditions(random_conditions(9))
    x, t = random_latents(9), torch.rand(2, 9, generator=torch.Generator().manual_seed(0))
    changed = x.clone()
    changed[:, :, 6:] += 1.0
    a = student.forward_full(x, t, encoded, positions=positions)  # type: ignore[arg-type]
    b = student.forward_full(changed, t, encoded, positions=positions)  # type: ignore[arg-type]
    assert torch.equal(a[:, :, :6], b[:, :, :6])
    assert not torch.equal(a[:, :, 6:], b[:, :, 6:])


@torch.no_grad()
def test_positions_agree_while_the_window_starts_at_latent_0() -> None:
    student = tiny_student()
    encoded = student.encode_conditions(random_conditions(9))
    x = random_latents(9)
    a, b = (student.forward_full(x, 0.5, encoded, positions=p) for p in ("window", "absolute"))
    assert torch.equal(a[:, :, :6], b[:, :, :6])
    assert not torch.allclose(a[:, :, 6:], b[:, :, 6:], atol=1e-4)


@window_cases
@torch.no_grad()
def test_absolute_rollout_equals_absolute_full_sequence(window: WindowConfig) -> None:
    """Where the reference's mask shows what a rollout shows: no sink that comes late, no first chunk of odd length."""
    if window.sink_latents > window.chunk_latents:
        pytest.skip("the full sequence looks ahead")
    student, num_latents = tiny_student(window=window), 12
    encoded = student.encode_conditions(random_conditions(num_latents))
    clean = random_latents(num_latents)
    cache = whole_clip_cache(student, num_latents)
    full = student.forward_full(clean, 0.0, encoded, positions="absolute")
    for start, stop in window.chunks(num_latents):
        chunk, x = encoded.chunk(start, stop), clean[:, :, start:stop]
        got = student.denoise_chunk(x, 0.0, chunk, cache, positions="absolute")
        torch.testing.assert_close(got, full[:, :, start:stop], atol=2e-5, rtol=0)
        student.store_chunk(x, chunk, cache, positions="absolute")


def velocity_and_gradients(student: CausalStudent, x: Tensor, way: Way, **options: Any) -> list[Tensor]:
    """Of a clip with random noise levels; gradients of every weight and of the input."""
    batch, _, num_latents, height, width = x.shape
    t = torch.rand(batch, num_latents, generator=torch.Generator().manual_seed(0))
    conditions = random_conditions(num_latents, size=(height, width))
    on_device = {name: value.to(x.device) for name, value in vars(conditions).items() if value is not None}
    encoded = student.encode_conditions(replace(conditions, **on_device))
    x = x.detach().requires_grad_()
    velocity = student.forward_full(x, t.to(x.device), encoded, way=way, **options)
    loss = velocity.float().square().mean()
    return [velocity.detach(), *torch.autograd.grad(loss, (x, *student.parameters()))]


@window_cases
@pytest.mark.parametrize("positions", ["window", "absolute", "own_window"])
@pytest.mark.parametrize("num_latents", [12, 11, 2])
def test_masked_attention_equals_attention_in_groups(
    window: WindowConfig, positions: Positions, num_latents: int
) -> None:
    student = tiny_student(window=window)
    if (window.window_latents, positions, num_latents) == (4, "own_window", 11):
        pytest.skip("a first chunk longer than the window has negative positions")
    x = random_latents(num_latents)
    want = velocity_and_gradients(student, x, "groups", positions=positions)
    got = velocity_and_gradients(student, x, "mask", positions=positions)
    for a, b in zip(got, want, strict=True):
        torch.testing.assert_close(a, b, atol=2e-5 * float(b.abs().max()) + 1e-7, rtol=0)


@pytest.mark.parametrize("way", ["groups", "mask"])
def test_a_first_chunk_longer_than_the_window_has_no_own_window_positions(way: Way) -> None:
    student = tiny_student(window=WindowConfig(window_latents=4))
    encoded = student.encode_conditions(random_conditions(11))
    with pytest.raises(BadInputError, match="rotary positions are 0 to 1023; asked for -1"):
        student.forward_full(random_latents(11), 0.5, encoded, positions="own_window", way=way)


@torch.no_grad()
def test_a_mask_that_was_made_in_inference_serves_training() -> None:
    student = tiny_student()
    x = random_latents(10)
    with torch.inference_mode():
        encoded = student.encode_conditions(random_conditions(10))
        want = student.forward_full(x, 0.5, encoded, way="mask").clone()
    with torch.enable_grad():
        got = student.forward_full(x, 0.5, student.encode_conditions(random_conditions(10)), way="mask")
        got.sum().backward()
    assert torch.equal(got, want)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("size", [(16, 16), (32, 16)], ids=["64 tokens", "128 tokens"])
@pytest.mark.parametrize("positions", ["window", "absolute"])
def test_masked_attention_trains_on_a_gpu(size: tuple[int, int], positions: Positions) -> None:
    """Heads of the released width, float32 weights under bfloat16 autocast; blocks hidden, whole and partial."""
    student = tiny_student(dim=256).cuda()
    assert best_way(student.rope, 12) == "mask"
    x = random_latents(12, size=size).cuda()
    with torch.autocast("cuda", dtype=torch.bfloat16):
        want = velocity_and_gradients(student, x, "groups", positions=positions)
        got = velocity_and_gradients(student, x, "mask", positions=positions)
    for a, b in zip(got, want, strict=True):
        assert (a - b).float().norm() <= 0.03 * b.float().norm() + 1e-6


@torch.no_grad()
def test_first_chunk_equals_bidirectional_model() -> None:
    student = tiny_student()
    encoded = student.encode_conditions(random_conditions(3))
    x = random_latents(3)
    got = student.denoise_chunk(x, 0.7, encoded, student.new_cache(2, HEIGHT, WIDTH))
    assert torch.equal(got, WanTransformer.forward(student, x, 0.7, encoded))


@torch.no_grad()
def test_denoising_leaves_the_cache_alone_and_reset_starts_over() -> None:
    student = tiny_student()
    encoded = student.encode_conditions(random_conditions(9))
    clean, noisy = random_latents(9), random_latents(9, seed=3)
    cache = student.new_cache(2, HEIGHT, WIDTH)
    addresses = [buffer.data_ptr() for buffer in (*cache.keys, *cache.values)]
    first = cached_velocities(student, clean, noisy, 0.5, encoded, cache)
    before = [buffer.clone() for buffer in (*cache.keys, *cache.values)]
    student.denoise_chunk(noisy[:, :, :3], 0.5, encoded.chunk(0, 3), cache)
    assert all(torch.equal(a, b) for a, b in zip(before, (*cache.keys, *cache.values), strict=True))
    assert (cache.num_latents, cache.held, cache.num_past) == (9, 4, 4)
    cache.reset()
    again = cached_velocities(student, clean, noisy, 0.5, encoded, cache)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert addresses == [buffer.data_ptr() for buffer in (*cache.keys, *cache.values)]


def test_gradient_stays_within_the_chunk_in_rollouts() -> None:
    """A loss on the second chunk reaches the weights and its own input, not the stored first chunk."""
    student = tiny_student()
    encoded = student.encode_conditions(random_conditions(6))
    cache = student.new_cache(2, HEIGHT, WIDTH)
    first = random_latents(3).requires_grad_()
    second = random_latents(3, seed=3).requires_grad_()
    student.store_chunk(first, encoded.chunk(0, 3), cache)
    velocity = student.denoise_chunk(second, 0.769, encoded.chunk(3, 6), cache)
    student.store_chunk(velocity.detach(), encoded.chunk(3, 6), cache)  # must not disturb the graph
    velocity.square().mean().backward()
    assert first.grad is None
    assert second.grad is not None
    assert second.grad.abs().sum() > 0
    for name, parameter in student.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_gradient_reaches_the_past_in_diffusion_forcing() -> None:
    student = tiny_student()
    encoded = student.encode_conditions(random_conditions(9))
    x = random_latents(9).requires_grad_()
    student.forward_full(x, 0.5, encoded)[:, :, 6:].square().mean().backward()
    assert x.grad is not None
    assert (x.grad.abs().sum(dim=(0, 1, 3, 4)) > 0).all()


def test_misuse_is_explained() -> None:
    student = tiny_student()
    encoded = student.encode_conditions(random_conditions(6))
    cache = student.new_cache(1, HEIGHT, WIDTH)
    with pytest.raises(BadInputError, match="cache was made for batch 1"):
        student.denoise_chunk(random_latents(3), 0.5, encoded.chunk(0, 3), cache)
    with pytest.raises(BadInputError, match="conditions for 6"):
        student.denoise_chunk(random_latents(3), 0.5, encoded, student.new_cache(2, HEIGHT, WIDTH))
    with pytest.raises(BadInputError, match="no multiple of the patch"):
        student.new_cache(1, 5, 6)
    with pytest.raises(BadInputError, match="less than the 4 past latents"):
        student.new_cache(1, HEIGHT, WIDTH, capacity=3)
    endless = tiny_student(window=WindowConfig(window_latents=None, sink_latents=0))
    with pytest.raises(BadInputError, match="needs a cache capacity"):
        endless.new_cache(1, HEIGHT, WIDTH)
    full = endless.new_cache(2, HEIGHT, WIDTH, capacity=3)
    endless.store_chunk(random_latents(3), encoded.chunk(0, 3), full)
    with pytest.raises(BadInputError, match="is full"):
        endless.store_chunk(random_latents(3), encoded.chunk(3, 6), full)
    with pytest.raises(BadInputError, match="must hold the sink"):
        WindowConfig(window_latents=3)
    nonsense: Any = "nonsense"
    for option in ("positions", "way"):
        with pytest.raises(BadInputError, match=f"unknown {option} 'nonsense'; known: "):
            student.forward_full(random_latents(6), 0.5, encoded, **{option: nonsense})
    with pytest.raises(BadInputError, match="neither window nor absolute"):
        endless.denoise_chunk(random_latents(3), 0.5, encoded.chunk(0, 3), full, positions=nonsense)
    with pytest.raises(BadInputError, match="must hold the sink"):
        WindowConfig(sink_latents=5)
    with pytest.raises(BadInputError, match="must not be negative"):
        WindowConfig(sink_latents=-1)
