"""The one attention function of the transformers of diffusion.

Letters: B batch, Q query tokens, K key tokens, N heads, E head width.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def attention(q_BQNE: Tensor, k_BKNE: Tensor, v_BKNE: Tensor) -> Tensor:
    """softmax(q k^T / sqrt(E)) v per head: ``[B, Q, N, E]``, in the type of the queries.

    No mask: causality is expressed by which keys are passed, so every call can use the fastest dense kernel
    that PyTorch has for the device (flash, memory-efficient, or its CPU version).
    """
    out_BNQE = F.scaled_dot_product_attention(
        q_BQNE.transpose(1, 2),
        k_BKNE.to(q_BQNE.dtype).transpose(1, 2),
        v_BKNE.to(q_BQNE.dtype).transpose(1, 2),
    )
    return out_BNQE.transpose(1, 2)
