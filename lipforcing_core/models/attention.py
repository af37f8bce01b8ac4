"""The one attention function of the transformers of diffusion, and masks over whole latents for it.

Letters: B batch, Q query tokens, K key tokens, N heads, E head width, T query latents, S key latents.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, flex_attention

FLEX_BLOCK = 128  # tokens; the granularity at which FlexAttention skips what a mask hides
_FLEX_MIN_HEAD_DIM = 16

Mask = Tensor | BlockMask
"""Which query token sees which key token: ``[Q, K]`` bool, or FlexAttention's list of visible blocks."""


def attention(q_BQNE: Tensor, k_BKNE: Tensor, v_BKNE: Tensor, mask: Mask | None = None) -> Tensor:
    """softmax(q k^T / sqrt(E)) v per head: ``[B, Q, N, E]``, in the type of the queries.

    Without a mask, and with one of booleans, PyTorch picks the fastest kernel of ``scaled_dot_product_attention``
    that it has for the device (without: flash, cuDNN, memory-efficient, or its CPU version). A ``BlockMask`` goes to
    FlexAttention, compiled at its first use, which computes visible blocks only. ``frame_mask`` chooses between them.
    """
    q_BNQE = q_BQNE.transpose(1, 2)
    k_BNKE = k_BKNE.to(q_BQNE.dtype).transpose(1, 2)
    v_BNKE = v_BKNE.to(q_BQNE.dtype).transpose(1, 2)
    if isinstance(mask, BlockMask):
        out_BNQE = _flex()(q_BNQE, k_BNKE, v_BNKE, block_mask=mask)
    else:
        out_BNQE = F.scaled_dot_product_attention(q_BNQE, k_BNKE, v_BNKE, attn_mask=mask)
    return out_BNQE.transpose(1, 2)


def flex_serves(device: torch.device, head_dim: int) -> bool:
    """Whether FlexAttention has a kernel, gradients included, for heads of this width on the device."""
    return device.type == "cuda" and head_dim >= _FLEX_MIN_HEAD_DIM


def frame_mask(visible_TS: Tensor, tokens: int, head_dim: int) -> Mask:
    """The mask for latents of ``tokens`` tokens each, in the form of the best kernel for the device of ``visible_TS``.

    Every token of query latent t sees every token of key latent s where ``visible_TS[t, s]``.
    """
    if flex_serves(visible_TS.device, head_dim):
        return block_mask(visible_TS, tokens)
    return visible_TS.repeat_interleave(tokens, dim=0).repeat_interleave(tokens, dim=1)


def block_mask(visible_TS: Tensor, tokens: int) -> BlockMask:
    """The same as blocks of 128 x 128 tokens; those that are visible as a whole need no look at the mask.

    Computed from the latents, so that nothing of the size of all tokens squared is ever made: a block is hidden, whole
    or partial by how many of the pairs of latents that it touches are visible.
    """
    lengths = (tokens * visible_TS.shape[0], tokens * visible_TS.shape[1])
    rows, columns = (_latents_of_blocks(length, tokens, visible_TS.device) for length in lengths)
    seen = rows @ visible_TS.float() @ columns.T
    touched = rows.sum(dim=1)[:, None] * columns.sum(dim=1)
    whole = seen == touched
    for axis, length in enumerate(lengths):
        if length % FLEX_BLOCK:
            whole.select(axis, -1).fill_(False)
    partial = (seen > 0) & ~whole

    def visible(_batch: Tensor, _head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return visible_TS[query // tokens, key // tokens]

    return BlockMask.from_kv_blocks(
        *_listed(partial), *_listed(whole), BLOCK_SIZE=FLEX_BLOCK, mask_mod=visible, seq_lengths=lengths
    )


def _latents_of_blocks(length: int, tokens: int, device: torch.device) -> Tensor:
    """``[blocks, latents]`` float: 1 where a block holds tokens of a latent."""
    start = torch.arange(0, length, FLEX_BLOCK, device=device)[:, None]
    latent_start = torch.arange(0, length, tokens, device=device)
    return ((latent_start < start + FLEX_BLOCK) & (latent_start + tokens > start)).float()


def _listed(blocks_QK: Tensor) -> tuple[Tensor, Tensor]:
    """How many blocks each row of blocks sees ``[1, 1, rows]``, and their columns first ``[1, 1, rows, columns]``."""
    blocks = blocks_QK.int()[None, None]
    return blocks.sum(dim=-1, dtype=torch.int32), blocks.argsort(dim=-1, descending=True, stable=True).int()


def _flex() -> Any:
    return flex_attention if torch.compiler.is_compiling() else _compiled_flex()


@lru_cache(maxsize=1)
def _compiled_flex() -> Any:
    return torch.compile(flex_attention)
