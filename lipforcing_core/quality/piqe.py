"""PIQE (Venkatanath et al. 2015) through pyiqa: blockwise distortion and noise, without any trained weights.

0 is best, 100 worst. pyiqa is licensed for non-commercial use only (PolyForm Noncommercial 1.0.0).
"""

from __future__ import annotations

from importlib.metadata import version

import numpy as np

from lipforcing_core.base.errors import BadInputError, LipForcingError
from lipforcing_core.base.torchvision_shim import ensure_torchvision
from lipforcing_core.quality.protocol import CROP_SIZE, QualityScore, centre_crop, sample_frames

BLOCK_SIZE = 16
WORST = 100.0


class PiqeScorer:
    """``QualityScorer``: mean PIQE of first, middle and last frame, each cropped to its centre of up to 224 pixels.

    The crop is a multiple of the 16-pixel block on both sides, so nothing is padded.
    """

    def __init__(self) -> None:
        ensure_torchvision()
        try:
            from pyiqa.archs.piqe_arch import piqe
        except ModuleNotFoundError as error:
            raise LipForcingError(
                f"the piqe measure needs pyiqa: {error}; run `pip install pyiqa`"
            ) from error
        self._piqe = piqe
        self.backend_id = f"piqe-pyiqa{version('pyiqa')}"

    def score(self, frames: np.ndarray) -> QualityScore:
        """Score of [F, H, W, 3] uint8 RGB frames; raises ``BadInputError`` below 16 x 16 pixels or without frames."""
        sampled = sample_frames(frames)
        height, width = (min(CROP_SIZE, side // BLOCK_SIZE * BLOCK_SIZE) for side in sampled.shape[1:3])
        if height == 0 or width == 0:
            raise BadInputError(
                f"piqe needs frames of at least 16 x 16 pixels, not {list(sampled.shape[1:3])}"
            )
        values = [self._of_frame(crop) for crop in centre_crop(sampled, height, width)]
        return QualityScore(value=float(np.mean(values)), backend=self.backend_id, higher_is_better=False)

    def _of_frame(self, crop: np.ndarray) -> float:
        import torch

        if crop.max() == 0:
            return WORST  # what any flat picture scores; pyiqa divides by the maximum, which is zero here
        picture = torch.from_numpy(np.ascontiguousarray(crop.transpose(2, 0, 1)))[None].float() / 255
        with torch.inference_mode():
            return float(self._piqe(picture)[0])
