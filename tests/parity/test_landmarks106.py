"""From 106 landmarks to the three anchors, and on to the crop's matrices, against the reference's numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lipforcing_core.faces.align import align_points
from lipforcing_core.faces.anchors import anchors_from_landmarks
from tests.parity.filler import Vectors, load_vectors

LANDMARKS, POINTS = ".in.landmarks106", ".in.points3"


@pytest.fixture(scope="module")
def vectors(parity_dir: Path) -> Vectors:
    return load_vectors(parity_dir, "affine")


def sequences(vectors: Vectors) -> dict[str, np.ndarray]:
    """Name of a sequence -> its landmarks [F, 106, 2]; skips where the vectors have none."""
    found = {
        name.removesuffix(LANDMARKS): tensor.numpy()
        for name, tensor in vectors.tensors.items()
        if name.endswith(LANDMARKS)
    }
    if not found:
        pytest.skip("the affine vectors hold no 106 landmarks")
    return found


def cases(vectors: Vectors, sequence: str) -> list[str]:
    """The ways in which the anchors of a sequence are used: ``smooth``, ``nosmooth``, ``mirrored``, ..."""
    found = sorted(name.removesuffix(POINTS) for name in vectors.of(sequence) if name.endswith(POINTS))
    assert found, f"nothing uses the landmarks of {sequence}"
    return found


def anchors(vectors: Vectors, sequence: str, case: str, landmarks: np.ndarray) -> np.ndarray:
    """Ours, which must be the stored ones; in some cases with the brows exchanged, so that the best map would be a
    reflection.
    """
    want = vectors.tensors[f"{sequence}.{case}{POINTS}"].numpy()
    points_F32 = anchors_from_landmarks(landmarks)
    exchanged_F32 = points_F32[:, [1, 0, 2]]
    if np.array_equal(exchanged_F32, want):
        return exchanged_F32
    np.testing.assert_array_equal(points_F32, want, err_msg=f"{sequence}.{case}")
    return points_F32


def test_anchors(vectors: Vectors) -> None:
    """Whole numbers, so they are equal or wrong; the vectors hold means that end in a half."""
    for sequence, landmarks in sequences(vectors).items():
        for case in cases(vectors, sequence):
            anchors(vectors, sequence, case, landmarks)


def test_matrices(vectors: Vectors) -> None:
    """What the matrices do to the anchors, from the landmarks on; for the bound see ``test_affine.py``."""
    for sequence, landmarks in sequences(vectors).items():
        for case in cases(vectors, sequence):
            points_F32 = anchors(vectors, sequence, case, landmarks)
            want = vectors.tensors[f"{sequence}.{case}.out.bias"].numpy()
            matrices_F23, bias_F2 = align_points(points_F32, nose_bias=bool(want.any()))
            expected_F23 = vectors.tensors[f"{sequence}.{case}.out.matrix"].double().numpy()
            mapped, wanted = (
                points_F32 @ matrix[:, :, :2].transpose(0, 2, 1) + matrix[:, None, :, 2]
                for matrix in (matrices_F23, expected_F23)
            )
            atol = vectors.meta["atol"]
            np.testing.assert_allclose(mapped, wanted, rtol=0, atol=atol["mapped"], err_msg=case)
            np.testing.assert_allclose(bias_F2, want, rtol=0, atol=atol["bias"], err_msg=case)
