"""Where a crop is placed, and which frames are scored."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.metrics import crops
from lipforcing_core.metrics.crops import CropWindow, UnscorableClip, cut_prediction, cut_truth, find_window
from lipforcing_core.metrics.protocol import CropMode, gt_box_aligned
from tests.metrics.drawn import PRECROPPED

ALIGNED = gt_box_aligned(detector_id="fake")
VIDEO = Path("talk.mp4")


class FakeVideo:
    """Frames whose pixels say their number; a face in those of ``faces``."""

    def __init__(
        self, patch: pytest.MonkeyPatch, num_frames: int = 40, faces: set[int] | None = None
    ) -> None:
        self.info = SimpleNamespace(frame_rate=Fraction(25), is_variable_rate=False, width=64, height=48)
        self.faces = set(range(num_frames)) if faces is None else faces
        self.frames = [np.full((48, 64, 3), k, np.uint8) for k in range(num_frames)]
        patch.setattr(crops, "probe", lambda path: self.info)
        patch.setattr(crops, "iter_frames", lambda path, start, stop: iter(self.frames[start:stop]))
        patch.setattr(crops, "track_face", lambda frames, detector: list(frames))
        patch.setattr(crops, "align_track", self._align)

    def _align(self, track: list[np.ndarray]) -> SimpleNamespace:
        numbers = [int(frame[0, 0, 0]) for frame in track]
        usable = np.array([number in self.faces for number in numbers])
        if not usable.any():
            raise BadInputError("no face was found")
        scale = 256 / 48
        matrices = np.stack([np.array([[scale, 0, number], [0, scale, 0]]) for number in numbers])
        return SimpleNamespace(matrices_F23=matrices, usable_F=usable)


@pytest.fixture
def video(monkeypatch: pytest.MonkeyPatch) -> FakeVideo:
    return FakeVideo(monkeypatch)


def test_the_whole_of_a_crop_is_scored(video: FakeVideo) -> None:
    window = find_window(VIDEO, PRECROPPED, None)
    assert window == CropWindow(start=0, stop=40, matrices_F23=None, frame_size=(64, 48))
    assert window.num_frames == 40


def test_the_protocol_names_the_first_frame_and_the_number(video: FakeVideo) -> None:
    window = find_window(VIDEO, replace(PRECROPPED, start_frame=5, num_frames=30), None)
    assert (window.start, window.stop) == (5, 35)
    window = find_window(VIDEO, replace(ALIGNED, start_frame=3, num_frames=25), object())
    assert (window.start, window.stop) == (3, 28)
    assert window.matrices_F23[:, 0, 2].tolist() == list(range(3, 28))
    with pytest.raises(UnscorableClip, match="the truth has 35 frames in a window of 36"):
        find_window(VIDEO, replace(PRECROPPED, start_frame=5, num_frames=36), None)


def test_the_longest_stretch_with_a_face_is_scored(monkeypatch: pytest.MonkeyPatch) -> None:
    faces = {0, 1, *range(5, 31), *range(33, 40)}
    FakeVideo(monkeypatch, faces=faces)
    window = find_window(VIDEO, replace(ALIGNED, start_frame=2), object())
    assert (window.start, window.stop) == (5, 31)
    assert window.matrices_F23[:, 0, 2].tolist() == list(range(5, 31))


@pytest.mark.parametrize(("num_faces", "scored"), [(24, False), (25, True)])
def test_a_face_must_show_for_a_second(num_faces: int, scored: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    FakeVideo(monkeypatch, faces=set(range(10, 10 + num_faces)))
    if scored:
        assert find_window(VIDEO, ALIGNED, object()).num_frames == 25
    else:
        with pytest.raises(UnscorableClip, match="a face for 24 frames in a row, at least 25 are needed"):
            find_window(VIDEO, ALIGNED, object())


def test_the_first_of_two_equal_stretches_is_taken() -> None:
    assert crops._longest_run(np.array([1, 1, 0, 1, 1], bool)) == (0, 2)
    assert crops._longest_run(np.array([0, 1, 0, 1, 1], bool)) == (3, 5)
    assert crops._longest_run(np.zeros(4, bool)) == (0, 0)
    assert crops._longest_run(np.ones(4, bool)) == (0, 4)


@pytest.mark.parametrize("change", [{"frame_rate": Fraction(30)}, {"is_variable_rate": True}])
def test_other_clocks_are_refused(video: FakeVideo, change: dict) -> None:
    window = find_window(VIDEO, PRECROPPED, None)
    vars(video.info).update(change)
    rate = f"{float(video.info.frame_rate):g} frames/s"
    with pytest.raises(UnscorableClip, match=rf"talk\.mp4 runs at {rate}, not at a constant 25"):
        find_window(VIDEO, PRECROPPED, None)
    with pytest.raises(UnscorableClip, match=f"it runs at {rate}, not at a constant 25"):
        cut_prediction(VIDEO, window, PRECROPPED, None)


@pytest.mark.parametrize("change", [{"width": 65}, {"height": 49}])
def test_a_prediction_of_another_size_is_refused(video: FakeVideo, change: dict) -> None:
    window = find_window(VIDEO, PRECROPPED, None)
    vars(video.info).update(change)
    size = f"{video.info.width} x {video.info.height}"
    with pytest.raises(UnscorableClip, match=f"its frames are {size}, those of the truth 64 x 48"):
        cut_prediction(VIDEO, window, PRECROPPED, None)


def test_crops_are_those_of_the_window_in_order(video: FakeVideo) -> None:
    window = CropWindow(start=4, stop=9, matrices_F23=None, frame_size=(64, 48))
    cut = cut_truth(VIDEO, window, 32)
    assert cut.shape == (5, 32, 32, 3)
    assert cut[:, 0, 0, 0].tolist() == [4, 5, 6, 7, 8]
    np.testing.assert_array_equal(
        cut, cut_prediction(VIDEO, window, replace(PRECROPPED, size=256), None)[:, :32, :32]
    )
    with pytest.raises(UnscorableClip, match="it ends at frame 40, the scored window at 41"):
        cut_truth(VIDEO, replace(window, start=36, stop=41), 32)


def test_the_place_of_the_truth_holds_for_predictions(
    video: FakeVideo, monkeypatch: pytest.MonkeyPatch
) -> None:
    warped = []
    monkeypatch.setattr(
        crops,
        "warp_face",
        lambda frame, matrix, size: warped.append((frame[0, 0, 0], matrix[0, 2], size)) or 0,
    )
    matrices = np.zeros((3, 2, 3))
    matrices[:, 0, 2] = [70, 80, 90]
    window = CropWindow(start=10, stop=13, matrices_F23=matrices, frame_size=(64, 48))
    cut_prediction(VIDEO, window, ALIGNED, object())
    assert warped == [(10, 70, 256), (11, 80, 256), (12, 90, 256)]
    warped.clear()
    independent = replace(ALIGNED, crop_mode=CropMode.INDEPENDENT_ALIGNED)
    cut_prediction(VIDEO, window, independent, object())
    assert warped == [(10, 10, 256), (11, 11, 256), (12, 12, 256)]


def test_a_prediction_aligned_on_its_own_needs_a_face_in_every_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    FakeVideo(monkeypatch, faces={10, 12})
    window = CropWindow(start=10, stop=14, matrices_F23=np.zeros((4, 2, 3)), frame_size=(64, 48))
    independent = replace(ALIGNED, crop_mode=CropMode.INDEPENDENT_ALIGNED)
    with pytest.raises(UnscorableClip, match="no face was found in 2 of its 4 frames"):
        cut_prediction(VIDEO, window, independent, object())
    with pytest.raises(BadInputError, match="needs a face detector"):
        cut_prediction(VIDEO, window, independent, None)
    FakeVideo(monkeypatch, faces=set())
    with pytest.raises(UnscorableClip, match="no face was found"):
        find_window(VIDEO, ALIGNED, object())


def test_a_window_may_end_earlier_and_never_later() -> None:
    matrices = np.arange(6 * 6).reshape(6, 2, 3)
    window = CropWindow(start=10, stop=16, matrices_F23=matrices, frame_size=(8, 8))
    assert window.until(16) is window
    assert window.until(20) is window
    shorter = window.until(15)
    assert (shorter.start, shorter.stop, len(shorter.matrices_F23)) == (10, 15, 5)
    assert shorter.matrices_F23[-1].tolist() == matrices[4].tolist()
    assert window.until(3).num_frames == 0
    assert replace(window, matrices_F23=None).until(12).matrices_F23 is None
