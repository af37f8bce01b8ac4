"""Videos side by side: what stands where, how long, and in a format that browsers play."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from lipforcing_core.base.errors import BadInputError, MediaError
from lipforcing_core.media.decode import read_audio, read_frames
from lipforcing_core.media.encode import VideoWriter, write_wav
from lipforcing_core.media.side_by_side import side_by_side

RED, BLUE = (200, 30, 30), (30, 30, 200)


def _video(path: Path, colour: tuple[int, int, int], num_frames: int, *, size: tuple[int, int]) -> Path:
    width, height = size
    with VideoWriter(path, width=width, height=height) as writer:
        for _ in range(num_frames):
            writer.write(np.full((height, width, 3), colour, dtype=np.uint8))
    return path


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    wave = 0.3 * np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
    write_wav(tmp_path / "sound.wav", wave.astype(np.float32))
    return tmp_path / "sound.wav"


def test_columns_keep_their_order_and_shape(tmp_path: Path, sound: Path) -> None:
    red = _video(tmp_path / "red.mp4", RED, 12, size=(64, 64))
    blue = _video(tmp_path / "blue.mp4", BLUE, 10, size=(64, 32))  # wide: dark bars above and below
    side_by_side([red, blue], sound, tmp_path / "row.mp4", side_px=64, gap_px=4)
    frames = read_frames(tmp_path / "row.mp4")
    assert frames.shape == (10, 64, 132, 3), "as long as the shortest"
    side_by_side([red, blue], sound, tmp_path / "short.mp4", max_frames=7)
    assert len(read_frames(tmp_path / "short.mp4")) == 7
    middle = frames[5].astype(int)
    assert np.abs(middle[4:60, 4:60] - RED).max() < 30
    assert np.abs(middle[20:44, 72:128] - BLUE).max() < 30
    assert middle[:12, 72:128].max() < 60
    assert middle[52:, 72:128].max() < 60


def test_browsers_play_it(tmp_path: Path, sound: Path) -> None:
    red = _video(tmp_path / "red.mp4", RED, 25, size=(64, 64))
    out = tmp_path / "row.mp4"
    side_by_side([red, red], sound, out, comment="synthetic: a test")
    with av.open(str(out)) as container:
        picture, track = container.streams.video[0], container.streams.audio[0]
        assert (picture.codec_context.name, picture.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert track.codec_context.name == "aac"
        assert container.metadata["comment"] == "synthetic: a test"
    head = out.read_bytes()
    assert head.index(b"moov") < head.index(b"mdat"), "the index comes first, so that playing starts at once"
    heard = read_audio(out)
    assert abs(len(heard) - 16000) < 640
    assert np.sqrt((heard[2000:14000] ** 2).mean()) == pytest.approx(0.3 / np.sqrt(2), rel=0.1)


def test_the_same_inputs_give_the_same_bytes(tmp_path: Path, sound: Path) -> None:
    red = _video(tmp_path / "red.mp4", RED, 10, size=(64, 64))
    for name in ("one.mp4", "two.mp4"):
        side_by_side([red], sound, tmp_path / name)
    assert (tmp_path / "one.mp4").read_bytes() == (tmp_path / "two.mp4").read_bytes()


def test_bad_calls_leave_nothing(tmp_path: Path, sound: Path) -> None:
    red = _video(tmp_path / "red.mp4", RED, 4, size=(64, 64))
    out = tmp_path / "row.mp4"
    with pytest.raises(BadInputError, match="at least one video"):
        side_by_side([], sound, out)
    with pytest.raises(BadInputError, match="must be even"):
        side_by_side([red], sound, out, side_px=63)
    with pytest.raises(BadInputError, match="must be even"):
        side_by_side([red, red], sound, out, gap_px=3)
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"not a video")
    with pytest.raises(MediaError):
        side_by_side([red, broken], sound, out)
    assert not out.exists()
