"""The crops of followed faces: cut from a part of the frame, and measured."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import cv2
import numpy as np
import pytest

from lipforcing_core.curation import crops
from lipforcing_core.curation.crops import CLIP_SIZE, LIPS_XYXY, Crop, CropRow, cut_out, repeated, write_track
from lipforcing_core.faces.align import align_points, aligned_already, square_matrix, warp_face
from lipforcing_core.faces.anchors import anchors_from_points
from lipforcing_core.faces.follow import Placement
from lipforcing_core.faces.sightings import FaceState
from lipforcing_core.media.decode import read_frames
from lipforcing_core.media.encode import to_yuv
from lipforcing_core.media.picture import plane_values, to_picture
from lipforcing_core.media.picture_form import PictureForm
from lipforcing_core.media.segments import Segment
from lipforcing_core.media.source_stream import Shown

WHOLE = aligned_already(1, CLIP_SIZE, CLIP_SIZE).matrices_F23[0]
"""The place of a face that is the whole of a frame of 512 x 512 pixels."""


def smooth_frame(width: int, height: int, seed: int = 0, pixel_format: str = "yuv420p") -> Any:
    """A decoded frame of large soft spots of colour."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (max(3, height // 60), max(3, width // 60), 3)).astype(np.uint8)
    rgb = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(format=pixel_format)


def shown_frame(frame: Any, quarter_turns: int = 0, *, mirrored: bool = False) -> Shown:
    form = PictureForm.of(frame, SimpleNamespace(sample_aspect_ratio=Fraction(1)))
    return Shown(frame, replace(form, quarter_turns=quarter_turns, mirrored=mirrored))


def place_at(x: float, y: float, side: float, tilt_deg: float = 0.0) -> Placement:
    """The place of a face whose box of this side is centred at (x, y)."""
    points = np.array([[-0.2, -0.15], [0.2, -0.15], [0.0, 0.1], [-0.15, 0.3], [0.15, 0.3]]) * side
    tilt = np.radians(tilt_deg)
    turned = points @ np.array([[np.cos(tilt), np.sin(tilt)], [-np.sin(tilt), np.cos(tilt)]]) + [x, y]
    return placement(align_points(anchors_from_points(turned)[None])[0][0])


def placement(matrix_23: np.ndarray, state: FaceState = FaceState.DETECTED, **options: Any) -> Placement:
    return Placement(state=state, matrix_23=matrix_23, box_4=np.array([10.0, 20, 110, 170]), **options)


def luma(yuv: Any) -> np.ndarray:
    return plane_values(yuv.planes[0]).astype(int)


def planes_differ(a: Any, b: Any) -> tuple[int, float]:
    """The greatest and the mean difference of two frames over all planes, in levels."""
    difference = np.abs(a.to_ndarray().astype(int) - b.to_ndarray())
    return int(difference.max()), float(difference.mean())


@pytest.mark.parametrize(
    ("x", "y", "side", "tilt_deg"),
    [
        (640, 360, 200, 0),  # about as large as the crop
        (900, 300, 60, 10),  # small
        (640, 360, 640, -15),  # much larger than the crop
        (20, 30, 180, 0),  # over the upper left corner
        (1270, 700, 180, 30),  # over the lower right one
        (1270, 700, 700, 0),  # and much larger
        (640, 360, 3000, 0),  # larger than the picture
    ],
)
def test_a_crop_is_that_of_the_whole_picture(x: float, y: float, side: float, tilt_deg: float) -> None:
    shown = shown_frame(smooth_frame(1280, 720))
    place = place_at(x, y, side, tilt_deg)
    crop = cut_out(shown, place)
    whole = to_yuv(warp_face(to_picture(shown.frame, shown.form), place.matrix_23, CLIP_SIZE))
    most, mean = planes_differ(crop.yuv, whole)
    assert mean < 0.5
    inside = crop.lips_outside == 0.0
    if side < 300 and inside:
        assert most <= 2
    elif side < 300:  # at the border chroma, of half the resolution, is blended with the fill a pixel further
        assert (np.abs(crop.yuv.to_ndarray().astype(int) - whole.to_ndarray()) > 2).mean() < 0.01
    else:  # reduced by other means first; at the border to the fill a pixel may be blended otherwise
        assert np.quantile(np.abs(luma(crop.yuv) - luma(whole)), 0.99) <= 2


@pytest.mark.parametrize("quarter_turns", [0, 1, 2, 3])
@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("side", [150, 640])
def test_a_turned_source_is_cut_upright(quarter_turns: int, mirrored: bool, side: int) -> None:
    shown = shown_frame(smooth_frame(800, 600, 1), quarter_turns, mirrored=mirrored)
    place = place_at(220, 330, side)
    crop = cut_out(shown, place)
    whole = to_yuv(warp_face(to_picture(shown.frame, shown.form), place.matrix_23, CLIP_SIZE))
    assert planes_differ(crop.yuv, whole)[1] < 0.5


@pytest.mark.parametrize(
    "pixel_format", ["yuv444p", "yuv422p10le", "yuv420p10be", "nv12", "rgb24", "yuyv422"]
)
def test_any_pixel_format_is_cut(pixel_format: str) -> None:
    shown = shown_frame(smooth_frame(800, 600, 2, pixel_format))
    place = place_at(300, 300, 170)
    whole = to_yuv(warp_face(to_picture(shown.frame, shown.form), place.matrix_23, CLIP_SIZE))
    most, mean = planes_differ(cut_out(shown, place).yuv, whole)
    assert most <= 2
    assert mean < 0.5


def test_a_face_that_has_left_the_picture_is_grey() -> None:
    crop = cut_out(shown_frame(smooth_frame(320, 240)), place_at(2000, 2000, 100))
    assert np.abs(crop.yuv.to_ndarray(format="rgb24").astype(int) - 127).max() <= 1
    assert crop.lips_outside == 1.0


def test_what_is_kept_of_a_crop_is_its_luma() -> None:
    crop = cut_out(shown_frame(smooth_frame(800, 600, 3)), place_at(300, 300, 170))
    blocks = luma(crop.yuv).reshape(64, 8, 64, 8).mean(axis=(1, 3))
    np.testing.assert_allclose(crop.small_HW, blocks, atol=0.51)


def shifted(x: float, y: float) -> Placement:
    """A face of 512 pixels whose crop begins at (x, y) of the frame."""
    return placement(WHOLE @ np.array([[1, 0, -x], [0, 1, -y], [0, 0, 1.0]]))


def edge_of(profile: np.ndarray) -> float:
    """Where a rise from black to white lies, in pixels with whole coordinates at centres, however soft it is."""
    low, high = profile[:5].mean(), profile[-5:].mean()
    return float(len(profile) - ((profile - low) / (high - low)).sum() - 0.5)


@pytest.mark.parametrize("side", [512, 640, 700, 1024, 1400, 2300])
@pytest.mark.parametrize("edge", [500, 607, 613])
def test_an_edge_lies_where_it_must_to_a_tenth_of_a_pixel(side: int, edge: int) -> None:
    """Half of the picture is white, from pixel ``edge`` on. The crop is ``side`` pixels of the frame, from (x, y) on,
    and shows them as 512, so the edge between two pixels is at (edge - x) * 512 / side between two of its own."""
    x, y = edge - 0.4 * side, edge - 0.6 * side
    scaled = aligned_already(1, side, side).matrices_F23[0]
    place = placement(scaled @ np.array([[1, 0, -x], [0, 1, -y], [0, 0, 1.0]]))
    for axis in (0, 1):
        grey = np.full((1440, 1440, 3), 40, np.uint8)
        (grey[:, edge:] if axis else grey[edge:])[:] = 200
        crop = cut_out(shown_frame(av.VideoFrame.from_ndarray(grey, format="rgb24")), place)
        # A band that is inside the picture, whatever the side.
        first = round((edge - 250 - (x if axis else y)) * 512 / side)
        last = round((edge + 250 - (x if axis else y)) * 512 / side)
        band = slice(max(first, 2), min(last, 510))
        profile = (
            luma(crop.yuv)[200:300, band].mean(axis=0) if axis else luma(crop.yuv)[band, 200:300].mean(axis=1)
        )
        expected = (edge - (x if axis else y)) * 512 / side - 0.5
        assert edge_of(profile) + band.start == pytest.approx(expected, abs=0.1)


def test_the_shares_of_the_lips_outside() -> None:
    """A frame of 512 x 512; the crop is moved until a border passes through the box of the lips."""
    shown = shown_frame(smooth_frame(512, 512))
    x0, y0, x1, y1 = LIPS_XYXY

    def outside(x: float, y: float) -> float:
        return cut_out(shown, shifted(x, y)).lips_outside

    assert outside(0, 0) == 0.0
    assert outside(0, 511 - y1) == 0.0
    assert outside(0, 512 - y0) == 1.0
    assert outside(0, 512 - y1 + 0.25 * (y1 - y0)) == pytest.approx(0.25, abs=1 / 16)
    assert outside(0, -y0 - 0.5 * (y1 - y0)) == pytest.approx(0.5, abs=1 / 16)
    assert outside(512 - x1 + 0.75 * (x1 - x0), 0) == pytest.approx(0.75, abs=1 / 16)
    assert outside(-x0 - 0.5 * (x1 - x0), 0) == pytest.approx(0.5, abs=1 / 16)
    both = outside(-x0 - 0.5 * (x1 - x0), 512 - y1 + 0.5 * (y1 - y0))
    assert both == pytest.approx(0.75, abs=1 / 8)


def test_the_mouths_of_real_people_lie_in_the_box_of_the_lips(media_dir: Path) -> None:
    """SCRFD's mouth corners in the crop: within 25 pixels of the sides of the box, between its upper and lower edge."""
    from lipforcing_core.faces.detectors.catalogue import load_detector

    detector = load_detector("scrfd", media_dir / "models" / "scrfd_500m_kps.onnx")
    x0, y0, x1, y1 = LIPS_XYXY
    corners = []
    for data_set in ("hdtf", "hallo3", "talkvid"):
        for row in (1, 2):
            path = media_dir / "vs" / data_set / f"row{row}" / "input.mp4"
            for frame in read_frames(path, 0, 81)[::40]:
                points = detector.detect(frame)[0].points
                assert points is not None
                to_square = square_matrix(align_points(anchors_from_points(points)[None])[0][0])
                corners.append(points[3:] @ to_square[:, :2].T + to_square[:, 2])
    mean = np.mean(corners, axis=0)
    assert mean[:, 0] == pytest.approx([x0, x1], abs=25)
    assert (np.array(corners)[..., 1] > y0).all()
    assert (np.array(corners)[..., 1] < y1).all()


def flat_crop(level: float, state: FaceState = FaceState.DETECTED, **measured: Any) -> Crop:
    """A crop of one grey whose small picture has this level."""
    facts: dict[str, Any] = {
        "lips_outside": 0.0,
        "yaw_deg": None,
        "pitch_deg": None,
        "repeats": False,
    } | measured
    return Crop(
        yuv=to_yuv(np.full((CLIP_SIZE, CLIP_SIZE, 3), int(level), np.uint8)),
        placement=placement(WHOLE, state, yaw_deg=facts["yaw_deg"], pitch_deg=facts["pitch_deg"]),
        lips_outside=facts["lips_outside"],
        small_HW=np.full((64, 64), level, np.float32),
        look_HW=np.full((64, 64), level, np.float32),
        repeats=facts["repeats"],
    )


@pytest.mark.parametrize(
    ("repeats", "runs"),
    [
        ("", []),
        (".", []),
        ("...", []),
        (".r", [1]),
        (".rr.r.", [2, 1]),
        ("..rrr", [3]),
        (".r..rr", [1, 2]),
        ("rr.", [1]),  # the first one repeats a frame of another segment
        (".r-.r", [1, 1]),
        ("--.", []),
    ],
)
def test_runs_of_repeated_frames(repeats: str, runs: list[int]) -> None:
    """A dash is a frame without the face."""
    crops = [None if kind == "-" else flat_crop(1, repeats=kind == "r") for kind in repeats]
    assert repeated(crops) == runs


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv444p10le", "rgb24"])
def test_a_picture_shown_twice_is_known_wherever_its_face_was_placed(pixel_format: str) -> None:
    first = shown_frame(smooth_frame(800, 600, 4, pixel_format))
    again = shown_frame(smooth_frame(800, 600, 4, pixel_format))
    other = shown_frame(smooth_frame(800, 600, 5, pixel_format))
    here, there = place_at(300, 300, 170), place_at(304, 297, 166, 3)
    before = cut_out(first, here)
    assert not before.repeats
    assert cut_out(again, here, before).repeats
    assert cut_out(again, there, before).repeats
    assert not cut_out(other, here, before).repeats


def test_a_face_that_moves_with_its_place_is_no_repetition() -> None:
    """Both crops are the same, and the picture has moved by three pixels."""
    wide = smooth_frame(806, 600, 4, "rgb24").to_ndarray()
    first, second = (
        shown_frame(av.VideoFrame.from_ndarray(np.ascontiguousarray(wide[:, x : x + 800]), format="rgb24"))
        for x in (0, 3)
    )
    before = cut_out(first, place_at(300, 300, 170))
    after = cut_out(second, place_at(297, 300, 170), before)
    assert planes_differ(after.yuv, before.yuv)[1] < 0.1
    assert not after.repeats


@pytest.mark.parametrize(
    ("rows", "columns", "levels", "repeats"),
    [
        (0.2, 1.0, 1, False),
        (0.2, 1.0, 0, True),
        (0.05, 0.5, 3, False),
        (0.03, 0.5, 3, True),
        (0.9, 1.0, 1, False),
    ],
)
def test_pictures_that_hardly_differ_anywhere_are_one(
    rows: float, columns: float, levels: int, repeats: bool
) -> None:
    """The upper left part of the second picture is brighter. Differences of whole blocks by a level are no noise."""
    flat = np.full((300, 300), 128, np.uint8)
    frames = []
    for added in (0, levels):
        luma_HW = np.full((600, 600), 90, np.uint8)
        luma_HW[: round(600 * rows), : round(600 * columns)] += added
        frame = av.VideoFrame(600, 600, "yuv420p")
        for plane, values in zip(frame.planes, (luma_HW, flat, flat), strict=True):
            plane_values(plane)[:] = values
        frames.append(shown_frame(frame))
    place = placement(aligned_already(1, 600, 600).matrices_F23[0])
    assert cut_out(frames[1], place, cut_out(frames[0], place)).repeats is repeats


@pytest.mark.parametrize(("mean", "repeats"), [(0.24, True), (0.26, False)])
def test_pictures_that_differ_little_everywhere_are_one(mean: float, repeats: bool) -> None:
    """In every block of 8 x 8 this share of the numbers is a level higher."""
    flat_HW = np.full((64, 64), 90.0)
    higher = np.arange(64).reshape(8, 8) < round(64 * mean)
    assert crops._same(flat_HW, flat_HW + np.tile(higher, (8, 8))) is repeats


def test_a_row_gives_the_crops_of_a_segment_and_forgets_the_rest() -> None:
    row = CropRow(0, 100)
    crops = [flat_crop(level) for level in range(6)]
    row.add(None)
    for crop in crops:
        row.add(crop)
    assert row.stop == 107
    assert row.part(Segment(100, 103)) == [None, crops[0], crops[1]]
    row.drop(104)
    assert row.part(Segment(104, 107)) == crops[3:]
    row.drop(104)
    assert row.stop == 107


def row_of(*crops: Crop | None) -> CropRow:
    row = CropRow(3, 50)
    for crop in crops:
        row.add(crop)
    return row


def test_a_track_is_written_with_its_places_and_its_facts(tmp_path: Path) -> None:
    absent = FaceState.ABSENT
    row = row_of(
        None,
        flat_crop(60, yaw_deg=10.0, pitch_deg=-30.0),
        flat_crop(60, FaceState.INTERPOLATED, lips_outside=0.25, repeats=True),
        flat_crop(200, absent, lips_outside=1.0),
        flat_crop(90, yaw_deg=30.0, pitch_deg=20.0, lips_outside=0.5),
    )
    facts = write_track(row, Segment(50, 55), tmp_path, crf=10)
    assert facts is not None
    assert facts.number == 3
    assert facts.detected_fraction == pytest.approx(2 / 5)
    assert facts.absent_frames == 2
    assert facts.face_height_px == 150
    assert facts.box_xyxy == (10, 20, 110, 170)
    assert (facts.yaw_deg, facts.pitch_deg) == (20, -5)
    assert facts.lips_outside == 0.5
    assert tuple(facts.repeated) == (1,)
    frames = read_frames(tmp_path / "3.mp4")
    assert frames.shape == (5, CLIP_SIZE, CLIP_SIZE, 3)
    assert frames.mean(axis=(1, 2, 3)) == pytest.approx([127, 60, 60, 200, 90], abs=2)
    stored = np.load(tmp_path / "3.npz")
    assert stored["usable_F"].tolist() == [False, True, True, False, True]
    np.testing.assert_array_equal(stored["matrices_F23"], np.stack([WHOLE] * 5))
    assert np.isnan(stored["boxes_F4"][0]).all()
    assert stored["start_frame"] == 50


@pytest.mark.parametrize(("yaw_deg", "known"), [(5.0, True), (None, False)])
def test_a_mouth_is_compared_where_a_detector_has_points(
    tmp_path: Path, yaw_deg: float | None, known: bool
) -> None:
    """16 frames of one picture, 14 of another: the frames that are in the minority are not like the usual one."""
    pictures = np.random.default_rng(0).integers(0, 255, (2, 64, 64)).astype(np.float32)
    crops = [replace(flat_crop(60, yaw_deg=yaw_deg), small_HW=pictures[int(i >= 16)]) for i in range(30)]
    facts = write_track(row_of(*crops), Segment(50, 80), tmp_path, crf=10)
    assert facts is not None
    if known:
        assert facts.mouth_likeness is not None
        assert facts.mouth_likeness < 0.3
    else:
        assert facts.mouth_likeness is None


@pytest.mark.parametrize(
    ("picture_xyxy", "outside"),
    [
        (None, 0.25),
        ((0, 0, 512, 303), 1.0),
        ((0, 0, 512, 337), 0.5),
        ((0, 371, 512, 512), 1.0),
        ((0, 9, 512, 400), 0.0),
    ],
)
def test_lips_under_a_bar_are_outside_the_picture(
    picture_xyxy: tuple[int, int, int, int] | None, outside: float, tmp_path: Path
) -> None:
    """The crop is the whole frame; without bars what was measured against its border counts."""
    row = row_of(flat_crop(60, lips_outside=0.25))
    facts = write_track(row, Segment(50, 51), tmp_path, crf=10, picture_xyxy=picture_xyxy)
    assert facts is not None
    assert facts.lips_outside == pytest.approx(outside, abs=1 / 16)


def test_a_track_that_is_never_seen_is_not_written(tmp_path: Path) -> None:
    assert write_track(row_of(None, None), Segment(50, 52), tmp_path, crf=10) is None
    assert write_track(row_of(flat_crop(9, FaceState.ABSENT)), Segment(50, 51), tmp_path, crf=10) is None
    assert list(tmp_path.iterdir()) == []


def test_a_second_attempt_leaves_what_is_there(tmp_path: Path) -> None:
    first = write_track(row_of(flat_crop(60)), Segment(50, 51), tmp_path, crf=10)
    clip = tmp_path / "3.mp4"
    before = clip.stat().st_mtime_ns
    assert write_track(row_of(flat_crop(60)), Segment(50, 51), tmp_path, crf=10) == first
    assert clip.stat().st_mtime_ns == before
    (tmp_path / "3.npz").unlink()
    assert write_track(row_of(flat_crop(60)), Segment(50, 51), tmp_path, crf=10) == first
    assert (tmp_path / "3.npz").is_file()
