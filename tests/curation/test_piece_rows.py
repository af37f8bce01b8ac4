"""The rows of the pieces of one source: their order, and what is left over at the end of the sound."""

from __future__ import annotations

import pytest

from .scripted import Curate, Steps, piece, reading, spans, track


@pytest.fixture
def curate(said: Steps) -> Curate:
    return said.curate


def test_pieces_leave_rows_in_their_order_and_clips_know_their_shot(curate: Curate) -> None:
    found = curate(
        reading(
            piece(0, 60),
            piece(60, 130, shot=1),
            piece(130, 200, shot=1),
            piece(230, 290, shot=3),
            num_frames=330,
            num_samples=310 * 640,
            short=spans((200, 230), (310, 312)),
            outside=spans((290, 310)),
        )
    )
    rows = [
        (d.start_frame, d.stop_frame, d.reason, d.measured, d.threshold, d.seconds) for d in found.decisions
    ]
    assert rows == [
        (0, 60, None, None, None, 2.4),
        (60, 130, None, None, None, 2.8),
        (130, 200, None, None, None, 2.8),
        (200, 230, "too_short", 1.2, 2.0, 1.2),
        (230, 290, None, None, None, 2.4),
        (290, 310, "outside_ranges", None, None, 0.8),
        (310, 312, "too_short", 0.08, 2.0, 0.08),
        (312, 330, "audio_missing", 12.4, 13.2, 0.72),
    ]
    starts = [(c.record.shot, c.record.start_frame) for c in found.clips]
    assert starts == [(0, 0), (1, 60), (1, 130), (3, 230)]
    assert found.frames_trimmed == 0


def test_one_bad_segment_spares_the_next(curate: Curate) -> None:
    found = curate(reading(piece(0, 60, track(detected_fraction=0.0)), piece(60, 120), num_frames=120))
    assert [(d.start_frame, d.reason) for d in found.decisions] == [(0, "no_face"), (60, None)]
    assert [c.record.start_frame for c in found.clips] == [60]


@pytest.mark.parametrize(
    ("stop", "num_samples", "trimmed", "missing"),
    [(60, 60 * 640, 0, None), (60, 59 * 640 + 1, 0, None), (59, 59 * 640, 1, None), (55, 55 * 640, 5, None),
     (54, 54 * 640, 0, (54, 60)), (60, 80 * 640, 0, None)],
)  # fmt: skip
def test_a_picture_that_outlasts_its_sound_by_little_is_trimmed_and_counted(
    stop: int, num_samples: int, trimmed: int, missing: tuple[int, int] | None, curate: Curate
) -> None:
    """The last piece ends with the sound."""
    found = curate(reading(piece(0, stop), num_samples=num_samples))
    assert found.frames_trimmed == trimmed
    rows = [d for d in found.decisions if d.reason == "audio_missing"]
    assert [(d.start_frame, d.stop_frame) for d in rows] == ([missing] if missing else [])
    assert [(d.measured, d.threshold) for d in rows] == ([(2.16, 2.4)] if missing else [])
    assert sum(d.num_frames for d in found.decisions) == 60 - trimmed


@pytest.mark.parametrize(
    ("sounding", "reason"), [(60, None), (55, None), (54, "audio_missing"), (1, "audio_missing")]
)
def test_a_piece_that_was_cut_before_the_sound_was_known_to_end(
    sounding: int, reason: str | None, curate: Curate, said: Steps
) -> None:
    """A shot in the middle has been written when the end of the sound becomes known."""
    found = curate(reading(piece(0, 60), num_frames=60, num_samples=sounding * 640))
    (decision,) = found.decisions
    assert (decision.reason, found.frames_trimmed) == (reason, 0)
    if reason:
        assert (decision.measured, decision.threshold) == (sounding / 25, 2.4)
        assert said.asked == [], "nothing is measured on it"


@pytest.mark.parametrize(
    ("stop", "trimmed", "missing"), [(57, 1, []), (53, 5, []), (52, 0, [(52, 58)]), (20, 0, [(20, 58)])]
)
def test_sound_that_ends_within_a_range_loses_no_frame_before_what_is_not_wanted(
    stop: int, trimmed: int, missing: list[tuple[int, int]], curate: Curate
) -> None:
    """The corpus wants frames 0 to 58 of 60, and the sound has ended before the range has."""
    found = curate(reading(piece(0, stop), num_samples=stop * 640, outside=spans((58, 60))))
    assert found.frames_trimmed == trimmed
    assert [(d.start_frame, d.stop_frame) for d in found.decisions if d.reason == "audio_missing"] == missing
    assert sum(d.num_frames for d in found.decisions) + trimmed == 60
