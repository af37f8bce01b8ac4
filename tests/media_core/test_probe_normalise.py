from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import ffmpeg
import numpy as np
import pytest

from lipforcing_core.base.errors import MediaError
from lipforcing_core.media.decode import presentation_times, read_audio, read_frames
from lipforcing_core.media.encode import VideoWriter, mux
from lipforcing_core.media.ffmpeg import run_ffmpeg
from lipforcing_core.media.normalise import normalise
from lipforcing_core.media.probe import probe
from lipforcing_core.media.shots import detect_shots

from .conftest import convert, counter_frame, read_counter, tone

MakeVideo = Callable[..., Path]


def test_probe_tells_the_facts(counter_video: MakeVideo) -> None:
    info = probe(counter_video(num_frames=45, rate=Fraction(30000, 1001), sound_s=1.0))
    assert (info.width, info.height, info.num_frames) == (160, 96, 45)
    assert info.frame_rate == Fraction(30000, 1001)
    assert not info.is_variable_rate
    assert abs(info.duration_s - Fraction(45 * 1001, 30000)) < Fraction(1, 1000)
    assert (info.video_codec, info.audio_codec, info.sample_rate, info.num_channels) == (
        "h264",
        "aac",
        16000,
        1,
    )
    assert not probe(counter_video()).has_audio


def test_the_form_of_the_house_is_kept_bit_for_bit(counter_video: MakeVideo, tmp_path: Path) -> None:
    source = counter_video(sound_s=2.4)
    info = normalise(source, tmp_path / "n.mp4", tmp_path / "n.wav")
    assert (info.num_frames, info.num_samples, info.width, info.height) == (60, 38400, 160, 96)
    assert np.array_equal(read_frames(tmp_path / "n.mp4"), read_frames(source))
    assert np.abs(read_audio(tmp_path / "n.wav") - read_audio(source)).max() < 1e-4
    assert info.decoder_message == ""


@pytest.mark.parametrize("rate", [Fraction(30), Fraction(30000, 1001), Fraction(60), Fraction(15)])
def test_any_rate_becomes_25_with_the_nearest_frames(
    rate: Fraction, counter_video: MakeVideo, tmp_path: Path
) -> None:
    source = counter_video(num_frames=90, rate=rate)
    info = normalise(source, tmp_path / "n.mp4", tmp_path / "n.wav")
    assert abs(info.num_frames - 90 * 25 / rate) <= 1
    shown = np.array([read_counter(f) for f in read_frames(tmp_path / "n.mp4")])
    ideal = np.array([float(k * rate / 25) for k in range(info.num_frames)])
    assert np.abs(shown - ideal).max() <= 1
    assert not (tmp_path / "n.wav").exists()
    stamps = presentation_times(tmp_path / "n.mp4")
    assert stamps == [512 * k for k in range(info.num_frames)]


def test_a_variable_rate_is_noticed_and_made_constant(counter_video: MakeVideo, tmp_path: Path) -> None:
    late = "if(lt(N,30),N,30+(N-30)*2)/25/TB"
    source = convert(counter_video(), tmp_path / "v.mp4", vf=f"setpts='{late}'", fps_mode="vfr")
    assert probe(source).is_variable_rate
    assert normalise(source, tmp_path / "n.mp4", None).num_frames in range(88, 92)
    shown = [read_counter(f) for f in read_frames(tmp_path / "n.mp4")]
    assert shown[:30] == list(range(30))
    assert shown[31:87:2] == shown[30:86:2]


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_rotation_is_applied_once_and_alike(turn: int, counter_video: MakeVideo, tmp_path: Path) -> None:
    upright = counter_video(num_frames=5)
    rotated = tmp_path / "r.mp4"
    run_ffmpeg(ffmpeg.input(str(upright), display_rotation=turn).output(str(rotated), c="copy"), upright)
    expected = np.rot90(read_frames(upright), turn // 90, axes=(1, 2))
    info = probe(rotated)
    assert info.rotation_deg == turn
    assert (info.height, info.width) == expected.shape[1:3]
    normalise(rotated, tmp_path / "n.mp4", None)
    assert probe(tmp_path / "n.mp4").rotation_deg == 0
    assert np.array_equal(read_frames(rotated), expected)
    assert np.abs(read_frames(tmp_path / "n.mp4").astype(int) - expected).mean() < 1


@pytest.mark.parametrize(
    "options",
    [
        {"vf": "crop=159:95:0:0", "pix_fmt": "yuv444p"},
        {"pix_fmt": "yuvj420p"},
        {"pix_fmt": "yuv422p10le"},
        {"vf": "setsar=2"},
        {"vcodec": "mpeg4", "q": 2},
    ],
    ids=["odd size", "full range", "10 bit", "wide pixels", "mpeg4"],
)
def test_other_forms_keep_their_look(options: dict, counter_video: MakeVideo, tmp_path: Path) -> None:
    source = convert(counter_video(num_frames=8), tmp_path / "s.mp4", **options)
    info = normalise(source, tmp_path / "n.mp4", None)
    assert info.width % 2 == info.height % 2 == 0
    assert info.width == (320 if options.get("vf") == "setsar=2" else 160 - 2 * ("crop" in str(options)))
    before, after = read_frames(source)[3], read_frames(tmp_path / "n.mp4")[3]
    rows = slice(60, 90)
    assert np.abs(before[rows].mean((0, 1)) - after[rows].mean((0, 1))).max() < 2.5


def test_sound_of_six_channels_is_mixed_down(counter_video: MakeVideo, tmp_path: Path) -> None:
    source = convert(counter_video(sound_s=2.4), tmp_path / "s.mkv", ac=6, ar=48000, vcodec="copy")
    info = normalise(source, tmp_path / "n.mp4", tmp_path / "n.wav")
    assert abs(info.num_samples - 38400) < 640
    assert np.abs(np.fft.rfft(read_audio(tmp_path / "n.wav")[:16000])).argmax() == 440


@pytest.mark.parametrize("kind", ["junk", "empty", "absent", "half", "sound only"])
def test_what_cannot_be_read_says_so_and_leaves_nothing(
    kind: str, counter_video: MakeVideo, tmp_path: Path
) -> None:
    path = tmp_path / f"{kind}.mp4"
    if kind == "junk":
        path.write_bytes(bytes(range(256)) * 50)
    elif kind == "empty":
        path.touch()
    elif kind == "half":
        whole = convert(counter_video(sound_s=2.4), tmp_path / "whole.mp4", c="copy")
        path.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    elif kind == "sound only":
        convert(counter_video(sound_s=2.4), path, vn=None, acodec="copy")
    out = tmp_path / "out"
    with pytest.raises(MediaError) as caught:
        normalise(path, out / "n.mp4", out / "n.wav")
    assert str(path) in str(caught.value)
    if kind in ("junk", "half"):
        assert "moov atom not found" in caught.value.decoder_message
    assert not out.exists() or list(out.iterdir()) == []


def test_a_truncated_file_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    noise = np.random.default_rng(0)
    with VideoWriter(tmp_path / "silent.mp4", width=160, height=96) as writer:
        for _ in range(50):
            writer.write(noise.integers(0, 256, (96, 160, 3), dtype=np.uint8))
    mux(tmp_path / "silent.mp4", tone(2.0), tmp_path / "whole.mp4")
    data = (tmp_path / "whole.mp4").read_bytes()
    path = tmp_path / "cut.mp4"
    path.write_bytes(data[: len(data) * 6 // 10])
    assert probe(path).duration_s == 2
    info = normalise(path, tmp_path / "n.mp4", tmp_path / "n.wav")
    assert 10 < info.num_frames < 45
    assert info.decoder_message


def test_cuts_are_found_to_the_frame(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    scenes = [np.kron(rng.integers(0, 256, (6, 10, 3)), np.ones((16, 16, 1))) for _ in range(4)]
    cuts = [0, 30, 75, 120, 150]
    with VideoWriter(tmp_path / "a.mp4", width=160, height=96) as writer:
        for scene, start, stop in zip(scenes, cuts[:-1], cuts[1:], strict=True):
            for k in range(start, stop):
                writer.write(np.roll(scene, (k - start) // 3, axis=1).astype(np.uint8))
    assert detect_shots(tmp_path / "a.mp4") == list(pairwise(cuts))


def test_a_video_without_a_cut_is_one_shot(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "a.mp4", width=160, height=96) as writer:
        for _ in range(40):
            writer.write(counter_frame(0))
    assert detect_shots(tmp_path / "a.mp4") == [(0, 40)]
    (tmp_path / "b.mp4").write_bytes(b"nothing")
    with pytest.raises(MediaError):
        detect_shots(tmp_path / "b.mp4")
