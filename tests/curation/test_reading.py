"""One reading of a source made by hand: what is cut out, what is measured on it, and what counts as outside."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lipforcing_core.base.errors import MediaError
from lipforcing_core.base.products import file_sha256
from lipforcing_core.curation import crops, reading
from lipforcing_core.curation.reading import OverLimitsError, read
from lipforcing_core.curation.records import SourceFacts
from lipforcing_core.curation.results import Reading, Shot, SoundTaken
from lipforcing_core.curation.settings import CurationSettings
from lipforcing_core.curation.wanted import CropOutsideError, Wanted
from lipforcing_core.faces.align import warp_face
from lipforcing_core.faces.detectors.protocol import Face
from lipforcing_core.media.decode import read_audio, read_frames

from .played import (
    BOX,
    SIZE,
    NoEncoder,
    Played,
    Sees,
    brightness_of,
    everywhere,
    index_of,
    picture,
    ramp,
    sound_track,
)

SHORT = {"min_segment_s": 0.8, "max_segment_s": 1.6}
"""Pieces of 20 to 40 frames."""


def reading_of(
    source: Played,
    folder: Path,
    detector: Sees | None = None,
    *,
    facts: dict[str, Any] | None = None,
    **changes: Any,
) -> Reading:
    settings = CurationSettings(**(SHORT | changes))
    wanted = Wanted(facts=SourceFacts.model_validate(facts or {}))
    return read(source, folder, wanted, settings, detector or Sees(everywhere))  # type: ignore[arg-type]


@pytest.fixture
def unencoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crops, "VideoWriter", NoEncoder)


def pieces_of(result: Reading) -> list[tuple[int, int, int]]:
    return [(piece.start, piece.stop, piece.shot) for piece in result.pieces]


def parts(result: Reading, name: str) -> list[tuple[int, int]]:
    return [(part.start, part.stop) for part in getattr(result, name)]


def test_a_face_is_followed_at_the_stride_and_cut_out(tmp_path: Path) -> None:
    detector = Sees(lambda index: [(20.0, 16.0, 76.0, 80.0 + index % 2)])
    result = reading_of(Played(30), tmp_path, detector, detect_stride=10)
    assert detector.asked == [0, 10, 20, 29], "and at the last frame"
    (piece,) = result.pieces
    (face,) = piece.tracks
    folder = tmp_path / "000000-000030"
    assert (piece.folder, piece.num_invented) == (folder.name, 0)
    assert sorted(path.name for path in folder.iterdir()) == ["0.mp4", "0.npz", "sound.flac"]
    assert (face.number, face.detected_fraction, face.absent_frames) == (0, 1.0, 0)
    assert face.face_height_px == pytest.approx(64.0, abs=0.5), "most boxes are 64 high"
    assert face.box_xyxy == pytest.approx(BOX, abs=0.5)
    assert (face.yaw_deg, face.lips_outside, face.repeated) == (None, 0.0, ())
    assert face.clip_sha256 == file_sha256(folder / "0.mp4")
    stored = np.load(folder / "0.npz")
    assert (stored["start_frame"], stored["usable_F"].tolist()) == (0, [True] * 30)
    assert stored["boxes_F4"][0] == pytest.approx(BOX, abs=0.5)
    frames = read_frames(folder / "0.mp4")
    assert frames.shape == (30, 512, 512, 3)
    for index in (0, 17, 29):
        expected = warp_face(picture(index), stored["matrices_F23"][index], 512)
        inner = slice(64, 448)
        assert frames[index][inner, inner].astype(float) == pytest.approx(
            expected[inner, inner].astype(float), abs=6
        )
    assert np.array_equal(read_audio(folder / "sound.flac")[15 * 640 : -15 * 640], ramp(0, 30))


@pytest.mark.usefixtures("unencoded")
def test_what_the_source_says_is_noted(tmp_path: Path) -> None:
    source = Played(30, declared_s=Fraction(9), complaint="x", num_damaged=2, num_dropped=3, invented=[4, 5])
    result = reading_of(source, tmp_path)
    assert (result.num_frames, result.num_samples) == (30, 30 * 640)
    assert (result.width, result.height, result.tone_mapped) == (SIZE, SIZE, None)
    assert (result.declared_s, result.complaint, result.num_damaged) == (Fraction(9), "x", 2)
    assert (result.num_dropped, result.num_invented, result.pieces[0].num_invented) == (3, 2, 2)
    assert result.sound == SoundTaken(track=1, why=result.sound.why, how="mono", notes=("silent",))  # type: ignore[union-attr]
    assert result.shots == (Shot(start=0, stop=30),)


@pytest.mark.usefixtures("unencoded")
def test_a_gap_is_bridged_as_far_as_the_settings_say(tmp_path: Path) -> None:
    def seen(index: int) -> list[Any]:
        return [] if 10 < index < 30 else [BOX]

    for name, gap in (("bridged", 20), ("lost", 19)):
        (tmp_path / name).mkdir()
        result = reading_of(Played(40), tmp_path / name, Sees(seen), detect_stride=5, max_gap_frames=gap)
        (face,) = result.pieces[0].tracks
        usable = np.load(tmp_path / name / "000000-000040" / "0.npz")["usable_F"]
        absent = list(range(16, 25)) if name == "lost" else []
        assert np.flatnonzero(~usable).tolist() == absent, "a look holds for one stride"
        assert face.absent_frames == len(absent)
        assert face.detected_fraction < 1


@pytest.mark.usefixtures("unencoded")
def test_pieces_without_a_face_have_sound_and_no_clip(tmp_path: Path) -> None:
    result = reading_of(Played(20), tmp_path, Sees(lambda _: []))
    assert result.pieces[0].tracks == ()
    assert [path.name for path in (tmp_path / "000000-000020").iterdir()] == ["sound.flac"]


LEFT, RIGHT = (4.0, 16.0, 40.0, 58.0), (52.0, 16.0, 88.0, 58.0)


def test_two_faces_are_two_clips(tmp_path: Path) -> None:
    result = reading_of(Played(30), tmp_path, Sees(lambda _: [LEFT, RIGHT]))
    first, second = result.pieces[0].tracks
    assert (first.number, second.number) == (0, 1)
    assert first.box_xyxy == pytest.approx(LEFT, abs=0.5)
    assert second.box_xyxy == pytest.approx(RIGHT, abs=0.5)
    assert first.clip_sha256 != second.clip_sha256
    means = [
        read_frames(tmp_path / "000000-000030" / f"{n}.mp4")[:, 200:300, 200:300, 0].mean() for n in (0, 1)
    ]
    assert means[1] - means[0] == pytest.approx(48 / 4, abs=1.5), "48 pixels further right, a level for four"


@pytest.mark.usefixtures("unencoded")
def test_a_face_that_comes_late_is_absent_before(tmp_path: Path) -> None:
    result = reading_of(
        Played(40),
        tmp_path,
        Sees(lambda index: [LEFT, RIGHT] if index >= 20 else [LEFT]),
        detect_stride=5,
        max_gap_frames=5,
    )
    first, second = result.pieces[0].tracks
    assert (first.absent_frames, first.detected_fraction) == (0, 1.0)
    assert second.absent_frames == 15, "the first look holds for the five frames before it"
    usable = np.load(tmp_path / "000000-000040" / "1.npz")["usable_F"]
    assert usable.tolist() == [False] * 15 + [True] * 25
    assert second.box_xyxy == pytest.approx(RIGHT, abs=0.5)
    assert second.detected_fraction == 20 / 40


def test_long_shots_are_cut_while_they_are_read_and_give_each_frame_its_place(tmp_path: Path) -> None:
    """A stay of 100 frames in pieces of 20 to 40: two of 40 as they come, and the rest at the end."""
    source = Played(100)
    detector = Sees(everywhere)
    result = reading_of(source, tmp_path, detector, max_gap_frames=5)
    assert pieces_of(result) == [(0, 40, 0), (40, 80, 0), (80, 100, 0)]
    assert len(detector.asked) == len(set(detector.asked)) == 21, "no frame is looked at twice"
    for piece in result.pieces:
        stored = np.load(tmp_path / piece.folder / "0.npz")
        assert stored["start_frame"] == piece.start
        frames = read_frames(tmp_path / piece.folder / "0.mp4")
        assert len(frames) == piece.num_frames
        centre = frames[:, 200:300, 200:300, 2].mean(axis=(1, 2))
        assert centre == pytest.approx([brightness_of(k) for k in range(piece.start, piece.stop)], abs=1.5)
        wide = read_audio(tmp_path / piece.folder / "sound.flac")
        assert np.array_equal(wide[15 * 640 : -15 * 640], ramp(piece.start, piece.stop))
    inner = read_audio(tmp_path / "000040-000080" / "sound.flac")
    assert np.array_equal(inner, ramp(25, 95)), "fifteen frames of what really comes before and after"


@pytest.mark.usefixtures("unencoded")
def test_pieces_do_not_depend_on_where_a_long_shot_is_cut(tmp_path: Path) -> None:
    """The face moves; where it is in a frame is the same in pieces of other lengths."""

    def moving(index: int) -> list[Any]:
        return [(10.0 + index / 4, 16.0, 66.0 + index / 4, 80.0)]

    found = {}
    for name, changes in (("short", {}), ("long", {"max_segment_s": 4.0})):
        (tmp_path / name).mkdir()
        result = reading_of(Played(100), tmp_path / name, Sees(moving), max_gap_frames=5, **changes)
        alignments = [np.load(tmp_path / name / p.folder / "0.npz")["matrices_F23"] for p in result.pieces]
        found[name] = np.concatenate(alignments)
        assert len(result.pieces) == {"short": 3, "long": 1}[name]
    assert found["short"] == pytest.approx(found["long"], abs=1e-6)


@pytest.mark.usefixtures("unencoded")
def test_shots_begin_where_a_picture_does_not_continue_the_one_before(tmp_path: Path) -> None:
    detector = Sees(everywhere)
    result = reading_of(Played(60, breaks=[25, 50]), tmp_path, detector, detect_stride=10)
    assert parts(result, "shots") == [(0, 25), (25, 50), (50, 60)]
    assert pieces_of(result) == [(0, 25, 0), (25, 50, 1)]
    assert parts(result, "short") == [(50, 60)]
    assert detector.asked == [0, 10, 20, 24, 25, 35, 45, 49, 50, 59], "the last frame of every shot as well"


@pytest.mark.usefixtures("unencoded")
def test_a_cut_begins_a_shot(tmp_path: Path) -> None:
    def make(index: int) -> np.ndarray:
        return picture(index, level=40 if index < 30 else 180)

    result = reading_of(Played(60, make=make), tmp_path)
    assert parts(result, "shots") == [(0, 30), (30, 60)]
    whole = tmp_path / "whole"
    whole.mkdir()
    assert parts(reading_of(Played(60, make=make), whole, shot_min_content_change=250.0), "shots") == [
        (0, 60)
    ]


@pytest.mark.usefixtures("unencoded")
@pytest.mark.parametrize(
    ("ranges", "shots", "outside"),
    [
        ("0-2.4", [(0, 60)], []),
        ("0.8-2.4", [(20, 60)], [(0, 20)]),
        ("0-1", [(0, 25)], [(25, 60)]),
        ("0.4-1.4", [(10, 35)], [(0, 10), (35, 60)]),
        ("0-1; 1-2.4", [(0, 25), (25, 60)], []),
        ("0-0.8; 1.6-2.4", [(0, 20), (40, 60)], [(20, 40)]),
        ("0.81-1.79", [(21, 44)], [(0, 21), (44, 60)]),
        ("0-9", [(0, 60)], []),
        ("3-4", [], [(0, 60)]),
        ("0-58/25", [(0, 58)], [(58, 60)]),
    ],
)
def test_only_whole_frames_of_the_ranges_count(
    ranges: str, shots: list[tuple[int, int]], outside: list[tuple[int, int]], tmp_path: Path
) -> None:
    detector = Sees(everywhere)
    result = reading_of(Played(60, invented=[1, 50]), tmp_path, detector, facts={"ranges": ranges})
    assert result.num_frames == 60
    assert parts(result, "shots") == shots
    assert parts(result, "outside") == outside
    wanted = {index for start, stop in shots for index in range(start, stop)}
    assert set(detector.asked) <= wanted, "nobody looks at the rest"
    assert result.num_invented == len({1, 50} & wanted)
    assert {index for start, stop, _ in pieces_of(result) for index in range(start, stop)} <= wanted


@pytest.mark.usefixtures("unencoded")
def test_only_the_named_part_of_the_picture_is_looked_at(tmp_path: Path) -> None:
    given = []

    class Views(Sees):
        def detect(self, frame: np.ndarray) -> list[Face]:
            given.append(frame.shape)
            if frame.shape[0] > SIZE:
                return []
            points = np.array([[10, 10], [20, 10], [15, 15], [10, 20], [20, 20]], dtype=float)
            return [Face(box_xyxy=(4.0, 6.0, 30.0, 40.0), score=1.0, points=points)]

    facts = {
        "ranges": [{"start_s": "0", "stop_s": "0.8", "crop": "10 20 40 60"}, "0.8-1.6"],
        "crop": "30 2 66 90",
    }
    result = reading_of(Played(40), tmp_path, Views(everywhere), facts=facts)
    assert set(given) == {(60, 40, 3), (90, 66, 3), (120, 80, 3), (180, 132, 3)}, "and with a margin"
    first, second = (piece.tracks[0] for piece in result.pieces)
    assert first.box_xyxy == pytest.approx((14, 26, 40, 60), abs=0.2), "in pixels of the whole picture"
    assert second.box_xyxy == pytest.approx((34, 8, 60, 42), abs=0.2)
    (first_2, *_), (second_2, *_) = (
        np.load(tmp_path / piece.folder / "0.npz")["matrices_F23"][:, :, 2] for piece in result.pieces
    )
    scale = np.load(tmp_path / "000000-000020" / "0.npz")["matrices_F23"][0, 0, 0]
    assert first_2 - second_2 == pytest.approx(np.array([20.0, -18.0]) * scale, abs=1e-6)


@pytest.mark.usefixtures("unencoded")
def test_a_crop_beyond_the_picture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CropOutsideError, match="outside the picture of 96 x 96 pixels"):
        reading_of(Played(30), tmp_path, facts={"crop": "96 0 10 10"})


@pytest.mark.usefixtures("unencoded")
@pytest.mark.parametrize(
    ("sounding", "pieces", "short"),
    [
        (60, [(0, 40), (40, 60)], []),
        (90, [(0, 40), (40, 60)], []),
        (59, [(0, 29), (29, 59)], []),
        (50, [(0, 25), (25, 50)], []),
        (39, [(0, 39)], []),
        (10, [], [(0, 10)]),
        (0, [], []),
    ],
)
def test_the_last_shot_ends_with_the_sound(
    sounding: int, pieces: list[tuple[int, int]], short: list[tuple[int, int]], tmp_path: Path
) -> None:
    result = reading_of(Played(60, sounding=sounding), tmp_path, max_gap_frames=25)
    assert [(start, stop) for start, stop, _ in pieces_of(result)] == pieces
    assert parts(result, "short") == short
    assert (result.num_frames, result.num_samples) == (60, sounding * 640)
    assert result.shots == (Shot(start=0, stop=60),)


@pytest.mark.usefixtures("unencoded")
def test_a_source_without_a_track_has_no_samples(tmp_path: Path) -> None:
    for tracks in ([], [sound_track(ramp(0, 0), folded=None)]):
        result = reading_of(Played(30, tracks=tracks), tmp_path)
        assert (result.num_samples, result.sound, result.pieces) == (0, None, ())


def turned(degrees: float) -> list[Face]:
    """A head 20 pixels from eye to eye, turned: the eyes come nearer, and the nose 0.6 of that goes aside."""
    turn = math.radians(degrees)
    half, aside = 10 * math.cos(turn), 12 * math.sin(turn)
    points = np.array(
        [[48 - half, 40], [48 + half, 40], [48 + aside, 50], [48 - half, 60], [48 + half, 60]], dtype=float
    )
    return [Face(box_xyxy=BOX, score=1.0, points=points)]


@pytest.mark.usefixtures("unencoded")
@pytest.mark.parametrize("degrees", [0.0, 30.0, 70.0])
def test_the_turn_of_a_head_is_the_median_of_its_looks(degrees: float, tmp_path: Path) -> None:
    detector = Sees(lambda index: turned(85.0 if index == 5 else degrees))
    (face,) = reading_of(Played(30), tmp_path, detector).pieces[0].tracks
    assert face.yaw_deg == pytest.approx(degrees, abs=1e-6)


@pytest.mark.usefixtures("unencoded")
@pytest.mark.parametrize(
    ("box", "outside"),
    [
        ((20.0, 0.0, 76.0, 64.0), 0.0),
        ((20.0, 60.0, 76.0, 124.0), 1.0),
        ((20.0, 30.0, 76.0, 94.0), 0.0),
        ((-48.0, 16.0, 8.0, 80.0), 1.0),
        ((68.0, 16.0, 124.0, 80.0), 0.5),
        ((-28.0, 16.0, 28.0, 80.0), 0.5),
    ],
)
def test_lips_beyond_the_border_are_measured(
    box: tuple[float, float, float, float], outside: float, tmp_path: Path
) -> None:
    """The lips are in the middle of a face and low in it; a face whose middle is on the border shows half of them."""
    (face,) = reading_of(Played(30), tmp_path, Sees(lambda _: [box])).pieces[0].tracks
    assert face.lips_outside == pytest.approx(outside, abs=0.07)


@pytest.mark.usefixtures("unencoded")
def test_each_piece_has_its_own_bars(tmp_path: Path) -> None:
    """A bar of six rows below, gone in the second piece of the shot; the first and the last look of each are within."""

    def make(index: int) -> np.ndarray:
        frame = picture(index)
        if not 40 <= index < 80:
            frame[90:] = 0
        return frame

    result = reading_of(Played(120, make=make), tmp_path, detect_stride=3, shot_min_content_change=255.0)
    assert [(piece.start, piece.picture_xyxy) for piece in result.pieces] == [
        (0, (0, 0, 96, 90)),
        (40, None),
        (80, (0, 0, 96, 90)),
    ]


@pytest.mark.usefixtures("unencoded")
def test_the_worst_frame_decides_about_the_lips(tmp_path: Path) -> None:
    def dives(index: int) -> list[Any]:
        low = 55.0 if 10 <= index < 20 else 0.0
        return [(20.0, 10.0 + low, 76.0, 74.0 + low)]

    (face,) = reading_of(Played(30), tmp_path, Sees(dives), detect_stride=1).pieces[0].tracks
    assert face.lips_outside > 0


@pytest.mark.usefixtures("unencoded")
@pytest.mark.parametrize(
    ("stands", "repeated"),
    [
        (lambda k: k, ()),
        (lambda k: min(k, 20), (9,)),
        (lambda k: 0, (29,)),
        (lambda k: k // 2 * 2, (1,) * 15),
        (lambda k: 10 if 10 <= k < 14 else k, (3,)),
    ],
)
def test_pictures_that_stand_still_are_counted(
    stands: Any, repeated: tuple[int, ...], tmp_path: Path
) -> None:
    """Frame k shows what the function says, with noise as a camera has it."""

    def make(index: int) -> np.ndarray:
        noise = np.random.default_rng(stands(index)).integers(-6, 7, (SIZE, SIZE, 3))
        frame = np.clip(picture(index, level=80) + noise, 0, 255).astype(np.uint8)
        frame[0, 0] = (index // 256, index % 256, 0)
        return frame

    result = reading_of(Played(30, make=make), tmp_path, shot_min_content_change=255.0)
    (face,) = result.pieces[0].tracks
    assert face.repeated == repeated


@pytest.mark.usefixtures("unencoded")
def test_a_freeze_is_seen_while_the_place_of_a_moving_face_is_smoothed(tmp_path: Path) -> None:
    """The face goes to the right, stands with its picture for 13 frames from frame 12 on, and goes on."""

    def walked(index: int) -> int:
        return index if index <= 12 else max(12, index - 13)

    def make(index: int) -> np.ndarray:
        wide = np.random.default_rng(3).integers(60, 120, (SIZE, 2 * SIZE, 3)).astype(np.uint8)
        frame = np.ascontiguousarray(wide[:, SIZE - walked(index) :][:, :SIZE])
        frame[0, 0] = (index // 256, index % 256, 0)
        return frame

    detector = Sees(lambda index: [(5.0 + walked(index), 16.0, 61.0 + walked(index), 80.0)])
    result = reading_of(Played(40, make=make), tmp_path, detector, shot_min_content_change=255.0)
    (face,) = result.pieces[0].tracks
    assert face.repeated == (13,)


@pytest.mark.usefixtures("unencoded")
def test_a_large_picture_waits_in_a_lighter_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "LARGE_PIXELS", SIZE * SIZE)
    lighter = []
    monkeypatch.setattr(reading, "in_eight_bits", lambda *given: lighter.append(given) or given)
    (piece,) = reading_of(Played(30), tmp_path).pieces
    assert piece.tracks[0].box_xyxy == pytest.approx(BOX, abs=0.6)
    assert len(lighter) == 30
    monkeypatch.setattr(reading, "LARGE_PIXELS", SIZE * SIZE + 1)
    (tmp_path / "again").mkdir()
    reading_of(Played(30), tmp_path / "again")
    assert len(lighter) == 30


def test_a_source_without_a_picture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MediaError) as refused:
        reading_of(Played(0, complaint="no key frame"), tmp_path)
    assert (refused.value.problem, refused.value.decoder_message) == (
        "has no frame that can be decoded",
        "no key frame",
    )


@pytest.mark.usefixtures("unencoded")
def test_reading_ends_at_the_limit_whatever_the_header_says(tmp_path: Path) -> None:
    """Of 1.2 s the frames 0 to 29 are allowed; nobody goes on for the hours that may follow."""
    source = Played(300, declared_s=Fraction(0))
    with pytest.raises(OverLimitsError):
        reading_of(source, tmp_path, max_source_hours=1.2 / 3600)
    assert source.read == 31
    within = Played(30, declared_s=Fraction(0))
    assert reading_of(within, tmp_path, max_source_hours=1.2 / 3600).num_frames == 30


class Killed(BaseException):
    pass


BRIEF = {"min_segment_s": 0.4, "max_segment_s": 0.8, "max_gap_frames": 5}


def two_faces(_: int) -> list[Any]:
    return [LEFT, RIGHT]


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Reading]:
    """A reading that nobody killed: two pieces with two faces each."""
    folder = tmp_path_factory.mktemp("calm")
    return folder, reading_of(Played(30), folder, Sees(two_faces), **BRIEF)


@pytest.mark.parametrize("calls", [2, 3])
def test_a_killed_reading_keeps_its_finished_pieces_and_ends_alike(
    calls: int, calm: tuple[Path, Reading], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, expected = calm
    assert [len(piece.tracks) for piece in expected.pieces] == [2, 2]
    write, left = reading.write_track, [calls]

    def killed(*arguments: Any, **options: Any) -> Any:
        left[0] -= 1
        if not left[0]:
            raise Killed
        return write(*arguments, **options)

    monkeypatch.setattr(reading, "write_track", killed)
    with pytest.raises(Killed):
        reading_of(Played(30), tmp_path, Sees(two_faces), **BRIEF)
    monkeypatch.undo()
    before = {path: path.stat().st_ino for path in tmp_path.rglob("*.mp4")}
    assert len(before) == calls - 1
    encoded, writer = [], crops.VideoWriter
    monkeypatch.setattr(
        crops, "VideoWriter", lambda path, **options: encoded.append(path) or writer(path, **options)
    )
    assert reading_of(Played(30), tmp_path, Sees(two_faces), **BRIEF) == expected
    assert len(encoded) == 4 - len(before), "only what was in flight is encoded again"
    assert {path: path.stat().st_ino for path in before} == before
    for path in whole.rglob("*.*"):
        assert (tmp_path / path.relative_to(whole)).read_bytes() == path.read_bytes()


def test_a_clip_without_its_alignment_is_not_finished(tmp_path: Path) -> None:
    first = reading_of(Played(30), tmp_path)
    alignment = tmp_path / "000000-000030" / "0.npz"
    whole = alignment.read_bytes()
    alignment.unlink()
    assert reading_of(Played(30), tmp_path) == first
    assert alignment.read_bytes() == whole


def test_a_clip_is_as_fine_as_the_settings_say(tmp_path: Path) -> None:
    def noisy(index: int) -> np.ndarray:
        frame = np.random.default_rng(index).integers(0, 255, (SIZE, SIZE, 3), dtype=np.uint8)
        frame[0, 0] = (index // 256, index % 256, 0)
        return frame

    sizes = {}
    for crf in (5, 45):
        (tmp_path / f"{crf}").mkdir()
        reading_of(Played(20, make=noisy), tmp_path / f"{crf}", clip_crf=crf, shot_min_content_change=255.0)
        sizes[crf] = (tmp_path / f"{crf}" / "000000-000020" / "0.mp4").stat().st_size
    assert sizes[45] * 3 < sizes[5]


@pytest.mark.usefixtures("unencoded")
def test_the_index_of_a_picture_survives_its_conversion(tmp_path: Path) -> None:
    """What the detector of these tests relies on."""
    assert index_of(picture(300)) == 300
    detector = Sees(everywhere)
    reading_of(Played(300), tmp_path, detector, detect_stride=50, min_segment_s=100.0, max_segment_s=200.0)
    assert detector.asked == [0, 50, 100, 150, 200, 250, 299]


def test_where_the_size_changes_is_noted(tmp_path: Path, unencoded: None) -> None:
    """Twice, the first time before the first picture has left the search for cuts."""
    widths = {0: 96, 1: 128, 2: 128, 30: 96}

    def make(index: int) -> np.ndarray:
        return picture(index, width=widths[max(start for start in widths if start <= index)])

    source = Played(60, breaks=(1, 30), make=make)
    result = reading_of(source, tmp_path)
    assert (result.width, result.height, result.largest_pixels) == (96, 96, 128 * 96)
    changes = [(change.frame, change.width, change.height) for change in result.size_changes]
    assert changes == [(1, 128, 96), (30, 96, 96)]
    silent = Played(60, breaks=(1, 30), make=make, tracks=[])
    assert reading_of(silent, tmp_path).size_changes == result.size_changes
    assert reading_of(Played(60), tmp_path).size_changes == ()
