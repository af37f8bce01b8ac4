"""Attention masks over whole latents: every token of a query latent sees every token of a key latent, or none.

Letters: T query latents, S key latents.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask

FLEX_BLOCK = 128
"""Tokens to a side of the blocks that FlexAttention skips where they are hidden."""


def dense_mask(visible_TS: Tensor, tokens: int) -> Tensor:
    """``visible_TS`` for latents of ``tokens`` tokens each, ``[T tokens, S tokens]`` bool."""
    return visible_TS.repeat_interleave(tokens, dim=0).repeat_interleave(tokens, dim=1)


def block_mask(visible_TS: Tensor, tokens: int) -> BlockMask:
    """The same for FlexAttention, which looks into a block only where the block is visible in part.

    Found from the latents that a block touches, so that nothing of the size of all tokens squared is ever made.
    """
    lengths = (tokens * visible_TS.shape[0], tokens * visible_TS.shape[1])
    rows, columns = (_latents_of_blocks(length, tokens, visible_TS.device) for length in lengths)

    def touches(pairs_TS: Tensor) -> Tensor:
        return rows @ pairs_TS.float() @ columns.T > 0

    some, hidden = touches(visible_TS), touches(~visible_TS)
    for axis, length in enumerate(lengths):
        if length % FLEX_BLOCK:
            hidden.select(axis, -1).fill_(True)  # the last block goes on after the end

    def visible(_batch: Tensor, _head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return visible_TS[query // tokens, key // tokens]

    return BlockMask.from_kv_blocks(
        *_listed(some & hidden),
        *_listed(some & ~hidden),
        BLOCK_SIZE=FLEX_BLOCK,
        mask_mod=visible,
        seq_lengths=lengths,
    )


def _latents_of_blocks(length: int, tokens: int, device: torch.device) -> Tensor:
    """``[blocks, latents]`` float: 1 where a block holds tokens of a latent."""
    start = torch.arange(0, length, FLEX_BLOCK, device=device)[:, None]
    latent_start = torch.arange(0, length, tokens, device=device)
    return ((latent_start < start + FLEX_BLOCK) & (latent_start + tokens > start)).float()


def _listed(blocks_QK: Tensor) -> tuple[Tensor, Tensor]:
    """How many blocks are true in each row ``[1, 1, rows]``, all columns, these first ``[1, 1, rows, columns]``."""
    blocks = blocks_QK.int()[None, None]
    return blocks.sum(dim=-1, dtype=torch.int32), blocks.argsort(dim=-1, descending=True, stable=True).int()
