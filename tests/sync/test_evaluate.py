"""The evaluation of an expert on puppets: what it is shown, and how its answers are counted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from lipforcing_core.sync import evaluate
from lipforcing_core.sync.augment import block_codec
from lipforcing_core.sync.evaluate import OffsetAccuracy, offset_accuracy, reduce_crops, through_codec
from lipforcing_core.sync.offset import SyncScore
from lipforcing_core.sync.puppet_data import PuppetClip


def score(confidence: float, distance: float, offset: int) -> SyncScore:
    return SyncScore(
        confidence=confidence,
        distance=distance,
        offset_frames=offset,
        num_windows=1,
        backend="t",
        distances=(),
    )


class Listener:
    """Hears which sample a sound starts with: the sample of the puppet's sound says its own number.

    A sound that starts with a negative number is foreign. The offset follows from where own sound starts, and is wrong
    by ``error``.
    """

    backend_id = "listener"

    def __init__(self, error: int = 0) -> None:
        self.error = error
        self.seen: list[tuple[tuple[int, ...], int, float]] = []

    def score(self, frames: np.ndarray, waveform: np.ndarray) -> SyncScore:
        self.seen.append((frames.shape, len(waveform), float(waveform[0])))
        if waveform[0] < 0:
            return score(1.0 - waveform[0], 20.0, 0)
        offset = round((waveform[0] - 16 * 640) / 640)
        return score(float(abs(offset)), 10.0 + offset, offset + self.error)


@pytest.fixture
def puppets(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    """Black clips whose sound says the number of each sample; what was asked for is kept."""
    asked: list[tuple[object, ...]] = []

    def clips(seed: int, num_clips: int, num_frames: int, *, size: int) -> Iterator[PuppetClip]:
        asked.append((seed, num_clips, num_frames, size))
        for _ in range(num_clips):
            yield PuppetClip(
                frames=np.zeros((num_frames, 8, 8, 3), np.uint8),
                waveform=np.arange((num_frames + 32) * 640, dtype=np.float32),
            )

    class Foreign:
        def __init__(self, seed: int, duration_s: float) -> None:
            asked.append(("foreign", seed, duration_s))
            self.waveform = np.full(round(duration_s * 16000), -1.0 - seed % 100, np.float32)

    monkeypatch.setattr(evaluate, "puppet_clips", clips)
    monkeypatch.setattr(evaluate, "synthesise", Foreign)
    return asked


def test_an_expert_is_shown_every_length_and_kind_of_picture(puppets: list[tuple[object, ...]]) -> None:
    expert, progress = Listener(), []
    found = offset_accuracy(expert, seed=3, num_clips=4, on_progress=lambda *event: progress.append(event))
    assert [(part.pictures, part.num_frames, part.num_clips) for part in found] == [
        (pictures, length, 4)
        for pictures in ("256 px", "128 px", "128 px, block codec")
        for length in (33, 81, 162)
    ]
    assert puppets[0] == (3, 4, 162, 256)
    assert puppets[1:] == [("foreign", 500_003 + index, 162 / 25) for index in range(4)]
    assert progress == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert {(shape[0], samples) for shape, samples, _ in expert.seen} == {(n, 640 * n) for n in (33, 81, 162)}
    assert {shape[1:] for shape, *_ in expert.seen} == {(8, 8, 3), (128, 128, 3)}
    assert all(part.exact == part.within_one == 1.0 for part in found)


def test_injected_offsets_are_whole_frames_of_both_signs_and_differ_between_seeds(
    puppets: list[tuple[object, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate, "PICTURES", {"as they are": lambda frames: frames})
    expert = Listener()
    offset_accuracy(expert, seed=3, num_clips=300)
    own = [first for _, _, first in expert.seen if first >= 0]
    offsets = (np.array(own).reshape(300, 3) - 16 * 640) / 640
    assert (offsets == offsets[:, :1]).all()
    assert set(offsets[:, 0]) == set(range(-10, 11))
    other = Listener()
    offset_accuracy(other, seed=4, num_clips=5)
    assert [first for _, _, first in other.seen] != [first for _, _, first in expert.seen[:30]]


@pytest.mark.parametrize(
    ("error", "exact", "within_one"),
    [(0, 1.0, 1.0), (1, 0.0, 1.0), (-1, 0.0, 1.0), (2, 0.0, 0.0), (-2, 0.0, 0.0)],
)
def test_errors_count_by_their_size(
    error: int,
    exact: float,
    within_one: float,
    puppets: list[tuple[object, ...]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(evaluate, "PICTURES", {"as they are": lambda frames: frames})
    found = offset_accuracy(Listener(error), seed=0, num_clips=2)
    assert {(part.exact, part.within_one) for part in found} == {(exact, within_one)}


def test_fractions_percentiles_and_medians_by_hand() -> None:
    trials = [
        evaluate._Trial(error, score(float(k), 2.0 * k, 0), score(10.0 + k, 30.0 - k, 0))
        for k, error in enumerate([0, 0, 0, 1, -1, 2, 0, 0, -9, 0, 0])
    ]
    found = evaluate._summary("drawn", 81, trials)
    assert found == OffsetAccuracy(
        num_frames=81,
        pictures="drawn",
        num_clips=11,
        exact=7 / 11,
        within_one=9 / 11,
        matched_confidence=(0.5, 5.0, 9.5),
        foreign_confidence=(10.5, 15.0, 19.5),
        matched_distance=10.0,
        foreign_distance=25.0,
    )
    assert str(replace(found, exact=0.5, within_one=0.75)) == (
        "81 frames, drawn: offset exact 50%, within 1 frame 75% of 11 clips; "
        "Sync-C own sound 5.0 (0.5 to 9.5), foreign 15.0 (10.5 to 19.5)"
    )


def test_smaller_pictures_are_area_averages() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (2, 256, 256, 3), dtype=np.uint8)
    reduced = reduce_crops(frames)
    blocks = frames.reshape(2, 128, 2, 128, 2, 3).mean(axis=(2, 4))
    assert reduced.dtype == np.uint8
    assert np.abs(reduced - blocks).max() <= 0.5


def test_coded_pictures_are_those_of_sixteen_numbers_a_block() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)
    frames = np.stack([cv2.resize(frame, (128, 128)) for frame in noise])
    video_FCHW = torch.from_numpy(frames.transpose(0, 3, 1, 2)).float()
    want = np.clip(np.rint(block_codec(video_FCHW, 16).numpy()), 0, 255).transpose(0, 2, 3, 1)
    coded = through_codec(frames)
    assert (coded.dtype, coded.flags.c_contiguous) == (np.uint8, True)
    np.testing.assert_array_equal(coded, want)
    white = np.zeros((5, 128, 128, 3), np.uint8)
    white[:, 4::8] = 255  # lines that 16 numbers overshoot
    assert through_codec(white).max() < 255
