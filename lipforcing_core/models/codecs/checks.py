"""What every codec refuses: pictures and latents of a size that it cannot code.

Shape letters: B batch, C channels, T latent frames, F pixel frames, H W size (pixels or latents, as named).
"""

from __future__ import annotations

from torch import Tensor

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.models.codecs.protocol import SPACE_STRIDE, TIME_STRIDE


def check_video(
    video_BCFHW: Tensor,
    *,
    starts_clip: bool,
    time_stride: int = TIME_STRIDE,
    space_stride: int = SPACE_STRIDE,
) -> None:
    """Raise ``BadInputError`` for a video that is not RGB, or of another size than the codec takes.

    Its sides must be multiples of ``space_stride``. It must have 1 + k ``time_stride`` frames at the start of a clip,
    and k ``time_stride`` later (k > 0).
    """
    _, channels, frames, height, width = video_BCFHW.shape
    whole_groups = frames > 0 and frames % time_stride == (1 % time_stride if starts_clip else 0)
    if channels != 3 or not whole_groups or height % space_stride or width % space_stride:
        expected = f"{time_stride}k + 1 RGB frames" if starts_clip else f"{time_stride}k further RGB frames"
        raise BadInputError(
            f"the codec takes {expected} with sides that are multiples of {space_stride}; "
            f"got {channels} channels, {frames} frames of {width}x{height}"
        )


def check_latent(latent_BCTHW: Tensor, channels: int) -> None:
    """Raise ``BadInputError`` unless there are latents, with ``channels`` channels."""
    if latent_BCTHW.shape[1] != channels or latent_BCTHW.shape[2] == 0:
        raise BadInputError(
            f"the codec takes latents [B, {channels}, T, h, w], T > 0; got {tuple(latent_BCTHW.shape)}"
        )
