"""A source that is an aligned crop already: where its face is follows from what it is, and no detector is asked."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from lipforcing_core.faces.align import aligned_already, square_matrix
from lipforcing_core.media.encode import VideoWriter
from lipforcing_core.metrics.protocol import CropMode, gt_box_aligned, precropped
from lipforcing_core.streaming.source import SourceFace


@pytest.mark.parametrize("size", [64, 512])
def test_the_crop_of_an_aligned_frame_is_the_frame(size: int) -> None:
    alignment = aligned_already(3, size, size)
    assert alignment.usable_F.tolist() == [True] * 3
    for matrix in alignment.matrices_F23:
        np.testing.assert_allclose(square_matrix(matrix, size), [[1, 0, 0], [0, 1, 0]], atol=1e-9)


def test_a_source_without_a_detector_is_whole(tmp_path: Path) -> None:
    """Noise, in which no detector would find anything; its output is longer than it, and runs back and forth."""
    frames = np.random.default_rng(0).integers(0, 255, (5, 64, 64, 3), dtype=np.uint8)
    with VideoWriter(tmp_path / "crops.mp4", width=64, height=64) as writer:
        for frame in frames:
            writer.write(frame)
    with closing(SourceFace(tmp_path / "crops.mp4", None)) as source:
        found = source.read(0, 7)
    assert [frame.has_face for frame in found] == [True] * 7
    np.testing.assert_array_equal(found[5].frame, found[3].frame)
    for frame in found:
        np.testing.assert_allclose(square_matrix(frame.matrix, 64), [[1, 0, 0], [0, 1, 0]], atol=1e-9)


def test_the_protocol_of_crops_is_another_one() -> None:
    protocol = precropped()
    assert (protocol.crop_mode, protocol.alignment) == (CropMode.PRECROPPED, "none")
    assert protocol.id != gt_box_aligned(detector_id="none@x").id
