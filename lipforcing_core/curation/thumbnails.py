"""Small pictures of stored clips, as JPEG data URIs that a page can hold in itself."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from lipforcing_core.base.errors import LipForcingError
from lipforcing_core.media.decode import decoder_errors, opened_video
from lipforcing_core.media.picture import reduced
from lipforcing_core.media.picture_form import Forms

SIDE_PX = 112
JPEG_QUALITY = 70


def thumbnails(clip: Path, frames: Sequence[int], side_px: int = SIDE_PX) -> list[str]:
    """Frames of an aligned clip as data URIs, in the order of their numbers; those that are not there are left out.

    A clip that is gone or damaged has none: a report is no place to fail for a picture.
    """
    wanted, found = set(frames), []
    if not clip.is_file() or not wanted:
        return []
    with suppress(LipForcingError), opened_video(clip) as (container, stream), decoder_errors(clip):
        forms = Forms(stream)
        for number, frame in enumerate(container.decode(stream)):
            if number in wanted:
                found.append(_data_uri(reduced(frame, forms.of(frame), side_px).rgb_HW3))
            if number >= max(wanted):
                break
    return found


def _data_uri(rgb_HW3: np.ndarray) -> str:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(rgb_HW3).save(buffer, "JPEG", quality=JPEG_QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def three_frames(num_frames: int) -> list[int]:
    """The numbers of the first, the middle and the last frame, none of them twice."""
    return sorted({0, num_frames // 2, max(num_frames - 1, 0)})
