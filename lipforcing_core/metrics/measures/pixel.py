"""Pixel measures between aligned crops of a prediction and of the truth: SSIM, PSNR, mouth sharpness.

Clips are ``[F, H, W, 3] uint8 RGB``, equal in shape and in step frame by frame. SSIM works on luma; its settings
are those of Wang et al. 2004 (Gaussian window of sigma 1.5 cut at 11 pixels, K1 0.01, K2 0.03, population
covariance, range 255), and agree with ``skimage.metrics.structural_similarity(gaussian_weights=True, sigma=1.5,
use_sample_covariance=False, data_range=255)``, whose rule of leaving out a border of five pixels is kept.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from lipforcing_core.metrics.backends import Backend
from lipforcing_core.metrics.measures.protocol import ClipMeasure, Direction
from lipforcing_core.metrics.regions import mouth_slices, redrawn_mask

if TYPE_CHECKING:
    from lipforcing_core.metrics.scored import ScoredClip

SSIM_SIGMA = 1.5
SSIM_WINDOW = 11
LUMA_WEIGHTS = (0.299, 0.587, 0.114)
DATA_RANGE = 255.0

_K1, _K2 = 0.01, 0.03


def luma(frames: np.ndarray) -> np.ndarray:
    """Rec. 601 luma ``[..., H, W] float64`` in 0..255 of ``[..., H, W, 3] uint8 RGB``; not rounded."""
    return frames @ np.array(LUMA_WEIGHTS)


def ssim_and_mouth_ssim(prediction: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Mean over frames of the structural similarity of luma, in [-1, 1]; 1 for equal clips.

    The first is over the whole crop, the second over the region that models redraw (mouth mask, method A.4).
    """
    mask = redrawn_mask(_square_side(truth))
    means = [(_inner(s).mean(), s[mask].mean()) for s in _similarity_maps(prediction, truth)]
    whole, mouth = np.mean(means, axis=0)
    return float(whole), float(mouth)


def _similarity(clip: ScoredClip) -> tuple[float, float]:
    return ssim_and_mouth_ssim(clip.frames, clip.truth.frames)


SSIM = ClipMeasure(
    name="ssim",
    label="SSIM",
    direction=Direction.HIGHER,
    backend=Backend.PIXELS,
    published_name="SSIM",
    summary="Structural similarity of luma to the truth (Gaussian window, sigma 1.5), mean over the aligned "
    "crop and over frames.",
    compute=lambda clip: clip.once(_similarity)[0],
)

MOUTH_SSIM = ClipMeasure(
    name="mouth_ssim",
    label="SSIM (mouth)",
    direction=Direction.HIGHER,
    backend=Backend.PIXELS,
    summary="SSIM averaged over the region that models redraw (mouth mask).",
    compute=lambda clip: clip.once(_similarity)[1],
)


def psnr(prediction: np.ndarray, truth: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB from the squared error pooled over the clip; ``inf`` for equal clips.

    Pooling the error over frames (not averaging decibels) keeps a single equal frame from making the clip infinite.
    """
    _check_pair(prediction, truth)
    return _decibels(float(np.mean([error.mean() for error in _squared_errors(prediction, truth)])))


PSNR = ClipMeasure(
    name="psnr",
    label="PSNR",
    unit="dB",
    direction=Direction.HIGHER,
    backend=Backend.PIXELS,
    summary="Peak signal-to-noise ratio to the truth, squared error pooled over the aligned clip.",
    compute=lambda clip: psnr(clip.frames, clip.truth.frames),
)


def mouth_psnr(prediction: np.ndarray, truth: np.ndarray) -> float:
    """``psnr`` over the region that models redraw (mouth mask, method A.4)."""
    _check_pair(prediction, truth)
    mask = redrawn_mask(_square_side(truth))
    return _decibels(float(np.mean([error[mask].mean() for error in _squared_errors(prediction, truth)])))


MOUTH_PSNR = ClipMeasure(
    name="mouth_psnr",
    label="PSNR (mouth)",
    unit="dB",
    direction=Direction.HIGHER,
    backend=Backend.PIXELS,
    summary="PSNR over the region that models redraw (mouth mask).",
    compute=lambda clip: mouth_psnr(clip.frames, clip.truth.frames),
)


def mouth_sharpness_ratio(prediction: np.ndarray, truth: np.ndarray) -> float:
    """Energy of the Laplacian of luma in the mouth box, prediction over truth.

    1 = as sharp as the truth, below 1 = blurred, above 1 = over-sharpened or noisy. ``inf`` where the truth is
    flat and the prediction is not; 1 where both are flat.
    """
    _check_pair(prediction, truth)
    energy, reference = _laplacian_energy(prediction), _laplacian_energy(truth)
    if reference == 0.0:
        return 1.0 if energy == 0.0 else math.inf
    return energy / reference


MOUTH_SHARPNESS = ClipMeasure(
    name="mouth_sharpness",
    label="Mouth sharpness",
    direction=Direction.NONE,
    backend=Backend.PIXELS,
    summary="Laplacian energy in the mouth box, prediction over truth: 1 = as sharp, below 1 = blurred, "
    "above 1 = noisy.",
    compute=lambda clip: mouth_sharpness_ratio(clip.frames, clip.truth.frames),
)


def _check_pair(prediction: np.ndarray, truth: np.ndarray) -> None:
    if prediction.shape != truth.shape or prediction.ndim != 4 or prediction.shape[-1] != 3:
        raise ValueError(
            f"clips must both be [F, H, W, 3] and equal in shape, got {prediction.shape} and {truth.shape}"
        )
    if prediction.dtype != np.uint8 or truth.dtype != np.uint8:
        raise ValueError(f"clips must be uint8, got {prediction.dtype} and {truth.dtype}")
    if len(prediction) == 0 or min(prediction.shape[1:3]) < SSIM_WINDOW:
        raise ValueError(f"clips of shape {prediction.shape} have no frames or frames under {SSIM_WINDOW} px")


def _square_side(frames: np.ndarray) -> int:
    height, width = frames.shape[1:3]
    if height != width:
        raise ValueError(f"the mouth mask fits square aligned crops only, got {height} x {width}")
    return height


def _similarity_maps(prediction: np.ndarray, truth: np.ndarray) -> Iterator[np.ndarray]:
    _check_pair(prediction, truth)
    for x, y in zip(prediction, truth, strict=True):
        yield _ssim_map(luma(x), luma(y))


def _inner(similarity: np.ndarray) -> np.ndarray:
    border = SSIM_WINDOW // 2
    return similarity[border:-border, border:-border]


def _ssim_map(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    c1, c2 = (_K1 * DATA_RANGE) ** 2, (_K2 * DATA_RANGE) ** 2
    mean_x, mean_y = _window(x), _window(y)
    variance_x = _window(x * x) - mean_x**2
    variance_y = _window(y * y) - mean_y**2
    covariance = _window(x * y) - mean_x * mean_y
    numerator = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    return numerator / ((mean_x**2 + mean_y**2 + c1) * (variance_x + variance_y + c2))


def _window(image: np.ndarray) -> np.ndarray:
    import cv2

    return cv2.GaussianBlur(image, (SSIM_WINDOW, SSIM_WINDOW), SSIM_SIGMA, borderType=cv2.BORDER_REFLECT)


def _squared_errors(prediction: np.ndarray, truth: np.ndarray) -> Iterator[np.ndarray]:
    """Per frame ``[H, W, 3] float64``."""
    import cv2

    for x, y in zip(prediction, truth, strict=True):
        yield cv2.absdiff(x, y).astype(np.float64) ** 2


def _decibels(mean_squared_error: float) -> float:
    if mean_squared_error == 0.0:
        return math.inf
    return 10.0 * math.log10(DATA_RANGE**2 / mean_squared_error)


def _laplacian_energy(frames: np.ndarray) -> float:
    import cv2

    rows, columns = mouth_slices(frames.shape[1:3])
    inner = slice(1, -1)
    energies = [np.mean(cv2.Laplacian(luma(f[rows, columns]), cv2.CV_64F)[inner, inner] ** 2) for f in frames]
    return float(np.mean(energies))
