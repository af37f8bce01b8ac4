"""Size of a transformer. The presets nano, 1.3b and 14b differ in nothing but these numbers."""

from __future__ import annotations

from dataclasses import dataclass

from lipforcing_core.base.errors import BadInputError


@dataclass(frozen=True, kw_only=True)
class DiTConfig:
    """Hyper-parameters of the Wan 2.1 transformer with OmniAvatar's audio branch (method A.1, A.3, A.6).

    ``in_channels`` is one of ``channel_layouts(out_channels)``. ``audio_dim`` is the feature width per video
    frame; ``None`` builds a model without an audio branch.

    Raises ``BadInputError`` for numbers that do not fit together.
    """

    dim: int
    ffn_dim: int
    num_heads: int
    num_layers: int
    text_dim: int
    text_len: int
    audio_dim: int | None
    freq_dim: int = 256
    in_channels: int = 65
    out_channels: int = 16
    patch_size: tuple[int, int, int] = (1, 2, 2)
    audio_hidden: int = 32
    eps: float = 1e-6

    def __post_init__(self) -> None:
        if self.dim % self.num_heads or (self.dim // self.num_heads) % 2:
            raise BadInputError(
                f"dim={self.dim} does not split into num_heads={self.num_heads} heads of even width (rotary pairs)"
            )
        if self.head_dim < 6:
            raise BadInputError(
                f"head width {self.head_dim} is too small for three rotary axes: use 6 or more"
            )
        if self.patch_size[0] != 1:
            raise BadInputError(
                f"patch_size={self.patch_size}: latent frames are never merged, use (1, ph, pw)"
            )
        if self.freq_dim % 2:
            raise BadInputError(f"freq_dim={self.freq_dim} must be even (cosines and sines)")
        layouts = channel_layouts(self.out_channels)
        if self.in_channels not in layouts:
            raise BadInputError(
                f"in_channels={self.in_channels} does not match out_channels={self.out_channels}: "
                f"use {layouts[0]}, {layouts[1]} or {layouts[2]}"
            )
        if self.audio_dim is not None and self.num_layers < 4:
            raise BadInputError(f"num_layers={self.num_layers}: the audio branch needs at least 4 layers")

    @property
    def head_dim(self) -> int:
        return self.dim // self.num_heads

    @property
    def condition_channels(self) -> int:
        """Channels concatenated after the noisy latent: 0, 33 or 49 for 16 latent channels."""
        return self.in_channels - self.out_channels

    @property
    def num_audio_projections(self) -> int:
        """Blocks 2 ... num_layers/2 receive audio: 19 at 14B, 14 at 1.3B (method A.6)."""
        return 0 if self.audio_dim is None else self.num_layers // 2 - 1

    def audio_index(self, layer: int) -> int | None:
        """Which audio projection is added before block ``layer``; ``None`` for the other blocks."""
        index = layer - FIRST_AUDIO_LAYER
        return index if 0 <= index < self.num_audio_projections else None

    def token_grid(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of tokens of a latent frame; raises ``BadInputError`` where patches do not fit."""
        _, patch_h, patch_w = self.patch_size
        if height % patch_h or width % patch_w:
            raise BadInputError(
                f"latent size {height}x{width} is no multiple of the patch {patch_h}x{patch_w}"
            )
        return height // patch_h, width // patch_w


def channel_layouts(latent_channels: int) -> tuple[int, int, int]:
    """The numbers of input channels that a model may have, with C latent channels (method A.3).

    C (text to video), 3C+1 (+ reference, mask and masked video) and 4C+1 (+ reference sequence); the 2C+1 of
    image-to-video OmniAvatar is no lip-sync model.
    """
    return latent_channels, 3 * latent_channels + 1, 4 * latent_channels + 1


FIRST_AUDIO_LAYER = 2
"""The first block that receives audio (method A.6)."""
