"""Alignment, warp, masks and paste-back against the reference's numbers (``affine`` vectors)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from safetensors.numpy import load_file

from lipforcing_core.faces import align, mask, paste

# The reference computes matrices in float32. Its translations are around 500 pixels, where one float32 step is 3e-5
# and the error of a few operations reached 3.1e-4; ours are float64. What a matrix does to points of the
# frame is held to the vectors' own tolerance ("mapped").
TRANSLATION_ATOL = 5e-4
LINEAR_ATOL = 2e-6


@pytest.fixture(scope="module")
def vectors(parity_dir: Path) -> dict[str, np.ndarray]:
    return load_file(parity_dir / "affine" / "vectors.safetensors")


@pytest.fixture(scope="module")
def meta(parity_dir: Path) -> dict[str, Any]:
    return json.loads((parity_dir / "affine" / "meta.json").read_text())


@pytest.mark.parametrize("resolution", [128, 256, 512])
def test_template(vectors: dict[str, np.ndarray], meta: dict[str, Any], resolution: int) -> None:
    expected = vectors[f"template.res{resolution}"]
    np.testing.assert_allclose(align.template_points(resolution), expected, atol=meta["atol"]["template"])
    size = meta["config"][f"res{resolution}"]["face_size_width_height"]
    assert list(align.template_size(resolution)) == size


@pytest.mark.parametrize("case", ["smooth", "nosmooth", "mirrored"])
def test_sequence(vectors: dict[str, np.ndarray], meta: dict[str, Any], case: str) -> None:
    points = vectors[f"seq.{case}.in.points3"]
    matrices, bias = align.align_points(points, nose_bias=case != "nosmooth")
    expected = vectors[f"seq.{case}.out.matrix"].astype(np.float64)
    np.testing.assert_allclose(matrices[:, :, :2], expected[:, :, :2], atol=LINEAR_ATOL)
    np.testing.assert_allclose(matrices[:, :, 2], expected[:, :, 2], atol=TRANSLATION_ATOL)
    np.testing.assert_allclose(bias, vectors[f"seq.{case}.out.bias"], atol=meta["atol"]["bias"])
    mapped = points @ matrices[:, :, :2].transpose(0, 2, 1) + matrices[:, None, :, 2]
    wanted = points @ expected[:, :, :2].transpose(0, 2, 1) + expected[:, None, :, 2]
    np.testing.assert_allclose(mapped, wanted, atol=meta["atol"]["mapped"])
    inverses = np.stack([align.invert_matrix(matrix) for matrix in matrices])
    np.testing.assert_allclose(inverses, vectors[f"seq.{case}.out.inverse"], atol=meta["atol"]["inverse"])


def test_half_rounded_matrix_is_ours_in_float16(vectors: dict[str, np.ndarray]) -> None:
    matrices, _ = align.align_points(vectors["seq.smooth.in.points3"])
    np.testing.assert_allclose(
        matrices.astype(np.float16).astype(np.float32),
        vectors["seq.smooth.out.matrix_half_rounded"],
        rtol=1e-3,
    )


def test_single_points(vectors: dict[str, np.ndarray], meta: dict[str, Any]) -> None:
    points = vectors["points.in"]
    for index in range(len(points)):
        matrix = align.align_points(points[index : index + 1], resolution=256, nose_bias=False)[0][0]
        expected = vectors["points.out.matrix_res256"][index]
        np.testing.assert_allclose(matrix, expected, atol=meta["atol"]["matrix"])
        mapped = points[index] @ matrix[:, :2].T + matrix[:, 2]
        np.testing.assert_allclose(mapped, vectors["points.out.mapped"][index], atol=meta["atol"]["mapped"])


def test_warp_within_one_grey_level(vectors: dict[str, np.ndarray], meta: dict[str, Any]) -> None:
    matrix = align.align_points(vectors["warp.in.points3"][None], resolution=128)[0][0]
    np.testing.assert_allclose(matrix, vectors["warp.out.matrix"], atol=meta["atol"]["matrix"])
    image = vectors["warp.in.image"]
    crop = cv2.warpAffine(
        image.astype(np.float32),
        matrix,
        (105, 140),
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(127, 127, 127),
    )
    assert (
        np.abs(crop.transpose(2, 0, 1) - vectors["warp.out.crop_float"]).max() <= meta["atol"]["crop_float"]
    )
    truncated = crop.astype(np.uint8).astype(int)
    assert np.abs(truncated - vectors["warp.out.crop"]).max() <= meta["atol"]["crop_uint8"]


def test_square_crop_close_to_warp_and_lanczos(vectors: dict[str, np.ndarray]) -> None:
    """Ours warps once and bilinearly; the reference warps, truncates and stretches with Lanczos."""
    to_512 = vectors["warp.out.matrix"].astype(np.float64) * 4
    to_512[:, 2] += 1.5  # pixel centres of a four times finer grid
    crop = align.warp_face(vectors["warp.in.image"], to_512, 128)
    difference = np.abs(crop.astype(int) - vectors["warp.out.crop_resized_lanczos"])
    assert np.median(difference) <= 3
    assert difference.mean() < 6


def test_masks(vectors: dict[str, np.ndarray], meta: dict[str, Any]) -> None:
    original = vectors["mask.png_gray_256"]
    pixel = np.unpackbits(vectors["mask.pixel512_packed_rows"], axis=1)
    np.testing.assert_array_equal(mask.keep_mask(512, original), pixel)
    np.testing.assert_array_equal(mask.latent_keep_mask(64, 64, original), vectors["mask.latent64"])
    soft = mask.compositing_mask(128, original)
    np.testing.assert_allclose(soft, vectors["mask.lanczos128"], atol=meta["atol"]["mask_lanczos"])


def test_drawn_mask_overlaps_the_original(vectors: dict[str, np.ndarray]) -> None:
    original, drawn = vectors["mask.png_gray_256"] == 0, mask.mask_source() == 0
    assert (original & drawn).sum() / (original | drawn).sum() >= 0.99


@pytest.mark.parametrize("case", ["full_face", "mouth_only"])
def test_paste(vectors: dict[str, np.ndarray], meta: dict[str, Any], case: str) -> None:
    image = vectors["warp.in.image"]
    generated = vectors["paste.in.generated"].transpose(1, 2, 0) * 2 - 1
    source_crop = vectors["warp.out.crop_resized_lanczos"].astype(np.float32) / 127.5 - 1
    pasted = paste.paste_back_latentsync(
        image,
        generated,
        vectors["warp.out.matrix"],
        source_crop=source_crop if case == "mouth_only" else None,
        source=vectors["mask.png_gray_256"],
        resolution=128,
    )
    difference = np.abs(pasted.astype(int) - vectors[f"paste.{case}.out.frame"])
    assert difference.max() <= meta["atol"]["paste_uint8"]
    assert (difference > 0).mean() < 1e-3
    assert (pasted != image).any(axis=-1).sum() == meta["config"][f"paste_{case}_pixels_changed"]
