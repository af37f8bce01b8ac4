"""Detectors and the aligned crop on real clips (skipped where the media folder is absent)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from lipforcing_core.faces.align import Alignment, align_track, square_matrix, warp_face
from lipforcing_core.faces.detectors.catalogue import load_detector
from lipforcing_core.faces.detectors.protocol import FaceDetector
from lipforcing_core.faces.mask import keep_mask, load_mask_source, mask_source
from lipforcing_core.faces.paste import paste_back
from lipforcing_core.faces.pose import pitch_deg
from lipforcing_core.faces.sightings import FaceState
from lipforcing_core.faces.track import FaceTrack, track_face

CLIPS = [f"{dataset}/row{row}" for dataset in ("hdtf", "hallo3", "talkvid") for row in (1, 2)]
# Clips whose head is turned by more than about 20 degrees: the cascade has no notion of a profile.
TURNED = ("hallo3/row1",)
STEP = 10


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


@dataclass(frozen=True)
class Seen:
    """Every tenth frame of a clip, and what each detector made of them."""

    name: str
    frames: list[np.ndarray]
    tracks: dict[str, FaceTrack]
    alignments: dict[str, Alignment]


@pytest.fixture(scope="module", params=CLIPS)
def seen(request: pytest.FixtureRequest, media_dir: Path, detectors: dict[str, FaceDetector]) -> Seen:
    frames = every_nth(media_dir / "vs" / request.param / "input.mp4", STEP)
    tracks = {name: track_face(frames, detector, stride=1) for name, detector in detectors.items()}
    alignments = {name: align_track(track) for name, track in tracks.items()}
    return Seen(request.param, frames, tracks, alignments)


def crop_distance(a: Alignment, b: Alignment) -> float:
    """Mean distance of mouth, eyes and chin between two alignments, in pixels of the 512 crop."""
    places = np.array([[256, 330, 1], [150, 150, 1], [362, 150, 1], [256, 460, 1]], dtype=np.float64).T
    distances = []
    for first, second in zip(a.matrices_F23, b.matrices_F23, strict=True):
        to_frame = np.linalg.inv(np.vstack([square_matrix(first), [0, 0, 1]]))
        moved = square_matrix(second) @ to_frame @ places
        distances.append(np.linalg.norm(moved - places[:2], axis=0).mean())
    return float(np.mean(distances))


@pytest.mark.parametrize("name", ["scrfd", "yunet"])
def test_five_point_detectors_find_the_face_in_every_frame(seen: Seen, name: str) -> None:
    assert seen.tracks[name].states == [FaceState.DETECTED] * len(seen.frames)
    boxes, others = seen.tracks[name].boxes_F4, seen.tracks["scrfd"].boxes_F4
    side = (others[:, 3] - others[:, 1])[:, None]
    assert (np.abs(boxes - others) < 0.2 * side).all()


@pytest.mark.parametrize("name", ["scrfd", "yunet"])
def test_speakers_who_look_ahead_are_far_from_the_limit(
    seen: Seen, name: str, detectors: dict[str, FaceDetector]
) -> None:
    """The limit of the pitch is 40 degrees; YuNet has the noses lower, so that its values lie some 10 higher."""
    faces = [detectors[name].detect(frame)[0] for frame in seen.frames]
    pitch = float(np.median([pitch_deg(face.points) for face in faces if face.points is not None]))
    assert -10 < pitch < 22


def test_lbp_follows_the_same_face(seen: Seen) -> None:
    """Its box has its centre on SCRFD's face in every usable frame, and most frames are usable."""
    track = seen.tracks["lbp"]
    assert track.usable.mean() >= 0.85
    boxes, faces = track.boxes_F4[track.usable], seen.tracks["scrfd"].boxes_F4[track.usable]
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    assert ((faces[:, :2] < centres) & (centres < faces[:, 2:])).all()


def test_aligned_crops_agree(seen: Seen) -> None:
    """In the 512 crop: the two five-point detectors within 30 pixels, the cascade within 60 on frontal faces."""
    by_scrfd = seen.alignments["scrfd"]
    assert crop_distance(by_scrfd, seen.alignments["yunet"]) < 30
    assert crop_distance(by_scrfd, seen.alignments["lbp"]) < (100 if seen.name in TURNED else 60)


def test_mouth_mask_holds_what_lip_sync_systems_change(seen: Seen, media_dir: Path) -> None:
    """What Lip Forcing redrew lies in our mask: it changed more inside, with its centre at the mouth's height."""
    outputs = every_nth(media_dir / "vs" / seen.name / "ours.mp4", STEP)
    change = np.zeros((256, 256))
    for frame, output, matrix in zip(
        seen.frames, outputs, seen.alignments["scrfd"].matrices_F23, strict=False
    ):
        before, after = warp_face(frame, matrix, 256), warp_face(output, matrix, 256)
        change += np.abs(before.astype(float) - after).mean(axis=2)
    redraw = keep_mask(256) == 0
    middle = np.zeros((256, 256), dtype=bool)
    middle[:, 30:226] = True
    assert change[redraw & middle].mean() > 1.5 * change[~redraw & middle].mean()
    rows = np.where(redraw & middle, change, 0).sum(axis=1)
    assert 140 < (rows * np.arange(256)).sum() / rows.sum() < 190


def test_own_crop_pastes_back_without_a_trace(seen: Seen) -> None:
    frame, matrix = seen.frames[0], seen.alignments["scrfd"].matrices_F23[0]
    pasted = paste_back(frame, warp_face(frame, matrix, 512), matrix)
    changed = (pasted != frame).any(axis=2)
    assert cv2.PSNR(pasted[changed], frame[changed]) > 36
    assert 0 < changed.mean() < 0.5


def test_drawn_mask_is_the_original_one(media_dir: Path) -> None:
    original, drawn = load_mask_source(media_dir / "latentsync" / "mask.png") == 0, mask_source() == 0
    assert (original & drawn).sum() / (original | drawn).sum() >= 0.99
