"""What somebody should know of the sound of a piece, in words: where nobody speaks, and what is odd in it.

A note rejects nothing. It is made where a score lies beyond a constant, which stands here with its grounds.
"""

from __future__ import annotations

import json

from lipforcing_core.curation.records import Scores
from lipforcing_core.curation.results import SpeechResult
from lipforcing_core.media.clock import SAMPLE_RATE, SAMPLES_PER_FRAME

Stretches = tuple[tuple[float, float], ...]
"""Pairs of seconds (start, end), in order."""

CLIPPED_SHARE = 0.0001
"""Beyond this share of clipped samples the sound counts as clipped.

Sounds of real talking heads have none at all; the same ones, made 12 dB louder than full scale allows, have 0.0002 to
0.002, and with 24 dB 0.004 to 0.04.
"""

NARROW_HZ, TELEPHONE_HZ = 6300.0, 5000.0
"""Below the first the bandwidth is that of a low sample rate, below the second that of 8 kHz.

``sound.facts`` has the grounds: sound of 16 kHz and more reaches at least 6.5 kHz, sound that was stored at 11.025 kHz
5.4 to 6.2 kHz, and sound that was stored at 8 kHz, as a telephone has it, 3.7 to 4.6 kHz.
"""


def silences_of_clip(speech: SpeechResult, num_frames: int, delay_frames: int) -> Stretches:
    """The stretches without speech in seconds of a clip, whose sound was delayed by whole frames after they were found.

    What the delay moves beyond an end of the clip is cut off; what it brings in at the other end was not listened to.
    """
    stop = num_frames * SAMPLES_PER_FRAME
    delay = delay_frames * SAMPLES_PER_FRAME
    moved = ((max(first + delay, 0), min(last + delay, stop)) for first, last in speech.silences)
    return tuple(
        (round(first / SAMPLE_RATE, 3), round(last / SAMPLE_RATE, 3)) for first, last in moved if first < last
    )


def as_column(silences: Stretches) -> str:
    """The silences as the manifest holds them: a JSON list of [start, end] pairs."""
    return json.dumps(silences)


def from_column(silences: str | None) -> Stretches | None:
    """The silences of a clip as its manifest tells them; None where that is of an older version."""
    return None if silences is None else tuple((start, end) for start, end in json.loads(silences))


def sound_notes(scores: Scores) -> tuple[str, ...]:
    """What is odd in the sound of a piece; nothing where its scores were not measured."""
    notes = []
    clipped, bandwidth_hz = scores.clipping_share, scores.bandwidth_hz
    if clipped is not None and clipped > CLIPPED_SHARE:
        notes.append(f"clipped: {100 * clipped:.2g} % of the samples are cut off at full scale")
    if bandwidth_hz is not None and bandwidth_hz < NARROW_HZ:
        rate = "8 kHz, as a telephone has it" if bandwidth_hz < TELEPHONE_HZ else "11 kHz"
        notes.append(f"narrow: nothing above {bandwidth_hz / 1000:.1f} kHz, like sound stored at {rate}")
    return tuple(notes)
