"""Squares warped out of the planes of a frame: their colours, their orientation and where their chroma lies."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import av
import numpy as np
import pytest

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.media.affine import warp
from lipforcing_core.media.encode import to_yuv
from lipforcing_core.media.picture import plane_values, to_picture
from lipforcing_core.media.picture_form import PictureForm
from lipforcing_core.media.plane_warp import warped_luma, warped_yuv
from tests.media_core.pictures import KR_KB, SQUARE_PIXELS, fill, patches, smooth

COLOURS_N3 = np.array([[200, 60, 50], [40, 160, 90], [60, 70, 190], [210, 180, 150], [127, 127, 127]])
AS_IT_IS = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


def form_of(frame: Any, **tags: Any) -> PictureForm:
    return replace(PictureForm.of(frame, SQUARE_PIXELS), **tags)


def planes(frame: Any) -> list[np.ndarray]:
    return [plane_values(plane).astype(int) for plane in frame.planes]


@pytest.mark.parametrize("matrix", KR_KB)
@pytest.mark.parametrize("full", [False, True], ids=["limited", "full"])
@pytest.mark.parametrize(
    ("bits", "format_name"),
    [(8, "yuv420p"), (8, "yuv422p"), (8, "yuv444p"), (10, "yuv420p10le"), (12, "yuv444p12le"), (8, "nv12")],
)
def test_colours_are_those_of_bt_709_whatever_was_declared(
    matrix: int, full: bool, bits: int, format_name: str
) -> None:
    """The middles of patches of 16 pixels, against the equations of BT.709 for the colours that were drawn."""
    frame = patches(COLOURS_N3, matrix, full, bits, format_name)
    square = warped_yuv(frame, form_of(frame), AS_IT_IS, 80, grey=127)
    assert (square.format.name, square.width, square.height) == ("yuv420p", 80, 80)
    kr, kb = KR_KB[1]
    red, green, blue = (COLOURS_N3 / 255).T
    luma = kr * red + (1 - kr - kb) * green + kb * blue
    wanted = 16 + 219 * luma, 128 + 112 * (blue - luma) / (1 - kb), 128 + 112 * (red - luma) / (1 - kr)
    y, u, v = planes(square)
    np.testing.assert_allclose(y[8, 8::16], wanted[0], atol=1.6)
    np.testing.assert_allclose(u[4, 4::8], wanted[1], atol=1.6)
    np.testing.assert_allclose(v[4, 4::8], wanted[2], atol=1.6)
    assert np.abs(y[20:] - 125).max() <= 1  # beyond the picture: 16 + 219 * 127 / 255
    assert max(np.abs(u[10:] - 128).max(), np.abs(v[10:] - 128).max()) <= 1


@pytest.mark.parametrize(
    ("matrix", "bits", "tags"),
    [
        (9, 10, {"transfer": "smpte2084", "primaries": "bt2020"}),
        (9, 10, {"transfer": "arib-std-b67", "primaries": "bt2020"}),
        (1, 8, {"primaries": "smpte432"}),
    ],
    ids=["pq", "hlg", "p3"],
)
def test_hdr_and_wide_gamuts_are_mapped_as_those_of_a_picture(
    matrix: int, bits: int, tags: dict[str, str]
) -> None:
    frame = patches(COLOURS_N3, matrix, False, bits, "yuv420p" if bits == 8 else "yuv420p10le")
    form = form_of(frame, **tags)
    wanted = to_yuv(warp(to_picture(frame, form), AS_IT_IS, (80, 80), 127))
    square = warped_yuv(frame, form, AS_IT_IS, 80, grey=127)
    for got, want, middle in zip(planes(square), planes(wanted), (8, 4, 4), strict=True):
        patches_of_both = got[middle, middle :: 2 * middle], want[middle, middle :: 2 * middle]
        np.testing.assert_allclose(*patches_of_both, atol=2)


def test_the_older_formats_of_full_range_need_no_tag() -> None:
    frame = patches(COLOURS_N3, 1, True, 8, "yuvj420p")
    tagged = planes(warped_yuv(frame, form_of(frame), AS_IT_IS, 80, grey=127))
    frame.color_range = 0
    for got, want in zip(
        planes(warped_yuv(frame, form_of(frame), AS_IT_IS, 80, grey=127)), tagged, strict=True
    ):
        np.testing.assert_array_equal(got, want)


def sampled(full_HW: np.ndarray, step: tuple[int, int]) -> np.ndarray:
    """Chroma of full resolution at the places of H.264: the first column of a step, the middle of its rows."""
    height, width = full_HW.shape[0] // step[1] * step[1], full_HW.shape[1] // step[0] * step[0]
    rows = full_HW[:height, :width].reshape(-1, step[1], width).mean(axis=1)
    return np.rint(rows[:, :: step[0]]).astype(np.uint8)


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("size", [(96, 64), (97, 65)], ids=["even", "odd"])
@pytest.mark.parametrize(
    ("format_name", "step"), [("yuv420p", (2, 2)), ("yuv422p", (2, 1)), ("yuv444p", (1, 1))]
)
def test_the_square_is_upright(
    turns: int, mirrored: bool, size: tuple[int, int], format_name: str, step: tuple[int, int]
) -> None:
    """The upright planes moved by (-8, -4), which are shown exactly but for the sampling of chroma."""
    width, height = size
    coded = np.moveaxis(smooth(width + width % 2, height + height % 2), 2, 0)
    frame = av.VideoFrame(width, height, format_name)
    for plane, values, by in zip(frame.planes, coded, ((1, 1), step, step), strict=True):
        fill(plane, sampled(values, by)[: plane.height, : plane.width])
    frame.colorspace, frame.color_range = 1, 1
    form = form_of(frame, quarter_turns=turns, mirrored=mirrored)
    got = planes(warped_yuv(frame, form, np.array([[1.0, 0.0, -8.0], [0.0, 1.0, -4.0]]), 48, grey=127))
    even = [values[: height // 2 * 2, : width // 2 * 2] for values in coded]
    upright = [np.rot90(values[:, ::-1] if mirrored else values, turns)[4:52, 8:56] for values in even]
    for shown, wanted, by, most in zip(got, upright, ((1, 1), (2, 2), (2, 2)), (0, 4, 4), strict=True):
        np.testing.assert_allclose(shown[2:-2, 2:-2], sampled(wanted, by).astype(int)[2:-2, 2:-2], atol=most)


def test_chroma_lies_where_h_264_says() -> None:
    """A ramp of chroma of 4 levels a sample. Its samples lie on even columns and between rows 2 n and 2 n + 1, so moved
    by a pixel to the left it shows half a step more, and by a pixel upwards half a step more downwards as well."""
    frame = av.VideoFrame(64, 64, "yuv420p")
    ramp = (4 * np.arange(32) + 20)[None].repeat(32, 0).astype(np.uint8)
    for plane, values in zip(
        frame.planes, (np.full((64, 64), 90, np.uint8), ramp, ramp.T.copy()), strict=True
    ):
        fill(plane, values)
    frame.colorspace, frame.color_range = 1, 1
    form = form_of(frame)
    _, u, v = planes(warped_yuv(frame, form, np.array([[1.0, 0.0, -1.0], [0.0, 1.0, -1.0]]), 32, grey=127))
    assert u[8, :8].tolist() == [22, 26, 30, 34, 38, 42, 46, 50]
    assert v[:8, 8].tolist() == [22, 26, 30, 34, 38, 42, 46, 50]
    _, u, v = planes(warped_yuv(frame, form, np.array([[2.0, 0.0, 0.0], [0.0, 2.0, 0.0]]), 32, grey=127))
    assert u[8, :6].tolist() == [20, 22, 24, 26, 28, 30]  # pixel 2 i of the square is pixel i of the frame
    # Row 2 j + 0.5 of the square is row j + 0.25 of the frame, so an eighth of a sample before the sample j / 2.
    np.testing.assert_allclose(v[1:7, 8], [20 + 4 * (j + 0.25 - 0.5) / 2 for j in range(1, 7)], atol=0.51)


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("format_name", ["yuv420p", "yuv420p10le", "yuv420p10be", "nv12"])
def test_the_brightness_alone_is_that_of_the_upright_square(
    turns: int, mirrored: bool, format_name: str
) -> None:
    frame = av.VideoFrame.from_ndarray(smooth(96, 64), format="rgb24").reformat(
        format=format_name, dst_colorspace=1
    )
    frame.colorspace, frame.color_range = 1, 1
    form = form_of(frame, quarter_turns=turns, mirrored=mirrored)
    place = np.array([[0.5, 0.0, -4.0], [0.0, 0.5, -2.0]])
    square_HW = warped_luma(frame, form, place, 40, grey=127)
    assert square_HW.dtype == np.float32
    wanted = planes(warped_yuv(frame, form, place, 40, grey=127))[0]
    np.testing.assert_allclose(square_HW, wanted, atol=2)


def test_unknown_colours_are_refused() -> None:
    frame = patches(COLOURS_N3, 1, False, 8, "yuv420p")
    with pytest.raises(BadInputError, match="ictcp"):
        warped_yuv(frame, form_of(frame, matrix="ictcp"), AS_IT_IS, 80, grey=127)
