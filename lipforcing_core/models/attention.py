"""The one attention function of the transformers of diffusion.

Letters: B batch, Q query tokens, K key tokens, N heads, E head width.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, flex_attention

Mask = Tensor | BlockMask
"""Which query token sees which key token: ``[Q, K]`` bool, or FlexAttention's lists of visible blocks."""

_FLEX_MIN_HEAD_DIM = 16
_FLEX_MOST_SIZES = 64


def attention(q_BQNE: Tensor, k_BKNE: Tensor, v_BKNE: Tensor, mask: Mask | None = None) -> Tensor:
    """softmax(q k^T / sqrt(E)) v per head: ``[B, Q, N, E]``, in the type of the queries.

    Without a mask, and with one of booleans, PyTorch picks the fastest kernel of ``scaled_dot_product_attention``
    that it has for the device (without: flash, cuDNN, memory-efficient, or its CPU version). A ``BlockMask`` goes to
    FlexAttention, which computes visible blocks only; it is compiled at its first use, once for each size.
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
    """Whether FlexAttention is the kernel for a ``BlockMask`` here: with gradients, which it has on CUDA only."""
    return device.type == "cuda" and head_dim >= _FLEX_MIN_HEAD_DIM


def _flex() -> Callable[..., Tensor]:
    return (
        cast("Callable[..., Tensor]", flex_attention) if torch.compiler.is_compiling() else _compiled_flex()
    )


@lru_cache(maxsize=1)
def _compiled_flex() -> Callable[..., Tensor]:
    """Compiled for fixed sizes: with sizes left open it would no longer know that they are multiples of its blocks.

    A whole graph or an error: beyond the limit of sizes the compiler would else give up without a word and run the
    eager way, which holds the scores of all pairs of tokens.
    """
    dynamo = torch._dynamo.config
    dynamo.recompile_limit = max(dynamo.recompile_limit, _FLEX_MOST_SIZES)
    return cast("Callable[..., Tensor]", torch.compile(flex_attention, fullgraph=True, dynamic=False))
