"""What a video codec is: pixels to diffusion latents and back, causal in time, with stride 4 x 8 x 8.

Shape letters: B batch, C channels, T latent frames, F pixel frames, H W size (pixels or latents, as named).
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from torch import Tensor

from lipforcing_core.media.clock import FRAMES_PER_LATENT

TIME_STRIDE = FRAMES_PER_LATENT
SPACE_STRIDE = 8


class StreamEncoder(Protocol):
    """One causal encoding stream. Feed 1 + 4k frames first, multiples of 4 afterwards."""

    def push(self, video_BCFHW: Tensor) -> Tensor:
        """Latents of the next frames: ``[B, 3, F, H, W]`` in [-1, 1] to ``[B, C, T, H/8, W/8]``."""
        ...


class StreamDecoder(Protocol):
    """One causal decoding stream: the first latent gives one frame, every later one four."""

    def push(self, latent_BCTHW: Tensor) -> Tensor:
        """Frames of the next latents: ``[B, C, T, h, w]`` to ``[B, 3, F, 8h, 8w]`` in [-1, 1]."""
        ...


class VideoCodec(Protocol):
    """What the rest of the project asks of a codec."""

    backend_id: str
    latent_channels: int

    def encode(self, video_BCFHW: Tensor) -> Tensor:
        """``[B, 3, 4T-3, H, W]`` in [-1, 1] to normalised latents ``[B, C, T, H/8, W/8]``."""
        ...

    def decode(self, latent_BCTHW: Tensor) -> Tensor:
        """Normalised latents to ``[B, 3, 4T-3, H, W]``, clamped to [-1, 1]."""
        ...

    def stream_encoder(self) -> StreamEncoder:
        """A new, independent encoding stream."""
        ...

    def stream_decoder(self) -> StreamDecoder:
        """A new, independent decoding stream."""
        ...


class FittedCodec(VideoCodec, Protocol):
    """A codec that is fitted on a corpus and kept in a file of its own."""

    def save(self, path: Path | str) -> None:
        """Write it to a file, atomically."""
        ...
