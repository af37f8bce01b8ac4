"""Detectors and the aligned crop on real clips (skipped where the media folder is absent)."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from lipforcing_core.faces.align import Alignment, align_track, square_matrix, warp_face
from lipforcing_core.faces.detect import FaceDetector, load_detector
from lipforcing_core.faces.mask import keep_mask, load_mask_source, mask_source
from lipforcing_core.faces.paste import paste_back
from lipforcing_core.faces.track import track_face

CLIPS = [f"{dataset}/row{row}" for dataset in ("hdtf", "hallo3", "talkvid") for row in (1, 2)]
# Clips whose head is turned by more than about 20 degrees: the cascade has no notion of a profile.
TURNED = ("hallo3/row1",)


def every_nth(path: Path, step: int) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [
            frame.to_ndarray(format="rgb24")
            for index, frame in enumerate(container.decode(video=0))
            if index % step == 0
        ]


@pytest.fixture(scope="module")
def detectors(media_dir: Path) -> dict[str, FaceDetector]:
    return {
        "lbp": load_detector("lbp"),
        "scrfd": load_detector("scrfd", media_dir / "models" / "scrfd_500m_kps.onnx"),
        "yunet": load_detector("yunet", media_dir / "models" / "yunet_n_dynamic.onnx"),
    }


@pytest.fixture(scope="module", params=CLIPS)
def clip(request: pytest.FixtureRequest, media_dir: Path) -> tuple[str, list[np.ndarray]]:
    """Name, and every fifth frame."""
    return request.param, every_nth(media_dir / "vs" / request.param / "input.mp4", 5)


def aligned(frames: list[np.ndarray], detector: FaceDetector) -> Alignment:
    return align_track(track_face(frames, detector, stride=1))


def crop_distance(a: Alignment, b: Alignment) -> float:
    """Mean distance of mouth, eyes and chin between two alignments, in pixels of the 512 crop."""
    places = np.array([[256, 330, 1], [150, 150, 1], [362, 150, 1], [256, 460, 1]], dtype=np.float64).T
    distances = []
    for first, second in zip(a.matrices_F23, b.matrices_F23, strict=True):
        to_frame = np.linalg.inv(np.vstack([square_matrix(first), [0, 0, 1]]))
        moved = square_matrix(second) @ to_frame @ places
        distances.append(np.linalg.norm(moved - places[:2], axis=0).mean())
    return float(np.mean(distances))


def test_scrfd_and_yunet_find_the_face_in_every_frame(
    clip: tuple[str, list[np.ndarray]], detectors: dict[str, FaceDetector]
) -> None:
    for frame in clip[1]:
        boxes = {}
        for name in ("scrfd", "yunet"):
            found = detectors[name].detect(frame)
            assert found, f"{name} found nothing"
            assert found[0].points is not None
            boxes[name] = np.array(found[0].box_xyxy)
        side = boxes["scrfd"][3] - boxes["scrfd"][1]
        assert np.abs(boxes["scrfd"] - boxes["yunet"]).max() < 0.2 * side


def test_lbp_agrees_with_scrfd(
    clip: tuple[str, list[np.ndarray]], detectors: dict[str, FaceDetector]
) -> None:
    """The followed box has its centre on SCRFD's face in every usable frame, and most frames are usable."""
    track = track_face(clip[1], detectors["lbp"], stride=1)
    assert track.usable.mean() >= 0.9
    for frame, box, usable in zip(clip[1], track.boxes_F4, track.usable, strict=True):
        if usable:
            x0, y0, x1, y1 = detectors["scrfd"].detect(frame)[0].box_xyxy
            assert x0 < (box[0] + box[2]) / 2 < x1
            assert y0 < (box[1] + box[3]) / 2 < y1


def test_aligned_crops_agree(clip: tuple[str, list[np.ndarray]], detectors: dict[str, FaceDetector]) -> None:
    """In the 512 crop: the two five-point detectors within 30 pixels, the cascade within 50 on frontal faces."""
    name, frames = clip
    by_scrfd = aligned(frames, detectors["scrfd"])
    assert crop_distance(by_scrfd, by_scrfd) == pytest.approx(0, abs=1e-6)
    assert crop_distance(by_scrfd, aligned(frames, detectors["yunet"])) < 30
    assert crop_distance(by_scrfd, aligned(frames, detectors["lbp"])) < (100 if name in TURNED else 50)


def test_mouth_mask_holds_what_lip_sync_systems_change(
    clip: tuple[str, list[np.ndarray]], detectors: dict[str, FaceDetector], media_dir: Path
) -> None:
    """What Lip Forcing redrew lies in our mask: it changed more inside."""
    name, frames = clip
    outputs = every_nth(media_dir / "vs" / name / "ours.mp4", 5)
    alignment = aligned(frames, detectors["scrfd"])
    change = np.zeros((256, 256))
    for frame, output, matrix in zip(frames, outputs, alignment.matrices_F23, strict=False):
        before, after = warp_face(frame, matrix, 256), warp_face(output, matrix, 256)
        change += np.abs(before.astype(float) - after).mean(axis=2)
    redraw = keep_mask(256) == 0
    middle = np.zeros((256, 256), dtype=bool)
    middle[:, 30:226] = True
    assert change[redraw & middle].mean() > 1.5 * change[~redraw & middle].mean()
    rows = np.where(redraw & middle, change, 0).sum(axis=1)
    assert 140 < (rows * np.arange(256)).sum() / rows.sum() < 190  # the mouth's height in the crop


def test_own_crop_pastes_back_without_a_trace(
    clip: tuple[str, list[np.ndarray]], detectors: dict[str, FaceDetector]
) -> None:
    frame = clip[1][0]
    matrix = aligned(clip[1][:1], detectors["scrfd"]).matrices_F23[0]
    pasted = paste_back(frame, warp_face(frame, matrix, 512), matrix)
    changed = (pasted != frame).any(axis=2)
    assert cv2.PSNR(pasted[changed], frame[changed]) > 36
    assert 0 < changed.mean() < 0.5


def test_drawn_mask_is_the_original_one(media_dir: Path) -> None:
    original, drawn = load_mask_source(media_dir / "latentsync" / "mask.png") == 0, mask_source() == 0
    assert (original & drawn).sum() / (original | drawn).sum() >= 0.99
