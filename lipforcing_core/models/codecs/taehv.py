"""TAEHV, the tiny autoencoder for Wan 2.1 latents (``taew2_1``; method A.7).

It codes the same normalised latents as the Wan VAE at a fraction of the cost: 2-D convolutions, and blocks
that also see the frame before. ``TinyAutoencoder`` is the network; each call codes, in one pass, the frames it
is given, and a ``FeatureCache`` makes consecutive calls one clip. ``TaehvCodec`` puts it behind the
``VideoCodec`` interface and works latent by latent, which bounds the memory.

Letters: B batch, C channels, T latent frames, F pixel frames, H W size (pixels or latents, as named); inside
the network N = B x frames, frame by frame within a sample. Everything runs in the type of the weights
(float16 in the official release).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.models.codecs.causal_codec import CausalCodec, FeatureCache
from lipforcing_core.models.codecs.checks import check_latent
from lipforcing_core.models.codecs.protocol import SPACE_STRIDE, TIME_STRIDE
from lipforcing_core.weights.registered import RegisteredNetwork

_TIME_STEPS = (2, 2, 1)  # frames merged at each stage of the encoder; the decoder splits in reverse
_BLOCKS_PER_STAGE = 3
_TRIMMED_FRAMES = TIME_STRIDE - 1


@dataclass(frozen=True, kw_only=True)
class TaehvConfig:
    """Sizes of the network; the defaults are those of ``taew2_1``.

    ``decoder_widths`` are the widths of the decoder's three stages and of its last layers.
    """

    latent_channels: int = 16
    encoder_width: int = 64
    decoder_widths: tuple[int, int, int, int] = (256, 128, 64, 64)


class TinyAutoencoder(nn.Module):
    """The network, with the names of ``taew2_1.pth``."""

    def __init__(self, config: TaehvConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or TaehvConfig()
        self.encoder = FrameStack(_encoder_layers(config))
        self.decoder = FrameStack(_decoder_layers(config))

    def encode(
        self,
        video_BCFHW: Tensor,
        cache: FeatureCache | None = None,
        *,
        padding: Literal["front", "end"] = "front",
    ) -> Tensor:
        """``[B, 3, F, H, W]`` in [0, 1] to normalised latents ``[B, C, T, H/8, W/8]``, T = ceil(F / 4).

        A clip whose length is no multiple of 4 is filled up with copies of its first frame in front, which gives the
        1 + 4k grid of the Wan VAE, or of its last frame at the end, which is the autoencoder's own grid. With the cache
        of an earlier call F must be a multiple of 4. Raises ``BadInputError`` on sizes that do not fit.
        """
        cache = {} if cache is None else cache
        _, channels, frames, height, width = video_BCFHW.shape
        missing = -frames % TIME_STRIDE
        if (
            channels != 3
            or not frames
            or (cache and missing)
            or height % SPACE_STRIDE
            or width % SPACE_STRIDE
        ):
            expected = f"{TIME_STRIDE}k further RGB frames" if cache else "RGB frames"
            raise BadInputError(
                f"the codec takes {expected} with sides that are multiples of {SPACE_STRIDE}; "
                f"got {channels} channels, {frames} frames of {width}x{height}"
            )
        edge = video_BCFHW[:, :, :1] if padding == "front" else video_BCFHW[:, :, -1:]
        filling = edge.expand(-1, -1, missing, -1, -1)
        parts = [filling, video_BCFHW] if padding == "front" else [video_BCFHW, filling]
        latent_BCTHW: Tensor = self.encoder(torch.cat(parts, dim=2), cache)
        return latent_BCTHW

    def decode(self, latent_BCTHW: Tensor, cache: FeatureCache | None = None) -> Tensor:
        """Normalised latents ``[B, C, T, h, w]`` to video ``[B, 3, F, 8h, 8w]`` clamped to [0, 1].

        F = 4T - 3 at the start of a clip (no cache, or an empty one), whose first three frames are dropped;
        4T with the cache of an earlier call. Raises ``BadInputError`` on another number of channels.
        """
        cache = {} if cache is None else cache
        check_latent(latent_BCTHW, self.config.latent_channels)
        dropped = 0 if cache else _TRIMMED_FRAMES
        video_BCFHW: Tensor = self.decoder(latent_BCTHW, cache)[:, :, dropped:].clamp(0, 1)
        return video_BCFHW


class TaehvCodec(CausalCodec):
    """The tiny autoencoder as a codec: first frame alone, like the Wan VAE (its copies fill up the first group).

    The network is frozen, so that streams keep no history of gradients; those of the input still pass.
    """

    def __init__(self, network: TinyAutoencoder, backend_id: str) -> None:
        super().__init__(backend_id, network.config.latent_channels)
        self._network = network.eval().requires_grad_(False)

    def encode_group(self, video_BCFHW: Tensor, cache: FeatureCache) -> Tensor:
        return self._network.encode((video_BCFHW + 1) / 2, cache).float()

    def decode_group(self, latent_BCTHW: Tensor, cache: FeatureCache) -> Tensor:
        return self._network.decode(latent_BCTHW, cache).float() * 2 - 1


def load_taehv(registered: RegisteredNetwork, device: str, *, dtype: torch.dtype) -> TaehvCodec:
    """The codec of a registered checkpoint."""
    network = registered.build(TinyAutoencoder, dtype=dtype, device=device, fit=trim_time_kernel)
    return TaehvCodec(network, registered.backend_id)


def trim_time_kernel(name: str, stored: Tensor, wanted_shape: Sequence[int]) -> Tensor:
    """The last output channels of a stored time-growth kernel that has too many; any other tensor unchanged.

    Some releases keep kernels that split a frame into more frames than the network does; its frames are the
    latest of those. For loaders, before shapes are compared; ``wanted_shape`` is that of the network's parameter.
    """
    same_inputs = tuple(stored.shape[1:]) == tuple(wanted_shape[1:])
    if re.fullmatch(r"decoder\.\d+\.conv\.weight", name) and same_inputs and len(stored) > wanted_shape[0]:
        return stored[-wanted_shape[0] :]
    return stored


class FrameStack(nn.ModuleList):
    """Layers for images, applied to all frames at once; ``MemoryBlock`` also gets the frames before."""

    def forward(self, x_BCTHW: Tensor, cache: FeatureCache) -> Tensor:
        """``[B, C, T, H, W]`` to the same layout, with frames, channels and size as the layers make them."""
        batch = len(x_BCTHW)
        x_NCHW = x_BCTHW.to(next(self.parameters()).dtype).transpose(1, 2).flatten(0, 1)
        for layer in self:
            if isinstance(layer, MemoryBlock):
                x_BTCHW = torch.unflatten(x_NCHW, 0, (batch, -1))
                last = cache[layer] if layer in cache else torch.zeros_like(x_BTCHW[:, :1])
                cache[layer] = x_BTCHW[:, -1:].clone()  # a view would keep all frames alive
                before_BTCHW = torch.cat([last, x_BTCHW[:, :-1]], dim=1)
                x_NCHW = layer(x_NCHW, before_BTCHW.flatten(0, 1))
            else:
                x_NCHW = layer(x_NCHW)
        return torch.unflatten(x_NCHW, 0, (batch, -1)).transpose(1, 2)


class MemoryBlock(nn.Module):
    """relu(x + three convolutions of x and the frame before)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            _conv(2 * width, width), nn.ReLU(), _conv(width, width), nn.ReLU(), _conv(width, width)
        )

    def forward(self, x_NCHW: Tensor, before_NCHW: Tensor) -> Tensor:
        return F.relu(self.conv(torch.cat([x_NCHW, before_NCHW], dim=1)) + x_NCHW)


class MergeFrames(nn.Module):
    """Groups of ``frames`` frames to one, by a 1 x 1 convolution of their channels."""

    def __init__(self, width: int, frames: int) -> None:
        super().__init__()
        self.frames = frames
        self.conv = nn.Conv2d(width * frames, width, 1, bias=False)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        merged_NCHW: Tensor = self.conv(torch.unflatten(x_NCHW, 0, (-1, self.frames)).flatten(1, 2))
        return merged_NCHW


class SplitFrames(nn.Module):
    """Every frame to ``frames`` frames, earliest first, by a 1 x 1 convolution."""

    def __init__(self, width: int, frames: int) -> None:
        super().__init__()
        self.frames = frames
        self.conv = nn.Conv2d(width, width * frames, 1, bias=False)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        split_NCHW: Tensor = self.conv(x_NCHW).unflatten(1, (self.frames, -1)).flatten(0, 1)
        return split_NCHW


class SoftClamp(nn.Module):
    """3 tanh(x / 3)."""

    def forward(self, x: Tensor) -> Tensor:
        return 3 * torch.tanh(x / 3)


def _encoder_layers(config: TaehvConfig) -> list[nn.Module]:
    width = config.encoder_width
    layers: list[nn.Module] = [_conv(3, width), nn.ReLU()]
    for frames in _TIME_STEPS:
        layers += [MergeFrames(width, frames), _conv(width, width, stride=2, bias=False)]
        layers += [MemoryBlock(width) for _ in range(_BLOCKS_PER_STAGE)]
    return [*layers, _conv(width, config.latent_channels)]


def _decoder_layers(config: TaehvConfig) -> list[nn.Module]:
    widths = config.decoder_widths
    layers: list[nn.Module] = [SoftClamp(), _conv(config.latent_channels, widths[0]), nn.ReLU()]
    for (width, next_width), frames in zip(pairwise(widths), reversed(_TIME_STEPS), strict=True):
        layers += [MemoryBlock(width) for _ in range(_BLOCKS_PER_STAGE)]
        layers += [nn.Upsample(scale_factor=2.0), SplitFrames(width, frames)]
        layers.append(_conv(width, next_width, bias=False))
    return [*layers, nn.ReLU(), _conv(widths[-1], 3)]


def _conv(in_channels: int, out_channels: int, *, stride: int = 1, bias: bool = True) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=bias)
