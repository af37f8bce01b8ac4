"""The one clock: 25 frames a second, 16 000 samples a second, 640 samples to a frame, all in integers.

Lengths are counted in whole samples, frames and latents, never in floating seconds: 1.16 s times 25 is
28.999... in floating point and loses a frame.
"""

from __future__ import annotations

from fractions import Fraction

from lipforcing_core.sound import rate

FPS = Fraction(25)
SAMPLE_RATE = rate.SAMPLE_RATE
SAMPLES_PER_FRAME = 640
FRAMES_PER_LATENT = 4


def frames_for_samples(num_samples: int) -> int:
    """Whole video frames that ``num_samples`` of 16 kHz sound cover: floor(samples * 25 / 16000)."""
    return _not_negative(num_samples, "samples") * 25 // SAMPLE_RATE


def samples_for_frames(num_frames: int) -> int:
    """Samples of 16 kHz sound under ``num_frames`` of video: 640 each."""
    return _not_negative(num_frames, "frames") * SAMPLES_PER_FRAME


def latents_for_frames(num_frames: int) -> int:
    """Latent frames that hold ``num_frames``: the first holds one, each later one four (rounded up)."""
    frames = _not_negative(num_frames, "frames")
    return 0 if frames == 0 else 1 + -(-(frames - 1) // FRAMES_PER_LATENT)


def frames_for_latents(num_latents: int) -> int:
    """Video frames that ``num_latents`` decode to: 4T - 3."""
    latents = _not_negative(num_latents, "latents")
    return 0 if latents == 0 else FRAMES_PER_LATENT * latents - (FRAMES_PER_LATENT - 1)


def chunks_for_frames(num_frames: int, *, chunk_latents: int = 3) -> int:
    """Chunks that cover ``num_frames``, rounded up so that no sound is dropped; trim the surplus."""
    return -(-latents_for_frames(num_frames) // chunk_latents)


def ping_pong_index(i: int, n: int) -> int:
    """Source frame shown at output frame ``i`` of a source of ``n`` frames played back and forth.

    0, 1, ..., n-1, n-2, ..., 1, 0, 1, ...: the end frames are not doubled, the period is 2n - 2.
    """
    if n < 1 or i < 0:
        raise ValueError(f"ping-pong needs a frame and an index from 0, got index {i} of {n} frames")
    if n == 1:
        return 0
    phase = i % (2 * n - 2)
    return phase if phase < n else 2 * n - 2 - phase


def seconds(num_frames: int) -> Fraction:
    """Exact length of ``num_frames`` at 25 frames a second."""
    return Fraction(num_frames) / FPS


def _not_negative(count: int, unit: str) -> int:
    if count < 0:
        raise ValueError(f"a number of {unit} cannot be negative, got {count}")
    return count
