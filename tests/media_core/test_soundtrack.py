"""The sound of a source: its tracks, its gaps and overlaps, and sound that is kept in a file of its own."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest

from lipforcing_core.base.errors import MediaError
from lipforcing_core.media.soundtrack import SoundTrack
from lipforcing_core.media.source_stream import SourceStream
from lipforcing_core.media.timeline import Jumps, StreamClock

from .conftest import counter_frame, tone
from .sources import X264, assert_in_step, converted, write_numbers, write_pictures


def test_a_gap_in_the_sound_is_silence(tmp_path: Path) -> None:
    """A second of sound is missing from 1.024 s on; what comes after it is where it belongs."""
    sound_S = tone(4.0)
    blocks = [i for i in range(63) if not 16 <= i < 32]
    kept = np.concatenate([sound_S[1024 * i : 1024 * (i + 1)] for i in blocks])
    frames = (counter_frame(k) for k in range(100))
    path = write_pictures(
        tmp_path / "a.mkv", frames, range(0, 4000, 40), sound=kept, sound_times=[1024 * i for i in blocks]
    )
    with SourceStream(path) as source:
        list(source.pictures())
        heard = source.tracks[0].folded
        assert source.sounding_frames == 100
    assert heard is not None
    wanted = sound_S.copy()
    wanted[16 * 1024 : 32 * 1024] = 0
    assert len(heard.waveform_S) == len(wanted)
    np.testing.assert_allclose(heard.waveform_S, wanted, atol=2e-4)


@pytest.mark.parametrize(("num_samples", "frames"), [(16_000, 25), (16_001, 26), (15_361, 25), (15_360, 24)])
def test_a_frame_that_has_begun_to_sound_counts(num_samples: int, frames: int, tmp_path: Path) -> None:
    sound_S = np.full(num_samples, 0.1, np.float32)
    with SourceStream(write_numbers(tmp_path / "a.mkv", list(range(0, 1200, 40)), sound=sound_S)) as source:
        assert len(list(source.pictures())) == 30
        assert source.sounding_frames == frames


def sound_track(blocks_at: list[tuple[int, np.ndarray]], rate: int = 16_000) -> np.ndarray:
    """What a track makes of blocks of mono sound, each due at a sample."""
    track = SoundTrack(SimpleNamespace(), StreamClock("sound", Jumps()))
    for start, block_S in blocks_at:
        frame = av.AudioFrame.from_ndarray(block_S[None].astype(np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), start
        track.add(frame)
    folded = track.finish()
    assert folded is not None
    return folded.waveform_S


def test_sound_that_overlaps_is_left_out() -> None:
    """The second half is stamped a quarter of a second too early: that much of it is dropped."""
    sound_S = np.random.default_rng(0).uniform(-0.5, 0.5, 20_000).astype(np.float32)
    heard = sound_track([(0, sound_S[:10_000]), (6_000, sound_S[10_000:])])
    np.testing.assert_allclose(heard, np.concatenate([sound_S[:10_000], sound_S[14_000:]]), atol=1e-4)


def test_an_overlap_longer_than_a_block_goes_on_into_the_next_one() -> None:
    sound_S = np.random.default_rng(0).uniform(-0.5, 0.5, 20_000).astype(np.float32)
    late = [(6_000 + i, sound_S[10_000 + i : 11_000 + i]) for i in range(0, 10_000, 1000)]
    heard = sound_track([(0, sound_S[:10_000]), *late])
    np.testing.assert_allclose(heard, np.concatenate([sound_S[:10_000], sound_S[14_000:]]), atol=1e-4)


@pytest.mark.parametrize(
    ("off", "length"), [(1500, 12_000), (1700, 13_700), (-1500, 12_000), (-1700, 10_300)]
)
def test_only_a_tenth_of_a_second_is_a_gap(off: int, length: int) -> None:
    """Blocks of 6000 samples at 16 kHz, the second off by some; a tenth of a second is 1600 samples."""
    block_S = np.full(6000, 0.25, np.float32)
    assert len(sound_track([(0, block_S), (6000 + off, block_S)])) == length


def test_small_errors_do_not_add_up_unseen() -> None:
    """Every block of 1600 samples lasts 1 % longer by its stamps: after 20 s that is 0.2 s, so silence came in."""
    block_S = np.full(1600, 0.25, np.float32)
    heard = sound_track([(1616 * i, block_S) for i in range(200)])
    assert len(heard) == pytest.approx(1616 * 200, abs=1700)
    assert (heard[320:] == 0).sum() == len(heard) - 1600 * 200


def test_the_rate_may_change_within_a_track() -> None:
    """A second at 16 kHz, then, stamped in its own samples, a second at 48 kHz that follows."""
    track = SoundTrack(SimpleNamespace(), StreamClock("sound", Jumps()))
    for rate in (16_000, 48_000):
        times = np.arange(rate) / rate
        wave = (0.5 * np.sin(2 * np.pi * 200 * times)).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(wave[None], format="fltp", layout="mono")
        frame.sample_rate, frame.time_base, frame.pts = (
            rate,
            Fraction(1, 16_000),
            0 if rate == 16_000 else 16_000,
        )
        track.add(frame)
    folded = track.finish()
    assert folded is not None
    wanted = 0.5 * np.sin(2 * np.pi * 200 * np.arange(32_000) / 16_000)
    assert len(folded.waveform_S) == 32_000
    np.testing.assert_allclose(folded.waveform_S[:31_900], wanted[:31_900], atol=0.02)


def test_rounded_time_stamps_of_sound_leave_no_seams(tmp_path: Path) -> None:
    """Matroska keeps milliseconds; a tone of 44.1 kHz comes through them as one smooth tone."""
    times = np.arange(44_100 * 3) / 44_100
    sound_S = (0.5 * np.sin(2 * np.pi * 440 * times)).astype(np.float32)
    path = write_numbers(tmp_path / "a.mkv", list(range(0, 3000, 40)), sound=sound_S, sound_rate=44_100)
    with SourceStream(path) as source:
        list(source.pictures())
        heard = source.tracks[0].folded
    assert heard is not None
    assert len(heard.waveform_S) == pytest.approx(48_000, abs=2)
    inner = heard.waveform_S[200:-200]
    wanted = 0.5 * np.sin(2 * np.pi * 440 * np.arange(200, 200 + len(inner)) / 16_000)
    np.testing.assert_allclose(inner, wanted, atol=2e-3)


def test_every_sound_track_is_collected_with_its_flags(master: Path, tmp_path: Path) -> None:
    path = converted(
        master, tmp_path / "a.mkv", "-map", "0:v", "-map", "0:a", "-map", "0:a", *X264, "-c:a", "aac",
        "-filter:a:0", "volume=0", "-metadata:s:a:1", "language=fra",
        "-disposition:a:0", "0", "-disposition:a:1", "default",
    )  # fmt: skip
    with SourceStream(path) as source:
        list(source.pictures())
        tracks = source.tracks
    assert [track.is_default for track in tracks] == [False, True]
    assert [track.language for track in tracks][1] == "fra"
    loudest = [float(np.abs(track.folded.waveform_S).max()) for track in tracks if track.folded is not None]
    assert loudest[0] == 0.0
    assert loudest[1] > 0.5


def test_no_sound_is_no_track(tmp_path: Path) -> None:
    with SourceStream(write_numbers(tmp_path / "a.mp4", list(range(0, 400, 40)))) as source:
        assert len(list(source.pictures())) == 10
        assert source.tracks == []
        assert source.sounding_frames == 0


def test_a_separate_sound_file_is_heard_from_its_start(master: Path, tmp_path: Path) -> None:
    """As VoxCeleb2 keeps it: the picture in an mp4 without sound, the sound in an m4a."""
    picture = converted(master, tmp_path / "a.mp4", *X264, "-an")
    sound = converted(master, tmp_path / "a.m4a", "-c:a", "aac", "-vn")
    assert_in_step(picture, [1.0, 2.6], sound_path=sound)
    with SourceStream(picture, sound_path=sound) as source:
        assert source.sounding_frames is None
        list(source.pictures())
        assert source.sounding_frames == pytest.approx(100, abs=2)


def test_two_files_have_a_start_each(master: Path, tmp_path: Path) -> None:
    """A transport stream starts at 1.4 s of its own clock, the sound beside it at 0."""
    picture = converted(master, tmp_path / "a.ts", *X264, "-an")
    assert_in_step(picture, [1.0, 2.6], sound_path=converted(master, tmp_path / "a.wav", "-vn"))


def test_a_separate_sound_file_replaces_the_sound_of_the_picture(master: Path, tmp_path: Path) -> None:
    silent = converted(master, tmp_path / "a.mkv", *X264, "-af", "volume=0")
    assert_in_step(silent, [1.0, 2.6], sound_path=converted(master, tmp_path / "a.wav", "-vn"))


def test_a_missing_sound_file_is_named(master: Path, tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"none\.m4a.*no such file"):
        SourceStream(master, sound_path=tmp_path / "none.m4a")
