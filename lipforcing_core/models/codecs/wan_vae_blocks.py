"""Layers of the Wan 2.1 VAE, named as in its checkpoint (method A.7).

Every layer that looks at earlier frames is called with the new frames and the stream's ``FeatureCache``, and
keeps there, under itself, the few frames that the next call will need. An empty cache is the start of a
clip. A call may bring any number of frames that the layer accepts: all of a clip at once, or a group of four.

Letters: B batch, C channels, T frames at the layer's own rate, H W size at the layer's own scale, P pixels
of a frame.

Types: everything runs in the type of the weights. The reference upsamples in float32; that only copies
pixels, so doing it in the type of the weights gives the same bits.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lipforcing_core.models.codecs.causal_codec import FeatureCache


class Causal:
    """Marks a layer that looks at earlier frames: it is called with ``(x_BCTHW, cache)``."""


class Stack(nn.ModuleList):
    """Layers one after the other; those marked ``Causal`` get the cache too."""

    def forward(self, x_BCTHW: Tensor, cache: FeatureCache) -> Tensor:
        for layer in self:
            x_BCTHW = layer(x_BCTHW, cache) if isinstance(layer, Causal) else layer(x_BCTHW)
        return x_BCTHW


class CausalConv3d(nn.Conv3d, Causal):
    """Convolution over a frame and the K - 1 before it, zeros before the clip; K x S x S kernel, same size."""

    def __init__(self, in_channels: int, out_channels: int, *, frames: int = 3, side: int = 3) -> None:
        super().__init__(in_channels, out_channels, (frames, side, side), padding=(0, side // 2, side // 2))
        self.num_past = frames - 1

    def forward(self, x_BCTHW: Tensor, cache: FeatureCache) -> Tensor:  # type: ignore[override]
        past = cache[self] if self in cache else self.zero_past(x_BCTHW)
        x_BCTHW = torch.cat([past, x_BCTHW], dim=2)
        cache[self] = x_BCTHW[:, :, -self.num_past :].clone()  # a view would keep all frames alive
        return super().forward(x_BCTHW)

    def zero_past(self, like_BCTHW: Tensor) -> Tensor:
        """What the layer sees before the first frame."""
        batch, channels, _, height, width = like_BCTHW.shape
        return like_BCTHW.new_zeros(batch, channels, self.num_past, height, width)


class ChannelNorm(nn.Module):
    """The checkpoint's "RMS norm": x / |x| over the channels, times sqrt(C) and ``gamma``."""

    def __init__(self, channels: int, *, extra_dims: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(channels, *[1] * extra_dims))

    def forward(self, x: Tensor) -> Tensor:
        """``[B, C, ...]`` with ``extra_dims`` dimensions after C."""
        normed: Tensor = F.normalize(x, dim=1) * len(self.gamma) ** 0.5 * self.gamma
        return normed


class ResidualBlock(nn.Module, Causal):
    """x + conv(silu(norm(conv(silu(norm(x)))))); a 1 x 1 x 1 shortcut where the width changes."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.residual = Stack(
            [
                ChannelNorm(in_channels, extra_dims=3),
                nn.SiLU(),
                CausalConv3d(in_channels, out_channels),
                ChannelNorm(out_channels, extra_dims=3),
                nn.SiLU(),
                nn.Identity(),  # dropout in the checkpoint's numbering
                CausalConv3d(out_channels, out_channels),
            ]
        )
        same = in_channels == out_channels
        self.shortcut = nn.Identity() if same else nn.Conv3d(in_channels, out_channels, 1)

    def forward(self, x_BCTHW: Tensor, cache: FeatureCache) -> Tensor:
        out_BCTHW: Tensor = self.residual(x_BCTHW, cache) + self.shortcut(x_BCTHW)
        return out_BCTHW


class FrameAttention(nn.Module):
    """Single-head self-attention among the pixels of each frame, added to the input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = ChannelNorm(channels, extra_dims=2)
        self.to_qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.proj = nn.Conv2d(channels, channels, 1)

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        return x_BCTHW + per_frame(self._mix, x_BCTHW)

    def _mix(self, x_NCHW: Tensor) -> Tensor:
        qkv_NPC = self.to_qkv(self.norm(x_NCHW)).flatten(2).transpose(1, 2)
        q_NPC, k_NPC, v_NPC = qkv_NPC.chunk(3, dim=-1)
        seen_NPC = F.scaled_dot_product_attention(q_NPC, k_NPC, v_NPC)
        mixed_NCHW: Tensor = self.proj(seen_NPC.transpose(1, 2).reshape(x_NCHW.shape))
        return mixed_NCHW


class Downsample(nn.Module, Causal):
    """Half the height and width; ``in_time``, then half the frames too: 1 + 2k -> 1 + k, later 2k -> k.

    The first frame of a clip passes the time convolution by; output i > 0 sees inputs 2i - 2 to 2i.
    """

    def __init__(self, channels: int, *, in_time: bool) -> None:
        super().__init__()
        pad = nn.ZeroPad2d((0, 1, 0, 1))  # right and bottom only
        self.resample = nn.Sequential(pad, nn.Conv2d(channels, channels, 3, stride=2))
        if in_time:
            self.time_conv: nn.Conv3d | None = nn.Conv3d(channels, channels, (3, 1, 1), stride=(2, 1, 1))
        else:
            self.time_conv = None

    def forward(self, x_BCTHW: Tensor, cache: FeatureCache) -> Tensor:
        x_BCTHW = per_frame(self.resample, x_BCTHW)
        if self.time_conv is None:
            return x_BCTHW
        past = cache.get(self)
        cache[self] = x_BCTHW[:, :, -1:].clone()
        if past is not None:
            halved_BCTHW: Tensor = self.time_conv(torch.cat([past, x_BCTHW], dim=2))
            return halved_BCTHW
        first = x_BCTHW[:, :, :1]
        return first if x_BCTHW.shape[2] == 1 else torch.cat([first, self.time_conv(x_BCTHW)], dim=2)


class Upsample(nn.Module, Causal):
    """Twice the height and width at half the channels, and with ``in_time`` twice the frames before that.

    The first frame of a clip stays one frame (1 + k -> 1 + 2k, later k -> 2k), and the time convolution of the others
    does not see it.
    """

    def __init__(self, channels: int, *, in_time: bool) -> None:
        super().__init__()
        double = nn.Upsample(scale_factor=2.0, mode="nearest-exact")
        self.resample = nn.Sequential(double, nn.Conv2d(channels, channels // 2, 3, padding=1))
        self.time_conv = CausalConv3d(channels, 2 * channels, side=1) if in_time else None

    def forward(self, x_BCTHW: Tensor, cache: FeatureCache) -> Tensor:
        if self.time_conv is not None:
            x_BCTHW = self._double_frames(self.time_conv, x_BCTHW, cache)
        return per_frame(self.resample, x_BCTHW)

    @staticmethod
    def _double_frames(time_conv: CausalConv3d, x_BCTHW: Tensor, cache: FeatureCache) -> Tensor:
        if time_conv in cache:
            return _split_frames(time_conv(x_BCTHW, cache))
        first, later = x_BCTHW.tensor_split([1], dim=2)
        cache[time_conv] = time_conv.zero_past(first)
        if later.shape[2] == 0:
            return first
        return torch.cat([first, _split_frames(time_conv(later, cache))], dim=2)


def _split_frames(x_BCTHW: Tensor) -> Tensor:
    """``[B, 2C, T, H, W]`` -> ``[B, C, 2T, H, W]``: the two halves of the channels are consecutive frames."""
    return torch.unflatten(x_BCTHW, 1, (2, -1)).movedim(1, 3).flatten(2, 3)


def per_frame(layer: Callable[[Tensor], Tensor], x_BCTHW: Tensor) -> Tensor:
    """Apply a layer for images ``[N, C, H, W]`` to every frame."""
    x_NCHW = layer(x_BCTHW.transpose(1, 2).flatten(0, 1))
    return torch.unflatten(x_NCHW, 0, (len(x_BCTHW), -1)).transpose(1, 2)
