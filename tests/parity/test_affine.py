"""Alignment, warp, masks and paste-back against the reference's numbers (``affine`` vectors)."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from lipforcing_core.faces import align, mask, paste
from lipforcing_core.media.affine import invert_matrix
from tests.parity.filler import Vectors, load_vectors


@pytest.fixture(scope="module")
def vectors(parity_dir: Path) -> Vectors:
    return load_vectors(parity_dir, "affine")


@pytest.fixture(scope="module")
def arrays(vectors: Vectors) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in vectors.tensors.items()}


def found(arrays: dict[str, np.ndarray], pattern: str) -> list[re.Match[str]]:
    """The names that match; at least one must."""
    matches = [match for name in arrays if (match := re.fullmatch(pattern, name))]
    assert matches, f"no vectors are named {pattern}"
    return matches


def test_template(vectors: Vectors, arrays: dict[str, np.ndarray]) -> None:
    for match in found(arrays, r"template\.res(\d+)"):
        resolution = int(match[1])
        got = align.template_points(resolution)
        np.testing.assert_allclose(got, arrays[match[0]], rtol=0, atol=vectors.meta["atol"]["template"])
        size = vectors.meta["config"][f"res{resolution}"]["face_size_width_height"]
        assert list(align.template_size(resolution)) == size


def assert_matrix(
    got: np.ndarray, want: np.ndarray, points: np.ndarray, atol: dict[str, float], what: str
) -> None:
    """Equal entries, and equal places in the crop for the points.

    The translation is compared about the centre c of the points, where both matrices turn: about the origin of the
    frame, rounding of the linear part L is multiplied by |c|. The reference has float32, and computes the
    translation as (template centre) - L c; so on top of the tolerance comes one float32 step of that product, and
    an implementation with the reference's very steps may be that far off.
    """
    got, want = got.astype(np.float64), want.astype(np.float64)
    np.testing.assert_allclose(got[:, :2], want[:, :2], rtol=0, atol=atol["matrix"], err_msg=what)
    centre = points.mean(axis=0)
    step = np.spacing(np.float32(np.linalg.norm(got[:, :2] @ centre)))
    difference = (got[:, :2] - want[:, :2]) @ centre + got[:, 2] - want[:, 2]
    np.testing.assert_allclose(difference, 0, atol=atol["matrix"] + step, err_msg=f"{what} at the centre")
    place, wanted = (points @ matrix[:, :2].T + matrix[:, 2] for matrix in (got, want))
    np.testing.assert_allclose(
        place, wanted, rtol=0, atol=atol["mapped"], err_msg=f"{what}: points in the crop"
    )


def sequences(arrays: dict[str, np.ndarray]) -> list[str]:
    """The names with points of consecutive frames: all that have points, but for the single frame ``warp``."""
    return [match[1] for match in found(arrays, r"(?!warp\.in\.)(.+)\.in\.points3")]


def test_every_sequence(vectors: Vectors, arrays: dict[str, np.ndarray]) -> None:
    atol = vectors.meta["atol"]
    for case in sequences(arrays):
        points, bias = arrays[f"{case}.in.points3"], arrays[f"{case}.out.bias"]
        matrices, got_bias = align.align_points(points, nose_bias=bool(bias.any()))
        np.testing.assert_allclose(got_bias, bias, rtol=0, atol=atol["bias"], err_msg=case)
        for index, want in enumerate(arrays[f"{case}.out.matrix"]):
            assert_matrix(matrices[index], want, points[index], atol, f"{case} frame {index}")
        inverses = np.stack([invert_matrix(matrix) for matrix in matrices])
        want = arrays[f"{case}.out.inverse"]
        np.testing.assert_allclose(inverses, want, rtol=0, atol=atol["inverse"], err_msg=case)


def test_every_half_rounded_matrix_is_ours_in_float16(
    vectors: Vectors, arrays: dict[str, np.ndarray]
) -> None:
    """Both may round to either side: one step of float16, and ``matrix`` where a value is almost zero."""
    atol = vectors.meta["atol"]
    for match in found(arrays, r"(.+)\.out\.matrix_half_rounded"):
        case, want = match[1], arrays[match[0]]
        nose_bias = bool(arrays[f"{case}.out.bias"].any())
        matrices, _ = align.align_points(arrays[f"{case}.in.points3"], nose_bias=nose_bias)
        allowed = np.spacing(np.abs(want).astype(np.float16)).astype(np.float64) + atol["matrix"]
        assert (np.abs(matrices.astype(np.float16).astype(np.float64) - want) <= allowed).all(), case
        inverses = np.stack([invert_matrix(matrix) for matrix in want])
        wanted = arrays[f"{case}.out.inverse_of_half_rounded"]
        np.testing.assert_allclose(inverses, wanted, rtol=0, atol=atol["inverse"], err_msg=case)


def test_single_points(vectors: Vectors, arrays: dict[str, np.ndarray]) -> None:
    """The mapped points are stored once, at one of the resolutions of the matrices."""
    points_N32, atol, errors = arrays["points.in"], vectors.meta["atol"], {}
    for match in found(arrays, r"points\.out\.matrix_res(\d+)"):
        resolution = int(match[1])
        matrices = [
            align.align_points(p[None], resolution=resolution, nose_bias=False)[0][0] for p in points_N32
        ]
        for index, (matrix, want) in enumerate(zip(matrices, arrays[match[0]], strict=True)):
            assert_matrix(matrix, want, points_N32[index], atol, f"points {index} at {resolution}")
        mapped = np.stack([p @ m[:, :2].T + m[:, 2] for p, m in zip(points_N32, matrices, strict=True)])
        errors[resolution] = np.abs(mapped - arrays["points.out.mapped"]).max()
    assert min(errors.values()) <= atol["mapped"], f"mapped points differ by {errors}"


def resolution_of(arrays: dict[str, np.ndarray]) -> int:
    """The side of the square crop in the ``warp`` and ``paste`` vectors."""
    return len(arrays["warp.out.crop_resized_lanczos"])


def test_reference_warp_within_one_grey_level(vectors: Vectors, arrays: dict[str, np.ndarray]) -> None:
    """Each step from the stored result of the one before: Lanczos makes more than one level of one in its input."""
    points, resolution = arrays["warp.in.points3"], resolution_of(arrays)
    matrix = align.align_points(points[None], resolution=resolution)[0][0]
    assert_matrix(matrix, arrays["warp.out.matrix"], points, vectors.meta["atol"], "warp")
    image, atol = arrays["warp.in.image"], vectors.meta["atol"]
    crop = align.template_crop(image, matrix, resolution)
    want = arrays["warp.out.crop_float"].transpose(1, 2, 0)
    np.testing.assert_allclose(crop, want, rtol=0, atol=atol["crop_float"])
    levels, wanted = crop.astype(np.uint8), arrays["warp.out.crop"]
    np.testing.assert_allclose(levels.astype(int), wanted.astype(int), rtol=0, atol=atol["crop_uint8"])

    def square(crop: np.ndarray) -> np.ndarray:
        return cv2.resize(crop, (resolution, resolution), interpolation=cv2.INTER_LANCZOS4)

    want = arrays["warp.out.crop_resized_lanczos"].astype(int)
    np.testing.assert_allclose(square(wanted).astype(int), want, rtol=0, atol=atol["crop_uint8"])
    got = align.warp_face_latentsync(image, matrix, resolution=resolution)
    np.testing.assert_array_equal(got, square(levels))


def test_our_warp_shows_the_reference_s_picture_in_its_place(arrays: dict[str, np.ndarray]) -> None:
    """Ours warps once and bilinearly, without truncation and Lanczos; half a pixel aside it would fit worse."""
    resolution = resolution_of(arrays)
    scale_2 = np.array(align.template_size()) / align.template_size(resolution)
    to_512 = arrays["warp.out.matrix"] * scale_2[:, None]
    to_512[:, 2] += (scale_2 - 1) / 2  # pixel centres of a finer grid

    def difference(right: float, down: float) -> float:
        moved = to_512.copy()
        moved[:, 2] += scale_2 * (right, down)
        crop = align.warp_face(arrays["warp.in.image"], moved, resolution)
        return float(np.abs(crop.astype(int) - arrays["warp.out.crop_resized_lanczos"]).mean())

    aside = [difference(*move) for move in ((0.5, 0), (-0.5, 0), (0, 0.5), (0, -0.5))]
    assert difference(0, 0) < min(aside)


def test_masks(vectors: Vectors, arrays: dict[str, np.ndarray]) -> None:
    original, atol = arrays[found(arrays, r"mask\.png_gray_\d+")[0][0]], vectors.meta["atol"]
    for match in found(arrays, r"mask\.pixel(\d+)_packed_rows"):
        pixel = np.unpackbits(arrays[match[0]], axis=1, count=int(match[1])).astype(np.float32)
        got = mask.keep_mask(int(match[1]), original)
        np.testing.assert_allclose(got, pixel, rtol=0, atol=atol["mask"])
    for match in found(arrays, r"mask\.latent(\d+)"):
        want = arrays[match[0]].astype(np.float32)
        got = mask.latent_keep_mask(want.shape[0], want.shape[1], original)
        np.testing.assert_allclose(got, want, rtol=0, atol=atol["mask"])
    for match in found(arrays, r"mask\.lanczos(\d+)"):
        got = mask.compositing_mask(int(match[1]), original)
        np.testing.assert_allclose(got, arrays[match[0]], rtol=0, atol=atol["mask_lanczos"])


def test_drawn_mask_overlaps_the_original(arrays: dict[str, np.ndarray]) -> None:
    original = arrays[found(arrays, r"mask\.png_gray_\d+")[0][0]] == 0
    drawn = mask.mask_source() == 0
    assert (original & drawn).sum() / (original | drawn).sum() >= 0.99


def test_every_paste(vectors: Vectors, arrays: dict[str, np.ndarray]) -> None:
    """Of the whole face or of the mouth alone, whichever gives the stored face of the template crop."""
    image, resolution = arrays["warp.in.image"], resolution_of(arrays)
    generated = arrays["paste.in.generated"].transpose(1, 2, 0) * 2 - 1
    source_crop = arrays["warp.out.crop_resized_lanczos"].astype(np.float32) / 127.5 - 1
    original = arrays[found(arrays, r"mask\.png_gray_\d+")[0][0]]
    atol = vectors.meta["atol"]
    for name in sorted({match[1] for match in found(arrays, r"paste\.(.+)\.(?:mid|out)\..+")}):
        data = vectors.of(f"paste.{name}")
        want = data["mid.face"].permute(1, 2, 0).numpy()  # in [-1, 1]
        faces = [
            (paste.template_face(generated, source_crop=crop, source=original, resolution=resolution), crop)
            for crop in (None, source_crop)
        ]
        fitting = [crop for face, crop in faces if np.abs(face - want).max() <= atol["crop_float"] / 127.5]
        assert fitting, f"{name}: the stored face is neither ours nor ours around the mouth alone"
        pasted = paste.paste_back_latentsync(
            image,
            generated,
            arrays["warp.out.matrix"],
            source_crop=fitting[0],
            source=original,
            resolution=resolution,
        )
        difference = np.abs(pasted.astype(int) - data["out.frame"].numpy())
        assert difference.max() <= atol["paste_uint8"], name
        data.assert_all_checked(name)
