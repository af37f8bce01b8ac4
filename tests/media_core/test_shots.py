"""Cuts found while a video is read: hard cuts at known frames, and the places where a picture does not go on."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from lipforcing_core.media.encode import VideoWriter
from lipforcing_core.media.shots import WINDOW, CutDetector, ShotPicture, detect_shots, divide
from lipforcing_core.media.source_stream import SourceStream

from .sources import X264, converted, write_pictures


def scene(number: int, frame: int, size: tuple[int, int] = (160, 96)) -> np.ndarray:
    """A frame of a scene: soft spots that drift slowly."""
    rng = np.random.default_rng(number)
    coarse = rng.integers(0, 256, (6, 10, 3)).astype(np.uint8)
    picture = cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC)
    return np.roll(picture, frame % 160 // 4, axis=1)


def write_scenes(path: Path, lengths: Sequence[int], size: tuple[int, int] = (160, 96)) -> Path:
    with VideoWriter(path, width=size[0], height=size[1], preset="ultrafast") as writer:
        for number, length in enumerate(lengths):
            for frame in range(length):
                writer.write(scene(number, frame, size))
    return path


def read_divided(path: Path) -> list[ShotPicture]:
    with SourceStream(path) as source:
        return list(divide(source.pictures(), CutDetector()))


@pytest.mark.parametrize(
    "lengths", [[50], [30, 40], [40, 13, 60], [12, 30, 12], [100, 25, 25, 25], [30, 30, 3]]
)
def test_hard_cuts_are_found_at_their_frame(tmp_path: Path, lengths: list[int]) -> None:
    edges = [0, *np.cumsum(lengths).tolist()]
    assert detect_shots(write_scenes(tmp_path / "a.mp4", lengths)) == list(pairwise(edges))


def test_a_scene_of_less_than_half_a_second_is_not_set_apart_from_the_next(tmp_path: Path) -> None:
    assert detect_shots(write_scenes(tmp_path / "a.mp4", [40, 11, 40])) == [(0, 40), (40, 91)]


@pytest.mark.parametrize("size", [(96, 160), (640, 360)])
def test_the_size_does_not_matter(tmp_path: Path, size: tuple[int, int]) -> None:
    assert detect_shots(write_scenes(tmp_path / "a.mp4", [30, 30], size)) == [(0, 30), (30, 60)]


def test_every_picture_says_where_shots_begin_and_end(tmp_path: Path) -> None:
    divided = read_divided(write_scenes(tmp_path / "a.mp4", [20, 30]))
    assert [shown.picture.index for shown in divided] == list(range(50))
    assert [i for i, shown in enumerate(divided) if shown.starts] == [0, 20]
    assert [i for i, shown in enumerate(divided) if shown.ends] == [19, 49]


def test_a_single_picture_is_a_shot(tmp_path: Path) -> None:
    (only,) = read_divided(write_scenes(tmp_path / "a.mp4", [1]))
    assert only.starts
    assert only.ends


def test_pictures_come_three_late(tmp_path: Path) -> None:
    path = write_scenes(tmp_path / "a.mp4", [20])
    read: list[int] = []

    def noted(pictures: object) -> object:
        for shown in pictures:  # type: ignore[attr-defined]
            read.append(shown.index)
            yield shown

    with SourceStream(path) as source:
        for shown in divide(noted(source.pictures()), CutDetector()):  # type: ignore[arg-type]
            assert len(read) - 1 - shown.picture.index <= WINDOW + 1


def test_a_hole_divides_a_scene(tmp_path: Path) -> None:
    """Of the same slow scene two seconds are missing after frame 39: the invented pictures are a shot of their own."""
    kept = [i for i in range(130) if not 40 <= i < 90]
    frames = (scene(0, 0) for _ in kept)
    path = write_pictures(tmp_path / "a.mp4", frames, [40 * i for i in kept])
    assert detect_shots(path) == [(0, 40), (40, 90), (90, 130)]


@pytest.mark.parametrize("scale", ["128:64", "96:160", "800:480"])
def test_another_size_divides_a_joined_file(tmp_path: Path, scale: str) -> None:
    whole = write_scenes(tmp_path / "a.mp4", [40])
    first = converted(whole, tmp_path / "a.ts", *X264)
    second = converted(whole, tmp_path / "b.ts", *X264, "-vf", f"scale={scale}")
    joined = tmp_path / "joined.ts"
    joined.write_bytes(first.read_bytes() + second.read_bytes())
    shots = detect_shots(joined)
    assert len(shots) == 2
    assert shots[0][1] == pytest.approx(40, abs=1)
    assert shots[1][1] == pytest.approx(80, abs=2)
