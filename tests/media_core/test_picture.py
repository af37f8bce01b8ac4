from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import ffmpeg
import numpy as np
import pytest

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.media import picture
from lipforcing_core.media.decode import read_frames, to_rgb
from lipforcing_core.media.ffmpeg import run_ffmpeg
from lipforcing_core.media.normalise import normalise
from lipforcing_core.media.picture import View, in_eight_bits, reduced, region, to_picture
from lipforcing_core.media.picture_form import PictureForm

from .pictures import KR_KB, SQUARE_PIXELS, fill, first_frame, frame_of, patches, smooth, textured

ORIENTATIONS = [(turns, mirrored) for turns in range(4) for mirrored in (False, True)]


@pytest.mark.parametrize("matrix", KR_KB)
@pytest.mark.parametrize("full", [False, True], ids=["limited", "full"])
@pytest.mark.parametrize(
    ("format_name", "bits"),
    [
        ("yuv420p", 8),
        ("nv12", 8),
        ("yuv422p", 8),
        ("yuv444p", 8),
        ("yuv420p10le", 10),
        ("yuv422p10le", 10),
        ("yuv444p12le", 12),
    ],
)
def test_colours_are_those_of_the_declared_matrix_and_range(
    format_name: str, bits: int, full: bool, matrix: int
) -> None:
    wanted = np.random.default_rng(3).integers(0, 256, (12, 3))
    wanted[:5] = [(0, 0, 0), (255, 255, 255), (255, 0, 0), (0, 255, 0), (0, 0, 255)]
    frame = patches(wanted, matrix, full, bits, format_name)
    form = PictureForm.of(frame, SQUARE_PIXELS)
    assert (form.full_range, form.tone_mapped) == (full, None)
    shown = to_picture(frame, form)[8, 8::16].astype(float)
    # A code of 8 bits is up to 1.2 levels wide, and blue takes 1.9 times the error of its chroma.
    assert np.abs(shown - wanted).max() <= (2.2 if bits == 8 else 1)
    assert np.abs((shown - wanted).mean()) < 0.5


FORMATS = (
    *("yuv420p", "yuvj420p", "yuv422p", "yuv444p", "yuv440p", "yuv411p", "yuv410p", "yuva420p"),
    *("yuv420p10le", "yuv422p10le", "yuv444p12le", "p010le", "nv12", "nv21", "yuyv422", "uyvy422"),
    *("gray", "gray10le", "monow", "rgb24", "bgra", "gbrp", "gbrp10le"),
)

BOXES = [
    (0, 0, 160, 96),
    (0, 0, 1, 1),
    (159, 95, 160, 96),
    (31, 17, 92, 60),
    (30, 16, 94, 64),
    (1, 1, 159, 95),
    (77, 0, 78, 96),
    (-20.5, 40.2, 33.7, 300),
    (10.9, 10.9, 11.1, 11.1),
]


def assert_regions_are_cuts(frame: Any, form: PictureForm) -> None:
    whole = to_picture(frame, form)
    width, height = form.size
    assert whole.shape == (height, width, 3)
    for left, top, right, bottom in BOXES:
        if left >= width or top >= height:
            continue
        view = region(frame, form, (left, top, right, bottom))
        rows = slice(max(0, int(np.floor(top))), min(height, int(np.ceil(bottom))))
        columns = slice(max(0, int(np.floor(left))), min(width, int(np.ceil(right))))
        assert view.offset_xy == (columns.start, rows.start)
        assert view.scale_xy == (1.0, 1.0)
        error = np.abs(view.rgb_HW3.astype(int) - whole[rows, columns])
        # The scaler rounds otherwise in pictures of less than 16 columns.
        assert error.max() <= (1 if right - left < 9 else 0), (left, top, right, bottom)


@pytest.mark.parametrize("format_name", FORMATS)
def test_a_region_is_a_cut_of_the_whole_picture_in_every_format(format_name: str) -> None:
    frame = frame_of(textured(160, 96), format_name)
    form = PictureForm.of(frame, SQUARE_PIXELS)
    assert np.array_equal(to_picture(frame, form), to_rgb(frame))
    assert_regions_are_cuts(frame, form)
    assert form.can_be_cut == (format_name not in ("yuyv422", "uyvy422", "monow"))
    if form.can_be_cut:
        part = picture._cut(frame, (16, 8, 64, 48))
        assert (part.format.name, part.width, part.height) == (format_name, 48, 40)


@pytest.mark.parametrize("color_range", [0, 1, 2])
@pytest.mark.parametrize("matrix", [1, 2, 3, 4, 5, 6, 7, 9])
def test_a_region_keeps_every_tag(matrix: int, color_range: int) -> None:
    frame = frame_of(textured(160, 96), "yuv420p")
    frame.colorspace, frame.color_range = matrix, color_range
    form = PictureForm.of(frame, SQUARE_PIXELS)
    assert form.full_range == (color_range == 2)
    assert_regions_are_cuts(frame, form)
    assert (int(frame.colorspace), int(frame.color_range)) == (matrix, color_range)


def test_the_older_formats_of_full_range_need_no_tag() -> None:
    frame = frame_of(textured(160, 96), "yuvj420p")
    tagged = to_picture(frame, PictureForm.of(frame, SQUARE_PIXELS))
    frame.color_range = 0
    form = PictureForm.of(frame, SQUARE_PIXELS)
    assert form.full_range
    assert np.array_equal(to_picture(frame, form), tagged)
    assert_regions_are_cuts(frame, form)


@pytest.mark.parametrize(
    ("name", "small"), [("yuv420p10le", "yuv420p"), ("yuv422p12le", "yuv422p"), ("yuv444p10le", "yuv444p")]
)
@pytest.mark.parametrize("full", [False, True], ids=["limited", "full"])
def test_deep_planes_become_eight_bits_of_the_same_picture(name: str, small: str, full: bool) -> None:
    frame = frame_of(textured(160, 96), name)
    frame.colorspace, frame.color_range = 9, 2 if full else 1
    form = replace(PictureForm.of(frame, SQUARE_PIXELS), quarter_turns=1, mirrored=True)
    frame.pts = 77
    light, its_form = in_eight_bits(frame, form)
    assert its_form == replace(form, pixel_format=small)
    assert (light.format.name, int(light.colorspace), int(light.color_range), light.pts) == (
        small,
        9,
        1 + full,
        77,
    )
    wide = to_picture(frame, form).astype(int)
    error = to_picture(light, its_form) - wide
    assert np.abs(error).max() <= 4
    assert abs(error.mean()) < (0.5 if full else 0.1)  # the scaler shifts the numbers of full range, too


@pytest.mark.parametrize(
    ("name", "tags"),
    [
        ("yuv420p", {}),
        ("gbrp10le", {}),
        ("p010le", {}),
        ("yuv420p10le", {"transfer": "smpte2084"}),
        ("yuv420p10le", {"primaries": "bt2020"}),
    ],
)
def test_what_has_no_deep_planes_or_needs_them_stays(name: str, tags: dict[str, str]) -> None:
    frame = frame_of(textured(160, 96), name)
    form = replace(PictureForm.of(frame, SQUARE_PIXELS), **tags)  # type: ignore[arg-type]
    light, its_form = in_eight_bits(frame, form)
    assert light is frame
    assert its_form is form


@pytest.mark.parametrize(("turns", "mirrored"), ORIENTATIONS)
@pytest.mark.parametrize("size", [(160, 96), (97, 163)], ids=["even", "odd"])
def test_a_region_is_a_cut_of_the_upright_picture(
    turns: int, mirrored: bool, size: tuple[int, int], coloured_video: Callable[..., Path]
) -> None:
    frame, form = first_frame(coloured_video(*size, pix_fmt="yuv444p" if size[0] % 2 else "yuv420p"))
    form = replace(form, quarter_turns=turns, mirrored=mirrored)
    coded = to_rgb(frame)[: size[1] // 2 * 2, : size[0] // 2 * 2]
    upright = np.rot90(coded[:, ::-1] if mirrored else coded, turns)
    assert np.array_equal(to_picture(frame, form), upright)
    assert_regions_are_cuts(frame, form)
    if not size[0] % 2:
        part = region(frame, form, (40, 30, 80, 80), max_side=25)
        assert part.offset_xy == (40, 30)
        assert part.rgb_HW3.shape == (25, 20, 3)
        blocks = upright[30:80, 40:80].reshape(25, 2, 20, 2, 3).mean((1, 3))
        assert np.abs(part.rgb_HW3 - blocks).mean() < 5
        for wrong in (blocks[::-1], blocks[:, ::-1]):
            assert np.abs(part.rgb_HW3 - wrong).mean() > 20


def test_a_region_of_an_interlaced_frame_is_a_cut_too(coloured_video: Callable[..., Path]) -> None:
    frame, form = first_frame(coloured_video(vf="setfield=tff", flags="+ildct+ilme"))
    assert frame.interlaced_frame
    assert np.array_equal(to_picture(frame, form), to_rgb(frame))
    assert_regions_are_cuts(frame, form)


@pytest.mark.parametrize(
    "options",
    [{"display_rotation": turn} for turn in (0, 90, 180, 270)]
    + [{"display_hflip": None}, {"display_vflip": None}]
    + [{"display_rotation": turn, "display_hflip": None} for turn in (90, 270)],
    ids=str,
)
def test_the_display_matrix_is_followed_as_ffmpeg_does(
    options: dict[str, Any], coloured_video: Callable[..., Path], tmp_path: Path
) -> None:
    upright, turned = coloured_video(content=smooth), tmp_path / "turned.mp4"
    run_ffmpeg(ffmpeg.input(str(upright), **options).output(str(turned), c="copy"), upright)
    normalise(turned, tmp_path / "n.mp4", None)
    frame, form = first_frame(turned)
    reference = read_frames(tmp_path / "n.mp4")[0].astype(int)
    assert form.size == (reference.shape[1], reference.shape[0])
    shown = to_picture(frame, form)
    # The intermediate keeps the siting of chroma at the left though it was turned: half a sample of difference.
    assert np.abs(shown - reference).mean() < 2
    for wrong in (shown[::-1], shown[:, ::-1], shown[::-1, ::-1]):
        assert np.abs(wrong - reference).mean() > 10


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"pix_fmt": "yuvj420p", "color_range": "pc"},
        {"pix_fmt": "yuv420p10le"},
        {"pix_fmt": "yuv422p10le", "colorspace": "smpte170m", "vf": "scale=out_color_matrix=smpte170m"},
        {"colorspace": "unknown"},
    ],
    ids=["bt709", "full range", "10 bit", "bt601", "undeclared"],
)
def test_the_picture_looks_like_the_one_ffmpeg_brings_to_the_houses_form(
    options: dict[str, Any], coloured_video: Callable[..., Path], tmp_path: Path
) -> None:
    path = coloured_video(content=smooth, **options)
    normalise(path, tmp_path / "n.mp4", None)
    reference = read_frames(tmp_path / "n.mp4")[0].astype(float)
    frame, form = first_frame(path)
    error = to_picture(frame, form) - reference
    assert np.abs(error).max() <= 5
    assert np.abs(error).mean() < 1


@pytest.mark.parametrize("aspect", ["2/1", "1/2", "16/15", "8/9", "40/33", "64/45"])
@pytest.mark.parametrize("turn", [0, 90])
def test_pixels_become_square_as_ffmpeg_does_it(
    aspect: str, turn: int, coloured_video: Callable[..., Path], tmp_path: Path
) -> None:
    path = coloured_video(content=smooth, vf=f"setsar={aspect}")
    if turn:
        turned = tmp_path / "turned.mp4"
        run_ffmpeg(ffmpeg.input(str(path), display_rotation=turn).output(str(turned), c="copy"), path)
        path = turned
    info = normalise(path, tmp_path / "n.mp4", None)
    frame, form = first_frame(path)
    assert form.size == (info.width, info.height)
    assert form.pixel_aspect == Fraction(aspect)
    reference = read_frames(tmp_path / "n.mp4")[0].astype(float)
    whole = to_picture(frame, form)
    assert np.abs(whole - reference).mean() < (3 if turn else 1)
    assert_regions_are_cuts(frame, form)
    small = reduced(frame, form, 40)
    assert max(small.rgb_HW3.shape) == 40
    assert np.abs(small.rgb_HW3.mean((0, 1)) - whole.mean((0, 1))).max() < 1.5
    part = region(frame, form, (8, 8, 48, 40), max_side=20)
    assert part.rgb_HW3.shape == (16, 20, 3)
    assert np.abs(part.rgb_HW3 - whole[8:40, 8:48].reshape(16, 2, 20, 2, 3).mean((1, 3))).max() <= 1


def test_an_odd_size_loses_its_last_row_and_column() -> None:
    frame = frame_of(textured(159, 95), "yuv420p")
    form = PictureForm.of(frame, SQUARE_PIXELS)
    assert form.size == (158, 94)
    even = frame_of(textured(160, 96), "yuv420p")
    for source, plane in zip(even.planes, frame.planes, strict=True):
        rows = np.frombuffer(source, np.uint8).reshape(source.height, -1)
        fill(plane, rows[: plane.height, : plane.width].copy())
    # A scaler that is given the odd frame stretches its chroma by half a sample.
    error = np.abs(to_picture(frame, form).astype(int) - to_rgb(even)[:94, :158])
    assert error[:88, :152].max() == 0
    assert error.mean() < 0.5
    assert replace(form, quarter_turns=1).size == (94, 158)
    bits = frame_of(textured(159, 95), "monow")
    assert to_picture(bits, PictureForm.of(bits, SQUARE_PIXELS)).shape == (94, 158, 3)
    assert PictureForm.of(av.VideoFrame(1, 1, "yuv444p"), SQUARE_PIXELS).size == (2, 2)
    point = av.VideoFrame(1, 1, "gray")
    assert to_picture(point, PictureForm.of(point, SQUARE_PIXELS)).shape == (2, 2, 3)


def test_reduction_averages_and_does_not_alias() -> None:
    stripes = np.zeros((240, 320, 3), np.uint8)
    stripes[:, ::2] = 255
    stripes[::3] = 128
    frame = frame_of(stripes, "yuv444p")
    view = reduced(frame, PictureForm.of(frame, SQUARE_PIXELS), 40)
    assert view.rgb_HW3.shape == (30, 40, 3)
    assert view.scale_xy == (0.125, 0.125)
    assert np.abs(view.rgb_HW3.astype(float) - stripes.mean()).max() < 14
    frame = frame_of(textured(320, 240), "yuv420p")
    form = PictureForm.of(frame, SQUARE_PIXELS)
    blocks = to_picture(frame, form).reshape(60, 4, 80, 4, 3).mean((1, 3))
    assert np.abs(reduced(frame, form, 80).rgb_HW3 - blocks).mean() < 3
    whole = reduced(frame, form, 320)
    assert whole.scale_xy == (1.0, 1.0)
    assert np.array_equal(whole.rgb_HW3, to_picture(frame, form))


@pytest.mark.parametrize("max_side", [57, 100, 160, 333])
@pytest.mark.parametrize("box", [None, (201, 33, 505, 400)])
def test_points_of_a_view_are_found_in_the_picture(max_side: int, box: tuple[int, ...] | None) -> None:
    picture = np.zeros((480, 640, 3), np.uint8)
    picture[201:232, 320:361] = 255  # centre (340, 216)
    frame = frame_of(picture, "yuv420p")
    form = PictureForm.of(frame, SQUARE_PIXELS)
    view = region(frame, form, box, max_side) if box else reduced(frame, form, max_side)
    assert max(view.rgb_HW3.shape) == max_side
    light = view.rgb_HW3.mean(2)
    rows, columns = np.indices(light.shape)
    centre = np.array([[(light * columns).sum(), (light * rows).sum()]]) / light.sum()
    assert np.abs(view.to_picture(centre) - (340, 216)).max() * min(view.scale_xy) < 0.05


def test_a_region_costs_only_what_the_region_costs() -> None:
    frame = av.VideoFrame(3840, 2160, "yuv420p10le")
    frame.color_range = 1
    form = PictureForm.of(frame, SQUARE_PIXELS)

    def cost(work: Callable[[], object]) -> float:
        times = []
        for _ in range(3):
            begin = time.process_time()
            work()
            times.append(time.process_time() - begin)
        return min(times)

    whole = cost(lambda: to_picture(frame, form))
    assert cost(lambda: region(frame, form, (1801, 901, 2001, 1101))) < whole / 20
    assert cost(lambda: reduced(frame, form, 640)) < whole / 1.5


@pytest.mark.parametrize(
    "box", [(5, 5, 5, 9), (9, 5, 5, 9), (64, 0, 90, 9), (-9, -9, 0, 0), (0, 0, np.nan, 9), (0, 0, 9)], ids=str
)
def test_a_box_without_a_pixel_is_refused(box: tuple[float, ...]) -> None:
    frame = frame_of(textured(64, 48), "yuv420p")
    form = PictureForm.of(frame, SQUARE_PIXELS)
    with pytest.raises(BadInputError, match="no pixel of a picture of 64x48"):
        region(frame, form, box)
    with pytest.raises(BadInputError, match="at least 1 pixel"):
        region(frame, form, (0, 0, 9, 9), max_side=0)


def test_a_view_unpacks() -> None:
    rgb, offset, scale = View(np.zeros((2, 2, 3), np.uint8), (4, 6), (0.5, 0.25))
    assert rgb.shape == (2, 2, 3)
    assert np.allclose(View(rgb, offset, scale).to_picture(np.array([[0.0, 0.0]])), [[4.5, 7.5]])
