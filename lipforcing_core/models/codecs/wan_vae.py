"""The Wan 2.1 VAE: causal video autoencoder with stride 4 x 8 x 8 and 16 latent channels (method A.7).

``WanVAE`` is the network. Each call codes, in one pass, the frames it is given; a ``FeatureCache`` makes
consecutive calls one clip. ``WanVAECodec`` puts it behind the ``VideoCodec`` interface and always works in the
groups of the reference (1 frame, then 4; one latent at a time). So a clip costs the memory of one group
whatever its length, and its result has the same bits however it was cut into pushes. One pass over a whole
clip buys no time for that: on a CPU core it takes about a tenth longer than the groups (17 frames of 96 x 96,
full width, float32). And its memory grows with the clip: at 512 x 512 each full-width feature map of 81 frames
takes 8 GB in float32.

Official precision is bfloat16 for encoding and float32 for decoding. Each half follows the type of its own
weights, so one network serves both: ``encoder`` and ``conv1`` in bfloat16, ``conv2`` and ``decoder`` in float32.
The normalisation of the latents is always float32.

Letters: B batch, C channels, T latent frames, F pixel frames, H W size (pixels or latents, as named).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.models.codecs.causal_codec import CausalCodec, FeatureCache
from lipforcing_core.models.codecs.checks import check_latent, check_video
from lipforcing_core.models.codecs.protocol import SPACE_STRIDE, TIME_STRIDE
from lipforcing_core.models.codecs.wan_vae_blocks import (
    CausalConv3d,
    ChannelNorm,
    Downsample,
    FrameAttention,
    ResidualBlock,
    Stack,
    Upsample,
)
from lipforcing_core.weights.registered import RegisteredNetwork


@dataclass(frozen=True, kw_only=True)
class WanVAEConfig:
    """Sizes of the network; the defaults are the published ones.

    ``dim`` times ``dim_mult`` gives the width of each level. ``temporal_downsample`` tells which of the encoder's
    steps between levels also halve the frames; the decoder undoes them in reverse. ``attn_scales`` are the scales
    of levels with attention in every block, counted as the reference does (1, 1/2, ... in the encoder; the decoder
    starts at 2 / its stride). Latents are normalised as (z - ``latent_mean``) / ``latent_std``.
    """

    dim: int = 96
    z_dim: int = 16
    dim_mult: tuple[int, ...] = (1, 2, 4, 4)
    num_res_blocks: int = 2
    attn_scales: tuple[float, ...] = ()
    temporal_downsample: tuple[bool, ...] = (False, True, True)
    latent_mean: tuple[float, ...] = (
        *(-0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508),
        *(0.4134, -0.0715, 0.5517, -0.3632, -0.1922, -0.9497, 0.2503, -0.2921),
    )
    latent_std: tuple[float, ...] = (
        *(2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743),
        *(3.2687, 2.1526, 2.8652, 1.5579, 1.6382, 1.1253, 2.8251, 1.9160),
    )

    def __post_init__(self) -> None:
        if not len(self.latent_mean) == len(self.latent_std) == self.z_dim:
            raise BadInputError(f"latent_mean and latent_std need {self.z_dim} values, one for each channel")
        if len(self.temporal_downsample) != len(self.dim_mult) - 1:
            raise BadInputError(
                f"temporal_downsample needs {len(self.dim_mult) - 1} values, one between levels"
            )

    @property
    def time_stride(self) -> int:
        """Video frames to a latent, after the first."""
        stride: int = 2 ** sum(self.temporal_downsample)
        return stride

    @property
    def space_stride(self) -> int:
        """Pixels to a latent pixel, in height and width."""
        stride: int = 2 ** len(self.temporal_downsample)
        return stride


class WanVAE(nn.Module):
    """The network, with the names of ``Wan2.1_VAE.pth``."""

    latent_statistics: Tensor

    def __init__(self, config: WanVAEConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or WanVAEConfig()
        self.encoder = Encoder(config)
        self.conv1 = nn.Conv3d(2 * config.z_dim, 2 * config.z_dim, 1)
        self.conv2 = nn.Conv3d(config.z_dim, config.z_dim, 1)
        self.decoder = Decoder(config)
        self.register_buffer("latent_statistics", self._published_statistics(), persistent=False)

    def encode(self, video_BCFHW: Tensor, cache: FeatureCache | None = None) -> Tensor:
        """``[B, 3, F, H, W]`` in [-1, 1] to normalised latent means ``[B, z_dim, T, H/8, W/8]`` float32.

        Without a cache, or with an empty one, the frames start a clip and F = 1 + 4k gives 1 + k latents; with
        the cache of an earlier call they go on, and F = 4k gives k. Nothing is sampled. Raises
        ``BadInputError`` on other sizes (the reference drops frames beyond 1 + 4k in silence).
        """
        cache = {} if cache is None else cache
        config = self.config
        check_video(
            video_BCFHW,
            starts_clip=not cache,
            time_stride=config.time_stride,
            space_stride=config.space_stride,
        )
        moments = self.conv1(self.encoder(video_BCFHW.to(self.conv1.weight.dtype), cache))
        mean, std = self._statistics()
        latent_BCTHW: Tensor = (moments[:, : config.z_dim].float() - mean) / std
        return latent_BCTHW

    def decode(self, latent_BCTHW: Tensor, cache: FeatureCache | None = None) -> Tensor:
        """Normalised latents ``[B, z_dim, T, h, w]`` to video ``[B, 3, F, 8h, 8w]`` in about [-1, 1], not
        clamped, in the type of the decoder's weights.

        F = 4T - 3 at the start of a clip (no cache, or an empty one), 4T with the cache of an earlier call.
        Raises ``BadInputError`` on another number of channels.
        """
        cache = {} if cache is None else cache
        check_latent(latent_BCTHW, self.config.z_dim)
        mean, std = self._statistics()
        z = latent_BCTHW.float() * std + mean
        video_BCFHW: Tensor = self.decoder(self.conv2(z.to(self.conv2.weight.dtype)), cache)
        return video_BCFHW

    def _statistics(self) -> tuple[Tensor, Tensor]:
        mean, std = self.latent_statistics[..., None, None, None]
        return mean, std

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> WanVAE:
        """Move or cast; the statistics stay float32, and are right after construction on the meta device too."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.latent_statistics = self._published_statistics().to(self.latent_statistics.device)
        return self

    def _published_statistics(self) -> Tensor:
        """Mean and standard deviation of the latents, ``[2, z_dim]`` float32."""
        return torch.tensor([self.config.latent_mean, self.config.latent_std], device="cpu")


class Encoder(nn.Module):
    """Video ``[B, 3, F, H, W]`` to moments (means, then log variances) ``[B, 2 z_dim, T, h, w]``."""

    def __init__(self, config: WanVAEConfig) -> None:
        super().__init__()
        width, scale = config.dim, 1.0
        self.conv1 = CausalConv3d(3, width)
        layers: list[nn.Module] = []
        for level, factor in enumerate(config.dim_mult):
            attend = scale in config.attn_scales
            layers += _level(width, config.dim * factor, num_blocks=config.num_res_blocks, attend=attend)
            width = config.dim * factor
            if level < len(config.temporal_downsample):
                layers.append(Downsample(width, in_time=config.temporal_downsample[level]))
                scale /= 2
        self.downsamples = Stack(layers)
        self.middle = _middle(width)
        self.head = _head(width, 2 * config.z_dim)

    def forward(self, x_BCFHW: Tensor, cache: FeatureCache) -> Tensor:
        x: Tensor = self.conv1(x_BCFHW, cache)
        for part in (self.downsamples, self.middle, self.head):
            x = part(x, cache)
        return x


class Decoder(nn.Module):
    """Latents ``[B, z_dim, T, h, w]`` to video ``[B, 3, F, H, W]``; one more block a level than the encoder."""

    def __init__(self, config: WanVAEConfig) -> None:
        super().__init__()
        width, scale = config.dim * config.dim_mult[-1], 2.0 / config.space_stride
        self.conv1 = CausalConv3d(config.z_dim, width)
        self.middle = _middle(width)
        layers: list[nn.Module] = []
        in_time = config.temporal_downsample[::-1]
        for level, factor in enumerate(config.dim_mult[::-1]):
            attend = scale in config.attn_scales
            layers += _level(width, config.dim * factor, num_blocks=config.num_res_blocks + 1, attend=attend)
            width = config.dim * factor
            if level < len(in_time):
                layers.append(Upsample(width, in_time=in_time[level]))
                width //= 2
                scale *= 2
        self.upsamples = Stack(layers)
        self.head = _head(width, 3)

    def forward(self, x_BCTHW: Tensor, cache: FeatureCache) -> Tensor:
        x: Tensor = self.conv1(x_BCTHW, cache)
        for part in (self.middle, self.upsamples, self.head):
            x = part(x, cache)
        return x


def _level(in_width: int, width: int, *, num_blocks: int, attend: bool) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for block in range(num_blocks):
        layers.append(ResidualBlock(width if block else in_width, width))
        if attend:
            layers.append(FrameAttention(width))
    return layers


def _middle(width: int) -> Stack:
    return Stack([ResidualBlock(width, width), FrameAttention(width), ResidualBlock(width, width)])


def _head(width: int, out_channels: int) -> Stack:
    return Stack([ChannelNorm(width, extra_dims=3), nn.SiLU(), CausalConv3d(width, out_channels)])


class WanVAECodec(CausalCodec):
    """The Wan VAE as a codec. The network is frozen, so that streams keep no history of gradients; those of
    the input still pass through it.
    """

    def __init__(self, network: WanVAE, backend_id: str) -> None:
        """Raises ``BadInputError`` if the network's stride is not that of the project's latents."""
        config = network.config
        if (config.time_stride, config.space_stride) != (TIME_STRIDE, SPACE_STRIDE):
            raise BadInputError(
                f"a codec needs stride {TIME_STRIDE} x {SPACE_STRIDE}; "
                f"the network has {config.time_stride} x {config.space_stride}"
            )
        super().__init__(backend_id, config.z_dim)
        self._network = network.eval().requires_grad_(False)

    def encode_group(self, video_BCFHW: Tensor, cache: FeatureCache) -> Tensor:
        return self._network.encode(video_BCFHW, cache)

    def decode_group(self, latent_BCTHW: Tensor, cache: FeatureCache) -> Tensor:
        return self._network.decode(latent_BCTHW, cache).float().clamp(-1, 1)


def load_wan_vae(
    registered: RegisteredNetwork, device: str, *, encoder_dtype: torch.dtype, decoder_dtype: torch.dtype
) -> WanVAECodec:
    """The codec of a registered checkpoint; encoder and decoder may run in different types, as in the release."""
    network = registered.build(WanVAE, dtype=decoder_dtype, device=device)
    network.encoder.to(encoder_dtype)
    network.conv1.to(encoder_dtype)
    return WanVAECodec(network, registered.backend_id)
