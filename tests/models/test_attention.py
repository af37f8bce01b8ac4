"""Masks over latents: blocks say the same as booleans, and FlexAttention computes the same as dense attention."""

from __future__ import annotations

import shutil
from functools import partial
from unittest.mock import patch

import pytest
import torch
from torch import Tensor
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

from lipforcing_core.models import attention as module
from lipforcing_core.models.attention import attention, flex_serves
from lipforcing_core.models.frame_mask import block_mask, dense_mask
from lipforcing_core.models.window import WindowConfig, plan_mask

TOKENS_AND_LATENTS = [(24, 12), (128, 9), (100, 7), (256, 6), (60, 21), (1024, 4)]
sizes = pytest.mark.parametrize(("tokens", "latents"), TOKENS_AND_LATENTS)


def visible(latents: int) -> Tensor:
    return torch.tensor(plan_mask(WindowConfig(), latents, "window").visible)


def queries_keys_values(visible_TS: Tensor, tokens: int, head_dim: int = 32) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    latents, seen = visible_TS.shape
    return tuple(
        torch.randn(2, count * tokens, 2, head_dim, generator=generator) for count in (latents, seen, seen)
    )


@sizes
def test_blocks_are_those_of_the_library(tokens: int, latents: int) -> None:
    got = block_mask(visible(latents), tokens)
    want = create_block_mask(got.mask_mod, None, None, *got.seq_lengths, device="cpu")
    assert got.shape == want.shape
    for part in ("kv_num_blocks", "full_kv_num_blocks", "q_num_blocks", "full_q_num_blocks"):
        assert torch.equal(getattr(got, part), getattr(want, part)), part
    for part in ("kv_indices", "full_kv_indices", "q_indices", "full_q_indices"):
        assert torch.equal(getattr(got, part), getattr(want, part)), part


def test_a_full_size_clip_has_whole_blocks_only_and_few_of_them() -> None:
    """81 frames of 512 px: nothing has to be masked within a block, and most blocks are skipped."""
    mask = block_mask(visible(21), tokens=1024)
    assert mask.kv_num_blocks.sum() == 0
    assert mask.full_kv_num_blocks.sum() == (8 * 8) * (3 * 3 + 3 * 6 + 5 * 3 * 7)


@sizes
@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_flex_attention_equals_dense_attention(tokens: int, latents: int) -> None:
    visible_TS = visible(latents)
    q, k, v = queries_keys_values(visible_TS, tokens)
    want = attention(q, k, v, dense_mask(visible_TS, tokens))
    with patch.object(module, "_flex", lambda: flex_attention):
        got = attention(q, k, v, block_mask(visible_TS, tokens))
    torch.testing.assert_close(got, want, atol=5e-6, rtol=0)


def test_products_in_low_precision_leak_nothing() -> None:
    """Under autocast the pairs of latents in a block are counted in bfloat16; one hidden of 16384 still counts."""
    visible_TS = torch.ones(128, 256, dtype=torch.bool)
    visible_TS[3, 200] = False
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mask = block_mask(visible_TS, tokens=1)
    assert (int(mask.kv_num_blocks), int(mask.full_kv_num_blocks)) == (1, 1)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on a CPU")
@torch.no_grad()
def test_compiled_flex_attention_equals_dense_attention() -> None:
    """The kernel that skips blocks; eager FlexAttention looks at the mask alone. More sizes than dynamo's own limit."""
    torch.compiler.reset()
    for tokens, latents in [*TOKENS_AND_LATENTS, (40, 5), (40, 6), (48, 5)]:
        visible_TS = visible(latents)
        q, k, v = queries_keys_values(visible_TS, tokens)
        want = attention(q, k, v, dense_mask(visible_TS, tokens))
        torch.testing.assert_close(
            attention(q, k, v, block_mask(visible_TS, tokens)), want, atol=5e-6, rtol=0
        )


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on a CPU")
@torch.no_grad()
def test_too_many_sizes_are_an_error_and_never_the_eager_way(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.compiler.reset()
    visible_TS = visible(5)
    run = partial(attention, *queries_keys_values(visible_TS, 24))
    run(block_mask(visible_TS, 24))
    monkeypatch.setattr(torch._dynamo.config, "recompile_limit", 1)
    other_TS = visible(6)
    with pytest.raises(torch._dynamo.exc.FailOnRecompileLimitHit):
        attention(*queries_keys_values(other_TS, 24), block_mask(other_TS, 24))


def test_which_kernel_serves() -> None:
    assert flex_serves(torch.device("cuda"), 128)
    assert not flex_serves(torch.device("cuda"), 12)
    assert not flex_serves(torch.device("cpu"), 128)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("tokens", [256, 100])
def test_flex_attention_on_a_gpu_equals_dense_attention(tokens: int) -> None:
    visible_TS = visible(9).cuda()
    inputs = [part.cuda().requires_grad_() for part in queries_keys_values(visible_TS, tokens, head_dim=128)]
    upstream = torch.ones_like(inputs[0])
    want = attention(*inputs, dense_mask(visible_TS, tokens))
    got = attention(*inputs, block_mask(visible_TS, tokens))
    gradients = (torch.autograd.grad(out, inputs, upstream) for out in (got, want))
    for a, b in zip((got, *next(gradients)), (want, *next(gradients)), strict=True):
        assert (a - b).norm() < 1e-4 * b.norm()
