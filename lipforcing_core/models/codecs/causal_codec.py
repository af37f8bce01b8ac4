"""Codecs over causal networks: one group of frames at a time, with the few frames that each layer remembers.

Pictures and latents have to be on the device of the network; results stay there.

Letters: B batch, C channels, T latent frames, F pixel frames, H W size (pixels or latents, as named).
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.models.codecs.checks import check_latent, check_video
from lipforcing_core.models.codecs.protocol import TIME_STRIDE, StreamDecoder, StreamEncoder, VideoCodec

FeatureCache = dict[nn.Module, Tensor]
"""State of one stream: last input frames of each layer with a memory. Give every stream its own, empty one."""


class CausalCodec(ABC):
    """``VideoCodec`` over a causal network with stride 4 x 8 x 8: works group by group, keeps only caches."""

    def __init__(self, backend_id: str, latent_channels: int) -> None:
        self.backend_id = backend_id
        self.latent_channels = latent_channels

    @abstractmethod
    def encode_group(self, video_BCFHW: Tensor, cache: FeatureCache) -> Tensor:
        """Latents of the next frames of a stream: 1 frame at its start, 4 later."""

    @abstractmethod
    def decode_group(self, latent_BCTHW: Tensor, cache: FeatureCache) -> Tensor:
        """Frames of the next latent of a stream."""

    def encode(self, video_BCFHW: Tensor) -> Tensor:
        """``[B, 3, 4T-3, H, W]`` in [-1, 1] to normalised latents ``[B, C, T, H/8, W/8]`` float32;
        ``BadInputError`` on other sizes.
        """
        return self.stream_encoder().push(video_BCFHW)

    def decode(self, latent_BCTHW: Tensor) -> Tensor:
        """Normalised latents ``[B, C, T, h, w]`` to ``[B, 3, 4T-3, 8h, 8w]`` float32, clamped to [-1, 1];
        ``BadInputError`` on other channels.
        """
        return self.stream_decoder().push(latent_BCTHW)

    def stream_encoder(self) -> StreamEncoder:
        """A new, independent encoding stream."""
        return _Encoding(self)

    def stream_decoder(self) -> StreamDecoder:
        """A new, independent decoding stream."""
        return _Decoding(self)


class PairedCodec:
    """Encodes with one codec and decodes with another of the same latents: the Wan VAE's exact latents, and the
    tiny decoder's speed. The ``backend_id`` names both, joined by ``+``.
    """

    def __init__(self, encoding: VideoCodec, decoding: VideoCodec) -> None:
        """Raises ``BadInputError`` if the latents have different numbers of channels."""
        if encoding.latent_channels != decoding.latent_channels:
            raise BadInputError(
                f"{encoding.backend_id} makes latents of {encoding.latent_channels} channels, "
                f"{decoding.backend_id} takes {decoding.latent_channels}: they cannot be paired"
            )
        self._encoding, self._decoding = encoding, decoding
        self.backend_id = f"{encoding.backend_id}+{decoding.backend_id}"
        self.latent_channels = encoding.latent_channels

    def encode(self, video_BCFHW: Tensor) -> Tensor:
        """``[B, 3, 4T-3, H, W]`` in [-1, 1] to normalised latents ``[B, C, T, H/8, W/8]``."""
        return self._encoding.encode(video_BCFHW)

    def decode(self, latent_BCTHW: Tensor) -> Tensor:
        """Normalised latents to ``[B, 3, 4T-3, H, W]``, clamped to [-1, 1]."""
        return self._decoding.decode(latent_BCTHW)

    def stream_encoder(self) -> StreamEncoder:
        """A new, independent encoding stream."""
        return self._encoding.stream_encoder()

    def stream_decoder(self) -> StreamDecoder:
        """A new, independent decoding stream."""
        return self._decoding.stream_decoder()


class _Encoding:
    def __init__(self, codec: CausalCodec) -> None:
        self._codec = codec
        self._cache: FeatureCache = {}

    def push(self, video_BCFHW: Tensor) -> Tensor:
        starts_clip = not self._cache
        check_video(video_BCFHW, starts_clip=starts_clip)
        sizes = [1] if starts_clip else []
        sizes += [TIME_STRIDE] * (video_BCFHW.shape[2] // TIME_STRIDE)
        groups = torch.split(video_BCFHW, sizes, dim=2)
        return torch.cat([self._codec.encode_group(group, self._cache) for group in groups], dim=2)


class _Decoding:
    def __init__(self, codec: CausalCodec) -> None:
        self._codec = codec
        self._cache: FeatureCache = {}

    def push(self, latent_BCTHW: Tensor) -> Tensor:
        check_latent(latent_BCTHW, self._codec.latent_channels)
        groups = torch.split(latent_BCTHW, 1, dim=2)
        return torch.cat([self._codec.decode_group(group, self._cache) for group in groups], dim=2)
