"""The truth and a prediction as measures see them: which frames and samples belong together, and what is kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from lipforcing_core.metrics import scored
from lipforcing_core.metrics.crops import CropWindow, UnscorableClip
from lipforcing_core.metrics.manifest import EvalItem
from lipforcing_core.metrics.scored import ScoredClip, ScoredPicture, ScoredTruth
from lipforcing_core.metrics.values import UndefinedMeasure
from tests.metrics.drawn import PRECROPPED

BACKENDS = SimpleNamespace(detector="the detector")
ITEM = EvalItem(
    clip_id="c",
    identity="p",
    truth_video=Path("truth.mp4"),
    driving_audio=Path("driving.wav"),
    source_video=Path("source.mp4"),
)


class Files:
    """Sounds whose samples say their number, and videos of one colour a frame; a window of frames 10 to 40."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.num_samples = {"driving.wav": 40 * 640, "other.wav": 40 * 640}
        self.window = CropWindow(start=10, stop=40, matrices_F23=None, frame_size=(8, 8))
        self.detectors: list[object] = []
        self.sizes: list[int] = []
        patch.setattr(scored, "find_window", self._find)
        patch.setattr(
            scored, "read_audio", lambda path: np.arange(self.num_samples[path.name], dtype=np.float32)
        )
        patch.setattr(scored, "cut_truth", self._cut)

    def _find(self, path: Path, protocol: object, detector: object) -> CropWindow:
        self.detectors.append(detector)
        return self.window

    def _cut(self, path: Path, window: CropWindow, size: int) -> np.ndarray:
        self.sizes.append(size)
        if path.name == "source.mp4" and window.stop > 38:
            raise UnscorableClip("it ends at frame 38")
        return np.arange(window.start, window.stop, dtype=np.uint8)[:, None, None, None]


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch) -> Files:
    return Files(monkeypatch)


def test_the_speech_is_the_sound_under_the_scored_frames(files: Files) -> None:
    truth = ScoredTruth(ITEM, PRECROPPED, BACKENDS)
    assert truth.frames[:, 0, 0, 0].tolist() == list(range(10, 40))
    assert (truth.speech[0], truth.speech[-1], len(truth.speech)) == (6400, 25599, 30 * 640)
    assert files.detectors == ["the detector"]
    assert files.sizes == [256]
    other = truth.sound_of(Path("other.wav"))
    np.testing.assert_array_equal(other, truth.speech)


def test_where_the_sound_ends_within_a_frame_the_window_ends_before_it(files: Files) -> None:
    files.num_samples["driving.wav"] = 37 * 640 + 639
    truth = ScoredTruth(ITEM, PRECROPPED, BACKENDS)
    assert (truth.window.stop, len(truth.frames), len(truth.speech)) == (37, 27, 27 * 640)


@pytest.mark.parametrize(("num_frames", "scorable"), [(34, False), (35, True)])
def test_sound_must_last_for_a_second(num_frames: int, scorable: bool, files: Files) -> None:
    files.num_samples["driving.wav"] = num_frames * 640
    if scorable:
        assert len(ScoredTruth(ITEM, PRECROPPED, BACKENDS).frames) == 25
    else:
        with pytest.raises(UnscorableClip, match=r"the sound of driving\.wav covers 24 of 30 scored frames"):
            ScoredTruth(ITEM, PRECROPPED, BACKENDS)


def test_a_pinned_window_needs_all_of_its_sound(files: Files) -> None:
    files.num_samples["driving.wav"] = 40 * 640 - 1
    with pytest.raises(UnscorableClip, match="covers 29 of 30 scored frames"):
        ScoredTruth(ITEM, replace(PRECROPPED, num_frames=30), BACKENDS)


def test_other_sound_and_a_source_that_end_early_cost_their_measures_only(files: Files) -> None:
    truth = ScoredTruth(ITEM, PRECROPPED, BACKENDS)
    files.num_samples["other.wav"] = 20 * 640 + 5
    with pytest.raises(UndefinedMeasure, match=r"the sound of other\.wav covers 10 of 30 scored frames"):
        truth.sound_of(Path("other.wav"))
    with pytest.raises(UndefinedMeasure, match="the source cannot be scored: it ends at frame 38"):
        truth.source_frames()
    files.num_samples["driving.wav"] = 38 * 640
    shorter = ScoredTruth(ITEM, PRECROPPED, BACKENDS)
    assert shorter.source_frames()[:, 0, 0, 0].tolist() == list(range(10, 38))
    assert set(files.sizes) == {256}
    with pytest.raises(UndefinedMeasure, match="no source video"):
        ScoredTruth(replace(ITEM, source_video=None), PRECROPPED, BACKENDS).source_frames()


def test_work_is_done_once_for_a_picture_and_again_for_another() -> None:
    calls = []

    def work(picture: ScoredPicture) -> float:
        calls.append(picture)
        if len(calls) == 1:
            raise UndefinedMeasure("not yet")
        return float(picture.frames.sum())

    truth = ScoredPicture(np.ones(3), BACKENDS)
    clip = ScoredClip(np.ones(5), truth)
    with pytest.raises(UndefinedMeasure):
        clip.once(work)
    assert [clip.once(work), clip.once(work), truth.once(work), truth.once(work)] == [5.0, 5.0, 3.0, 3.0]
    assert calls == [clip, clip, truth]
    assert clip.once(lambda picture: "other") == "other"
    assert (clip.truth, clip.backends) == (truth, BACKENDS)
