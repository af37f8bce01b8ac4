"""The sound of a source: which track is taken, and what a piece gets of it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from lipforcing_core.curation import hearing
from lipforcing_core.curation.hearing import delayed, hear, loudness_dbfs, wide_sound
from lipforcing_core.media.segments import Segment

from .played import ramp, sound_track


@pytest.mark.parametrize(
    ("waveform", "dbfs"),
    [([1.0, -1.0], 0.0), ([0.1, -0.1, 0.1], -20.0), ([0.5, 0.0, 0.0, 0.0], -12.0412), ([], -120.0),
     ([0.0, 0.0], -120.0), ([1e-5], -100.0), ([1e-7], -120.0)],
)  # fmt: skip
def test_loudness_is_the_root_of_the_mean_square(waveform: list[float], dbfs: float) -> None:
    assert loudness_dbfs(np.array(waveform, dtype=np.float32)) == pytest.approx(dbfs, abs=1e-3)


@pytest.mark.parametrize(
    ("segment", "delay", "samples"),
    [
        (Segment(2, 4), 0, (1280, 2560)),
        (Segment(2, 4), 2, (0, 1280)),
        (Segment(2, 4), 3, (-640, 640)),
        (Segment(2, 4), 4, (-1280, 0)),
        (Segment(2, 4), 9, (-4480, -3200)),
        (Segment(2, 4), 15, (-8320, -7040)),
        (Segment(8, 10), 0, (5120, 6400)),
        (Segment(8, 10), -1, (5760, 7040)),
        (Segment(8, 10), -2, (6400, 7680)),
        (Segment(8, 10), -15, (14720, 16000)),
        (Segment(0, 10), 0, (0, 6400)),
        (Segment(12, 14), 0, (7680, 8960)),
        (Segment(40, 42), 0, (25600, 26880)),
    ],
)
def test_sound_beyond_the_ends_is_silence(segment: Segment, delay: int, samples: tuple[int, int]) -> None:
    """The sound of ten frames stands between silence of any length; a segment takes its part of that."""
    sound = np.linspace(0.1, 0.9, 6400, dtype=np.float32)
    whole = np.concatenate([np.zeros(32000, dtype=np.float32), sound, np.zeros(32000, dtype=np.float32)])
    wide = wide_sound(sound, segment)
    assert len(wide) == (segment.num_frames + 30) * 640
    start, stop = samples
    found = delayed(wide, segment.num_frames, delay)
    assert np.array_equal(found, whole[32000 + start : 32000 + stop])


def test_a_source_without_sound_gives_none() -> None:
    for tracks in ([], [sound_track(ramp(0, 9), folded=None)]):
        heard = hear(tracks)
        assert (len(heard.waveform_S), heard.taken) == (0, None)


def two_tracks(**first: Any) -> list[Any]:
    """A quiet track and a louder one behind it, in streams 1 and 4."""
    loud = sound_track(ramp(0, 20), stream=SimpleNamespace(index=4), language="en")
    return [sound_track(ramp(0, 10) * 0.5, **first), loud]


@pytest.mark.parametrize(
    ("speech", "first", "taken"),
    [
        ((0.9, 0.9), {"is_default": True}, 1),
        ((0.9, 0.9), {}, 1),
        ((0.0, 0.9), {}, 4),
        ((0.0, 0.9), {"is_default": True}, 4),
        ((0.0, 0.9), {"folded": None}, 4),
    ],
)
def test_the_default_track_or_the_first_with_speech_is_taken_and_named(
    speech: tuple[float, float], first: dict[str, Any], taken: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Speech is told here by the length of a track."""
    monkeypatch.setattr(hearing, "_speech_share", lambda sound: speech[len(sound) > 10 * 640])
    heard = hear(two_tracks(**first))
    assert heard.taken is not None
    assert (heard.taken.track, heard.taken.how, heard.taken.notes) == (taken, "mono", ("silent",))
    assert heard.taken.why
    assert np.array_equal(heard.waveform_S, ramp(0, 10) * np.float32(0.5) if taken == 1 else ramp(0, 20))


def test_nobody_listens_where_there_is_no_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hearing, "_speech_share", None)
    assert len(hear([sound_track(ramp(0, 7))]).waveform_S) == 7 * 640


def test_only_the_middle_of_a_long_track_is_listened_to(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[np.ndarray] = []

    class Activity:
        def activity(self, waveform: np.ndarray) -> Any:
            heard.append(waveform)
            return SimpleNamespace(speech_share=0.5)

    monkeypatch.setattr("lipforcing_core.sound.activity.catalogue.load_activity", Activity)
    long = np.arange(122 * 16000, dtype=np.float32)
    assert hearing._speech_share(long) == 0.5
    assert (heard[0][0], heard[0][-1], len(heard[0])) == (16000.0, 121 * 16000 - 1, 120 * 16000)
    hearing._speech_share(long[:100])
    assert len(heard[1]) == 100
