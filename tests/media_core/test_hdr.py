"""Tone-mapping against published values (BT.2100, BT.2408, BT.2087, BT.2390) and against ffmpeg's zscale."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import av
import ffmpeg
import numpy as np
import pytest
from imageio_ffmpeg import get_ffmpeg_exe
from scipy.interpolate import CubicHermiteSpline

from lipforcing_core.media.decode import open_video, to_rgb
from lipforcing_core.media.ffmpeg import run_ffmpeg
from lipforcing_core.media.hdr import (
    fitted_light,
    hlg_to_scene,
    light_to_pq,
    pq_to_light,
    to_bt709,
    to_standard,
)
from lipforcing_core.media.picture import reduced, region, to_picture
from lipforcing_core.media.picture_form import PictureForm

from .pictures import SQUARE_PIXELS

PQ, HLG = 16, 18
BT709, BT2020, DISPLAY_P3 = 1, 9, 12
BT709_TO_BT2020 = np.array(  # ITU-R BT.2087-0, section 2.3
    [[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]]
)


def test_pq_has_its_published_values() -> None:
    light = np.array([0.0, 26.0, 100.0, 203.0, 1000.0, 4000.0, 10000.0])
    published = np.array([0.0, 0.38, 0.508, 0.58, 0.752, 0.903, 1.0])  # BT.2408 table 1, BT.2390 table 2
    assert np.abs(light_to_pq(light) - published).max() < 0.002
    assert np.allclose(pq_to_light(light_to_pq(light)), light, atol=1e-6)


def test_hlg_has_its_published_values() -> None:
    signal = np.array([0.0, 0.5, 0.75, 1.0])
    assert np.allclose(hlg_to_scene(signal), [0.0, 1 / 12, 0.2650, 1.0], atol=2e-4)
    # BT.2408 table 1: on a display of 1000 cd/m2, 75 % is the reference white of 203, and 38 % is 18 % grey, 26.
    assert np.allclose(1000 * hlg_to_scene(np.array([0.75, 0.38])) ** 1.2, [203, 26], atol=1)


def test_the_curve_is_the_hermite_spline_of_bt2390() -> None:
    """Straight up to the knee, then with slope 1 at the knee and slope 0 at the peak, in PQ over that of 1000."""
    peak = 0.751827  # PQ of 1000 cd/m2
    target = 0.580689 / peak  # PQ of 203 cd/m2
    knee = 1.5 * target - 0.5
    bent = CubicHermiteSpline([knee, 1.0], [knee, target], [1.0, 0.0])
    signal = np.linspace(0, 1, 501)
    expected = np.where(signal < knee, signal, bent(signal))
    shown = light_to_pq(fitted_light(pq_to_light(signal * peak))) / peak
    assert np.abs(shown - expected).max() < 1e-5
    assert np.allclose(fitted_light(np.array([0.0, 50, 87, 1000, 10000])), [0, 50, 87, 203, 203], atol=1e-2)


def test_primaries_are_changed_by_the_published_matrix() -> None:
    assert np.abs(to_bt709("bt2020") @ BT709_TO_BT2020 - np.eye(3)).max() < 3e-4
    assert np.allclose(to_bt709("bt709"), np.eye(3))
    # The matrix from Display P3 to sRGB as CSS Color 4 prints it.
    published = [[1.2249, -0.2249, 0.0], [-0.0420, 1.0420, 0.0], [-0.0197, -0.0786, 1.0979]]
    assert np.abs(to_bt709("p3") - published).max() < 1e-3


def frame_10_bit(signal_N3: np.ndarray, transfer: int, primaries: int = BT2020) -> Any:
    """Flat squares of RGB signals in [0, 1] as 10-bit limited YUV of BT.2020."""
    red, green, blue = signal_N3.T
    luma = 0.2627 * red + 0.6780 * green + 0.0593 * blue
    values = [64 + 876 * luma, 512 + 896 * (blue - luma) / 1.8814, 512 + 896 * (red - luma) / 1.4746]
    frame = av.VideoFrame(16 * len(signal_N3), 16, "yuv420p10le")
    for plane, codes, size in zip(frame.planes, values, (16, 8, 8), strict=True):
        rows = np.frombuffer(plane, np.uint16).reshape(plane.height, -1)
        rows[:, : plane.width] = np.repeat(np.round(codes), size).astype(np.uint16)
    frame.colorspace, frame.color_range = 9, 1
    frame.color_trc, frame.color_primaries = transfer, primaries
    return frame


def shown(signal_N3: Any, transfer: int, primaries: int = BT2020) -> np.ndarray:
    frame = frame_10_bit(np.asarray(signal_N3, dtype=float), transfer, primaries)
    return to_picture(frame, PictureForm.of(frame, SQUARE_PIXELS))[8, 8::16].astype(int)


def grey(*levels: float) -> np.ndarray:
    return np.repeat(np.array(levels)[:, None], 3, axis=1)


@pytest.mark.parametrize(
    ("transfer", "signals"),
    [(PQ, (0.0, 0.3794, 0.5081, 0.5807, 0.7518, 1.0)), (HLG, (0.0, 0.3785, 0.6296, 0.7500, 1.0, 1.0))],
    ids=["pq", "hlg"],
)
def test_the_grey_scale_has_the_stated_levels(transfer: int, signals: tuple[float, ...]) -> None:
    """Light of 0, 26, 100, 203, 1000 and more cd/m² in both kinds."""
    levels = shown(grey(*signals), transfer)
    assert np.abs(levels - levels[:, :1]).max() <= 1
    assert np.abs(levels[:, 1] - [0, 108, 189, 230, 255, 255]).max() <= 1


@pytest.mark.parametrize(("transfer", "signal"), [(PQ, 0.5807), (HLG, 0.75)], ids=["pq", "hlg"])
def test_white_is_not_washed_out(transfer: int, signal: float) -> None:
    frame = frame_10_bit(grey(signal), transfer)
    assert to_rgb(frame)[8, 8].max() < 195  # as it looks when HDR is read as if it were not
    assert shown(grey(signal), transfer).min() >= 229


def light_to_hlg(light_N3: np.ndarray) -> np.ndarray:
    """BT.2100 table 5: the inverse OOTF of a display of 1000 cd/m2, then the OETF."""
    display = light_N3 / 1000
    luminance = display @ (0.2627, 0.6780, 0.0593)
    scene = display * luminance[:, None] ** ((1 - 1.2) / 1.2)
    upper = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), upper)


@pytest.mark.parametrize("light", [10.0, 50.0, 80.0])
@pytest.mark.parametrize(("transfer", "encode"), [(PQ, light_to_pq), (HLG, light_to_hlg)], ids=["pq", "hlg"])
def test_colours_of_bt709_keep_their_place(transfer: int, encode: Any, light: float) -> None:
    """Red, green, blue and a skin tone of BT.709, in light below the knee, are the same colours afterwards."""
    linear_N3 = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0.9, 0.45, 0.3], [1, 1, 1]]) * light
    levels = shown(encode(linear_N3 @ BT709_TO_BT2020.T), transfer)
    expected = 255 * (linear_N3 / 203) ** (1 / 2.4)
    bright = linear_N3 > 0
    assert np.abs(levels - expected)[bright].max() <= 2
    # 10-bit codes of chroma leave up to 0.02 % of light in the channels that should be dark, at 2.4 a visible level.
    assert levels[~bright].max() <= 25


def test_highlights_keep_their_hue() -> None:
    """One factor for all three channels: the ratios of linear light do not change where nothing is clipped."""
    skin = np.array([[220.0, 160.0, 120.0]])
    levels = shown(light_to_pq(skin @ BT709_TO_BT2020.T), PQ)[0]
    linear = (levels / 255) ** 2.4
    assert np.abs(linear / linear[0] - skin[0] / skin[0, 0]).max() < 0.02
    luminance = skin[0] @ (0.2126, 0.7152, 0.0722)
    assert abs(203 * linear @ (0.2126, 0.7152, 0.0722) - float(fitted_light(np.array(luminance)))) < 2


def test_colours_outside_bt709_are_clipped_at_its_edge() -> None:
    levels = shown(0.45 * np.eye(3), PQ)  # pure BT.2020 primaries
    assert (levels.argmax(1) == [0, 1, 2]).all()
    assert levels[[0, 1], [2, 0]].max() <= 8
    assert shown([[1.0, 0.0, 0.0]], PQ)[0].tolist() == [255, 0, 0]


def test_wide_gamuts_without_hdr_are_converted_and_narrow_ones_are_not() -> None:
    red_of_709 = BT709_TO_BT2020 @ (0.5, 0.0, 0.0)
    level = 255 * 0.5 ** (1 / 2.4)
    assert np.abs(shown([red_of_709 ** (1 / 2.4)], BT709)[0] - (level, 0, 0)).max() <= 8
    assert abs(shown([red_of_709 ** (1 / 2.4)], BT709)[0, 0] - level) <= 2
    assert np.abs(shown(grey(0.1, 0.5, 1.0), BT709)[:, 1] - [25.5, 127.5, 255]).max() <= 1
    assert (
        shown([[0.7, 0.3, 0.3]], BT709, DISPLAY_P3)[0, 0] > shown([[0.7, 0.3, 0.3]], BT709, BT709)[0, 0] + 5
    )
    assert np.abs(shown([[0.7, 0.3, 0.3]], BT709, BT709)[0] - [178.5, 76.5, 76.5]).max() <= 1


def test_a_region_and_a_reduced_picture_are_tone_mapped_alike() -> None:
    ramp = np.linspace(0.1, 0.7, 40)
    frame = frame_10_bit(np.stack([ramp, ramp[::-1], np.full(40, 0.4)], axis=1), PQ)
    form = PictureForm.of(frame, SQUARE_PIXELS)
    whole = to_picture(frame, form)
    assert np.array_equal(region(frame, form, (101, 3, 333, 16)).rgb_HW3, whole[3:16, 101:333])
    small = reduced(frame, form, 40).rgb_HW3
    assert np.abs(small[0].astype(int) - whole[8, 8::16]).max() <= 4


def test_a_picture_of_many_rows_is_converted_in_whole() -> None:
    signal = np.random.default_rng(0).integers(0, 65536, (333, 200, 3)).astype(np.uint16)
    whole = to_standard(signal, "hlg", "bt2020")
    for row in (0, 99, 100, 332):
        assert np.array_equal(whole[row], to_standard(signal[row : row + 1].copy(), "hlg", "bt2020")[0])
    wide = np.full((2, 50_000, 3), 65535, np.uint16)
    assert (to_standard(wide, "pq", "bt2020") == 255).all()


def test_hdr_that_declares_no_more_is_read_as_bt2020() -> None:
    declared = frame_10_bit(np.array([[0.5, 0.3, 0.2]]), PQ)
    bare = frame_10_bit(np.array([[0.5, 0.3, 0.2]]), PQ, primaries=2)
    bare.colorspace = 2
    forms = [PictureForm.of(frame, SQUARE_PIXELS) for frame in (declared, bare)]
    assert [form.gamut for form in forms] == ["bt2020", "bt2020"]
    assert np.array_equal(to_picture(declared, forms[0]), to_picture(bare, forms[1]))


@pytest.mark.parametrize(
    ("transfer", "words"),
    [("smpte2084", "pq"), ("arib-std-b67", "hlg"), ("bt709", None), ("bt2020-10", None)],
)
def test_the_kind_is_read_from_a_files_tags(transfer: str, words: str | None, tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    tags = f"color_trc={transfer}:color_primaries=bt2020:colorspace=bt2020nc:range=tv"
    source = ffmpeg.input(f"color=c=gray:s=64x48:d=0.2,format=yuv420p10le,setparams={tags}", f="lavfi")
    run_ffmpeg(source.output(str(path), vcodec="libx264"), path)
    container, stream = open_video(path)
    form = PictureForm.of(next(container.decode(stream)), stream)
    container.close()
    assert (form.tone_mapped, form.gamut) == (words, "bt2020")
    assert (form.transfer, form.matrix, form.problem) == (transfer, "bt2020nc", None)


@pytest.mark.parametrize("kind", ["pq", "hlg"])
def test_light_below_the_knee_is_what_zscale_makes_of_it(kind: str) -> None:
    """zimg converts by the same recommendations without compression: both agree where nothing is compressed.

    ffmpeg lets it apply the OOTF of HLG to each channel by itself, so that only greys can be compared there.
    """
    program = get_ffmpeg_exe()
    filters = subprocess.run([program, "-hide_banner", "-filters"], capture_output=True, text=True).stdout
    if " zscale " not in filters:
        pytest.skip("this ffmpeg has no zscale")
    signal = np.random.default_rng(4).uniform(0.05, 0.48 if kind == "pq" else 0.59, (8, 16, 3))
    signal = signal.mean(2, keepdims=True) + (0.3 if kind == "pq" else 0.0) * (signal - 0.25)
    codes = np.round(65535 * np.broadcast_to(signal, (8, 16, 3)).clip(0, 1)).astype(np.uint16)
    tag = {"pq": "smpte2084", "hlg": "arib-std-b67"}[kind]
    chain = (
        f"format=gbrp16le,setparams=color_trc={tag}:color_primaries=bt2020:colorspace=gbr:range=full,"
        "zscale=transfer=linear:npl=203,format=gbrpf32le,zscale=primaries=bt709,"
        "zscale=transfer=bt709:range=full,format=gbrp16le,format=rgb48le"
    )
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb48le"]
    command = [program, "-v", "error", *raw, "-s", "16x8", "-i", "-", "-vf", chain, *raw, "-"]
    done = subprocess.run(command, input=codes.tobytes(), capture_output=True, check=True)
    reference = np.frombuffer(done.stdout, np.uint16).reshape(8, 16, 3) / 257
    assert reference.max() > 120
    assert np.abs(to_standard(codes, kind, "bt2020") - reference).max() <= 1.5
