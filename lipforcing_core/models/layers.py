"""Building blocks of the Wan 2.1 transformer (method A.2, A.6), named as in its checkpoints.

Letters: B batch, T latent frames, S frames with their own noise level (S = T, or 1 for "all the same"), P
tokens of a latent frame, L text tokens, D width, N heads, E head width (D = N E), U video frames.

Types: everything runs in the type of the weights, modulation and residual stream included, as in OmniAvatar
and Lip Forcing. RMSNorm statistics and rotary angles are float32, the time sinusoid float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.media.clock import FRAMES_PER_LATENT
from lipforcing_core.models.attention import attention
from lipforcing_core.models.config import DiTConfig

Mixer = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Self-attention given normed, unrotated q, k, v ``[B, T, P, N, E]`` -> ``[B, T, P, N, E]``: which tokens see which,
and at which positions, is all that differs between the bidirectional model and the student's modes."""


class RMSNorm(nn.Module):
    """x / rms(x) over the last dimension, in float32, cast back, then times the weight."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        x32 = x.float()
        normed = x32 * torch.rsqrt(x32.square().mean(dim=-1, keepdim=True) + self.eps)
        return normed.to(x.dtype) * self.weight.to(x.dtype)


class Attention(nn.Module):
    """Projections of one attention layer; queries and keys are normed before the split into heads."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.head_dim = config.head_dim
        self.q = nn.Linear(config.dim, config.dim)
        self.k = nn.Linear(config.dim, config.dim)
        self.v = nn.Linear(config.dim, config.dim)
        self.o = nn.Linear(config.dim, config.dim)
        self.norm_q = RMSNorm(config.dim, config.eps)
        self.norm_k = RMSNorm(config.dim, config.eps)

    def queries(self, x: Tensor) -> Tensor:
        """``[..., D]`` -> ``[..., N, E]``."""
        heads: Tensor = self.norm_q(self.q(x)).unflatten(-1, (-1, self.head_dim))
        return heads

    def keys_values(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """``[..., D]`` -> keys (normed, not rotated) and values, each ``[..., N, E]``."""
        keys = self.norm_k(self.k(x)).unflatten(-1, (-1, self.head_dim))
        return keys, self.v(x).unflatten(-1, (-1, self.head_dim))


class Block(nn.Module):
    """Self-attention, text cross-attention and feed-forward; the first and last are modulated by time.

    recompute: a call with gradient keeps its inputs alone, and is made again in the backward pass (activation
    checkpointing). ``mix`` must then be a function of its arguments: what it closes over must not change meanwhile.
    """

    recompute: bool = False

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.dim, self.eps = config.dim, config.eps
        self.self_attn = Attention(config)
        self.cross_attn = Attention(config)
        self.norm3 = nn.LayerNorm(config.dim, eps=config.eps)
        self.ffn = nn.Sequential(
            nn.Linear(config.dim, config.ffn_dim),
            nn.GELU(approximate="tanh"),
            nn.Linear(config.ffn_dim, config.dim),
        )
        self.modulation = nn.Parameter(torch.zeros(1, 6, config.dim))

    def forward(
        self, x_BTPD: Tensor, time_BS6D: Tensor, text: Tensor | tuple[Tensor, Tensor], mix: Mixer
    ) -> Tensor:
        """text: the context ``[B, L, D]``, or its keys and values where they are known (``keys_values``)."""
        if not (self.recompute and torch.is_grad_enabled()):
            return self._compute(x_BTPD, time_BS6D, text, mix)
        again = checkpoint(
            self._compute, x_BTPD, time_BS6D, text, mix, use_reentrant=False, preserve_rng_state=False
        )
        assert isinstance(again, Tensor)
        return again

    def _compute(
        self, x_BTPD: Tensor, time_BS6D: Tensor, text: Tensor | tuple[Tensor, Tensor], mix: Mixer
    ) -> Tensor:
        text_kv_BLNE = self.cross_attn.keys_values(text) if isinstance(text, Tensor) else text
        shift1, scale1, gate1, shift2, scale2, gate2 = modulate(self.modulation, time_BS6D)
        h = plain_norm(x_BTPD, self.eps) * (1 + scale1) + shift1
        x_BTPD = x_BTPD + gate1 * self.self_attn.o(
            mix(self.self_attn.queries(h), *self.self_attn.keys_values(h)).flatten(-2)
        )

        q_BQNE = self.cross_attn.queries(self.norm3(x_BTPD)).flatten(1, 2)
        k_BLNE, v_BLNE = (part.expand(len(q_BQNE), -1, -1, -1) for part in text_kv_BLNE)
        seen = attention(q_BQNE, k_BLNE, v_BLNE).flatten(-2)
        x_BTPD = x_BTPD + self.cross_attn.o(seen).view_as(x_BTPD)

        h = plain_norm(x_BTPD, self.eps) * (1 + scale2) + shift2
        out_BTPD: Tensor = x_BTPD + gate2 * self.ffn(h)
        return out_BTPD

    def own_keys_values(self, x_BTPD: Tensor, time_BS6D: Tensor) -> tuple[Tensor, Tensor]:
        """Self-attention keys and values alone: all that the last block of a store call has to compute."""
        shift1, scale1, *_ = modulate(self.modulation, time_BS6D)
        return self.self_attn.keys_values(plain_norm(x_BTPD, self.eps) * (1 + scale1) + shift1)


def recompute_blocks(network: nn.Module) -> None:
    """Let every block of a network compute again in the backward pass what it would else keep until then."""
    for module in network.modules():
        if isinstance(module, Block):
            module.recompute = True


class Head(nn.Module):
    """Modulated norm and projection of every token to its patch of velocities."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.eps = config.eps
        self.head = nn.Linear(config.dim, config.out_channels * math.prod(config.patch_size))
        self.modulation = nn.Parameter(torch.zeros(1, 2, config.dim))

    def forward(self, x_BTPD: Tensor, time_BSD: Tensor) -> Tensor:
        shift, scale = modulate(self.modulation, time_BSD[:, :, None])
        out_BTPK: Tensor = self.head(plain_norm(x_BTPD, self.eps) * (1 + scale) + shift)
        return out_BTPK


class AudioPack(nn.Module):
    """Groups the audio features of the four video frames of a latent and projects them (method A.6)."""

    def __init__(self, audio_dim: int, hidden: int) -> None:
        super().__init__()
        self.proj = nn.Linear(FRAMES_PER_LATENT * audio_dim, hidden)
        self.norm_out = nn.LayerNorm(hidden, eps=1e-5)

    def forward(self, audio_BUA: Tensor, *, starts_clip: bool) -> Tensor:
        """``[B, U, audio_dim]`` -> ``[B, T, hidden]``.

        At the start of a clip U = 4T-3 and three copies of the first frame are prepended, so that latent 0
        sees frame 0 four times and latent i the frames 4i-3 ... 4i; elsewhere U = 4T. Raises
        ``BadInputError`` otherwise.
        """
        if starts_clip:
            first = audio_BUA[:, :1].expand(-1, FRAMES_PER_LATENT - 1, -1)
            audio_BUA = torch.cat([first, audio_BUA], dim=1)
        if audio_BUA.shape[1] == 0 or audio_BUA.shape[1] % FRAMES_PER_LATENT:
            expected = "4T-3 frames at the start of a clip" if starts_clip else "4T frames within a clip"
            got = audio_BUA.shape[1] - (FRAMES_PER_LATENT - 1 if starts_clip else 0)
            raise BadInputError(f"audio has {got} frames, expected {expected} for T latents")
        packed_BTH: Tensor = self.norm_out(
            self.proj(torch.unflatten(audio_BUA, 1, (-1, FRAMES_PER_LATENT)).flatten(2))
        )
        return packed_BTH


def plain_norm(x: Tensor, eps: float) -> Tensor:
    """LayerNorm without parameters."""
    return F.layer_norm(x, (x.shape[-1],), eps=eps)


def modulate(base_1KD: Tensor, time_BSKD: Tensor) -> tuple[Tensor, ...]:
    """K modulation vectors (learned base + time), each ``[B, S, 1, D]`` to broadcast over the tokens of a latent."""
    return tuple(vector[:, :, None] for vector in (base_1KD[:, None] + time_BSKD).unbind(dim=2))


def time_sinusoid(model_time: Tensor, size: int) -> Tensor:
    """``[...]`` model time (1000 t) -> ``[..., size]`` float64: cosines of all frequencies, then the sines (A.2.3)."""
    half = size // 2
    exponent = torch.arange(half, dtype=torch.float64, device=model_time.device) / half
    angle = model_time.double()[..., None] * 10000.0**-exponent
    return torch.cat([angle.cos(), angle.sin()], dim=-1)
