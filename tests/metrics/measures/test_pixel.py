import math

import cv2
import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from lipforcing_core.metrics.measures.pixel import (
    luma,
    mouth_psnr,
    mouth_sharpness_ratio,
    psnr,
    ssim_and_mouth_ssim,
)
from lipforcing_core.metrics.regions import INNER_MOUTH_BOX, mouth_slices, redrawn_mask


def ssim(prediction: np.ndarray, truth: np.ndarray) -> float:
    return ssim_and_mouth_ssim(prediction, truth)[0]


def mouth_ssim(prediction: np.ndarray, truth: np.ndarray) -> float:
    return ssim_and_mouth_ssim(prediction, truth)[1]


def textured(seed: int, num_frames: int = 2, size: int = 64) -> np.ndarray:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (num_frames, size // 4, size // 4, 3), dtype=np.uint8)
    return np.stack([cv2.resize(c, (size, size), interpolation=cv2.INTER_CUBIC) for c in coarse])


def noisy(frames: np.ndarray, sigma: float, seed: int = 9) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, sigma, frames.shape)
    return np.clip(frames + noise, 0, 255).round().astype(np.uint8)


def blurred(frames: np.ndarray, sigma: float) -> np.ndarray:
    return np.stack([cv2.GaussianBlur(frame, (0, 0), sigma) for frame in frames])


def test_equal_clips_are_perfect():
    clip = textured(0)
    assert ssim_and_mouth_ssim(clip, clip) == (1.0, 1.0)
    assert psnr(clip, clip) == mouth_psnr(clip, clip) == math.inf
    assert mouth_sharpness_ratio(clip, clip) == 1.0


def test_ssim_agrees_with_scikit_image():
    truth, prediction = textured(0), noisy(textured(0), 20)
    expected = [
        structural_similarity(
            luma(x), luma(y), gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255
        )
        for x, y in zip(prediction, truth, strict=True)
    ]
    assert ssim(prediction, truth) == pytest.approx(np.mean(expected), abs=1e-9)


def test_psnr_agrees_with_scikit_image_over_the_pooled_clip():
    truth, prediction = textured(0), noisy(textured(0), 12)
    assert psnr(prediction, truth) == pytest.approx(
        peak_signal_noise_ratio(truth, prediction, data_range=255)
    )


def test_psnr_by_hand():
    black = np.zeros((1, 32, 32, 3), np.uint8)
    assert psnr(black + 255, black) == 0.0
    assert psnr(black + 1, black) == pytest.approx(20 * math.log10(255))


def test_one_equal_frame_does_not_make_a_clip_infinite():
    truth = np.zeros((2, 32, 32, 3), np.uint8)
    prediction = truth.copy()
    prediction[1] = 255
    assert psnr(prediction, truth) == pytest.approx(10 * math.log10(2))


def test_ssim_of_flat_frames_by_hand():
    a, b = np.full((1, 32, 32, 3), 100, np.uint8), np.full((1, 32, 32, 3), 150, np.uint8)
    c1 = (0.01 * 255) ** 2
    assert ssim(a, b) == pytest.approx((2 * 100 * 150 + c1) / (100**2 + 150**2 + c1))


def test_symmetric_and_ordered_by_damage():
    truth = textured(1)
    a, b = noisy(truth, 8), noisy(truth, 30)
    for metric in (ssim, mouth_ssim, psnr, mouth_psnr):
        assert metric(a, truth) == pytest.approx(metric(truth, a))
        assert metric(a, truth) > metric(b, truth)


def test_mouth_metrics_see_the_mouth_only():
    truth = textured(2)
    outside, inside = truth.copy(), truth.copy()
    mask = redrawn_mask(64)
    upper = np.zeros((64, 64), bool)
    upper[:10] = True
    outside[:, upper] = 255 - outside[:, upper]
    assert mouth_psnr(outside, truth) == math.inf
    assert mouth_ssim(outside, truth) == pytest.approx(1.0)
    inside[:, mask] = 255 - inside[:, mask]
    assert mouth_ssim(inside, truth) < ssim(inside, truth)
    assert mouth_psnr(inside, truth) < psnr(inside, truth)


def test_sharpness_falls_with_blur_and_rises_with_noise():
    truth = textured(3)
    ratios = [mouth_sharpness_ratio(blurred(truth, sigma), truth) for sigma in (0.7, 1.5, 3.0)]
    assert 1.0 > ratios[0] > ratios[1] > ratios[2] > 0.0
    assert mouth_sharpness_ratio(noisy(truth, 30), truth) > 1.0


def test_sharpness_of_half_the_contrast_is_a_quarter():
    checks = (np.indices((64, 64)).sum(0) % 2 * 200).astype(np.uint8)
    truth = np.repeat(checks[None, :, :, None], 3, axis=3)
    assert mouth_sharpness_ratio(truth // 2, truth) == pytest.approx(0.25)


def test_sharpness_of_flat_clips():
    flat, clip = np.full((1, 64, 64, 3), 90, np.uint8), textured(0, num_frames=1)
    assert mouth_sharpness_ratio(flat, flat) == 1.0
    assert mouth_sharpness_ratio(clip, flat) == math.inf


@pytest.mark.parametrize(
    "prediction",
    [
        np.zeros((2, 64, 64, 3), np.float32),
        np.zeros((1, 64, 64, 3), np.uint8),
        np.zeros((2, 64, 64), np.uint8),
    ],
)
def test_clips_that_do_not_match_are_refused(prediction: np.ndarray):
    with pytest.raises(ValueError, match="clips"):
        ssim(prediction, np.zeros((2, 64, 64, 3), np.uint8))


def test_crops_too_small_are_refused():
    with pytest.raises(ValueError, match="too small"):
        mouth_slices((8, 8))


def test_luma_by_hand():
    pixels = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [10, 20, 30]]], np.uint8)
    assert luma(pixels)[0] == pytest.approx([76.245, 149.685, 29.07, 2.99 + 11.74 + 3.42])


def test_mouth_ssim_is_the_mean_of_scikit_images_map_under_the_mask():
    truth, prediction = textured(4), noisy(textured(4), 25)
    mask = redrawn_mask(64)
    expected = []
    for x, y in zip(prediction, truth, strict=True):
        _, similarity = structural_similarity(
            luma(x),
            luma(y),
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            data_range=255,
            full=True,
        )
        expected.append(similarity[mask].mean())
    assert mouth_ssim(prediction, truth) == pytest.approx(np.mean(expected), abs=1e-9)
    assert mouth_ssim(prediction, truth) != pytest.approx(ssim(prediction, truth), abs=1e-4)


def test_mouth_psnr_by_hand():
    truth = np.full((2, 64, 64, 3), 100, np.uint8)
    prediction = truth.copy()
    prediction[0, redrawn_mask(64)] = 110  # mean squared error of the mask: 100 in one frame of two
    assert mouth_psnr(prediction, truth) == pytest.approx(10 * math.log10(255**2 / 50))
    with pytest.raises(ValueError, match="square"):
        mouth_psnr(np.zeros((1, 64, 48, 3), np.uint8), np.zeros((1, 64, 48, 3), np.uint8))


def test_sharpness_of_one_bright_point_by_hand():
    """A point of height h has a Laplacian of -4 h there and h beside it: 20 h^2 in the box's inner pixels."""
    rows, columns = mouth_slices((64, 64))
    low, high = np.zeros((1, 64, 64, 3), np.uint8), np.zeros((1, 64, 64, 3), np.uint8)
    centre = (rows.start + 6, columns.start + 9)
    low[0][centre], high[0][centre] = 50, 150
    assert mouth_sharpness_ratio(high, low) == pytest.approx(9.0)
    high[0, rows.start - 2] = 255  # outside the box
    assert mouth_sharpness_ratio(high, low) == pytest.approx(9.0)
    low[0, rows.start, columns.start] = (
        50  # in the border that is left out but for its neighbours, which are too
    )
    assert mouth_sharpness_ratio(high, low) == pytest.approx(9.0)


@pytest.mark.parametrize("shape", [(0, 64, 64, 3), (1, 10, 64, 3), (1, 64, 10, 3), (1, 64, 64, 4)])
def test_clips_without_room_for_a_window_are_refused(shape: tuple[int, ...]):
    for measure in (psnr, mouth_psnr, mouth_sharpness_ratio, ssim):
        with pytest.raises(ValueError, match=r"clips|square"):
            measure(np.zeros(shape, np.uint8), np.zeros(shape, np.uint8))
    small = np.zeros((1, 11, 11, 3), np.uint8)
    assert psnr(small + 255, small) == 0.0


def test_the_boxes_of_the_mouth():
    assert mouth_slices((100, 200)) == (slice(54, 84), slice(44, 156))
    assert mouth_slices((100, 100), INNER_MOUTH_BOX) == (slice(52, 84), slice(30, 70))
    assert mouth_slices((14, 14)) == (slice(8, 12), slice(3, 11))
    for shape in ((11, 100), (100, 5)):
        with pytest.raises(ValueError, match="too small"):
            mouth_slices(shape)
    mask = redrawn_mask(64)
    assert mask.dtype == bool
    assert mask[45, 32]
    assert not mask[5, 32]
    assert not mask.flags.writeable


def test_a_refusal_names_the_prediction_first():
    prediction, truth = np.zeros((2, 64, 64, 3), np.uint8), np.zeros((1, 64, 64, 3), np.uint8)
    for measure in (psnr, mouth_psnr, mouth_sharpness_ratio, ssim):
        with pytest.raises(ValueError, match=r"got \(2, 64, 64, 3\) and \(1, 64, 64, 3\)"):
            measure(prediction, truth)
        with pytest.raises(ValueError, match="uint8, got float32 and uint8"):
            measure(truth.astype(np.float32), truth)
