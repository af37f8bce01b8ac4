"""Picture, sound and their alignment on inputs whose fingerprints are known, and the index on planted copies."""

from __future__ import annotations

import numpy as np
import pytest

from lipforcing_core.fingerprints.alignment import best_fit
from lipforcing_core.fingerprints.clips import ClipFingerprint, compare
from lipforcing_core.fingerprints.index import candidate_pairs
from lipforcing_core.fingerprints.picture import PictureFingerprint, look_distance, picture_fingerprint
from lipforcing_core.fingerprints.sound import code_signs, sound_codes


def test_the_best_shift_is_where_one_sequence_was_cut_out_of_the_other() -> None:
    rng = np.random.default_rng(0)
    whole_NK = rng.standard_normal((40, 5)).astype(np.float32)
    fit = best_fit(whole_NK, whole_NK[7:30], min_rows=10, floor=0.1)
    assert fit is not None
    assert (fit.shift, fit.length) == (7, 23)
    assert fit.correlation == pytest.approx(1.0, abs=1e-5)
    back = best_fit(whole_NK[7:30], whole_NK, min_rows=10, floor=0.1)
    assert back is not None
    assert (back.shift, back.length) == (-7, 23)
    opposite = best_fit(np.ones((4, 1), np.float32), -2 * np.ones((4, 1), np.float32), min_rows=4, floor=0.1)
    assert opposite is not None
    assert (opposite.correlation, opposite.shift, opposite.length) == (-1.0, 0, 4)


def test_a_correlation_is_that_of_the_overlap() -> None:
    """Rows [1, 2, 2] and [2, 1, 2]: 8 / 9 without a shift, 6 / sqrt(40) with the first two last, 1 the other way."""
    a, b = np.array([[1.0], [2], [2]], np.float32), np.array([[2.0], [1], [2]], np.float32)
    alone = best_fit(a, b, min_rows=3, floor=0.1)
    assert alone is not None
    assert alone.correlation == pytest.approx(8 / 9)
    fit = best_fit(a, b, min_rows=2, floor=0.1)
    assert fit is not None
    assert (fit.shift, fit.length, fit.correlation) == (-1, 2, pytest.approx(1.0))
    later = best_fit(a[1:], b[:2], min_rows=2, floor=0.1)
    assert later is not None
    assert later.correlation == pytest.approx(6 / np.sqrt(8 * 5))


def test_what_is_short_or_still_fits_nowhere() -> None:
    rows = np.ones((5, 2), np.float32)
    assert best_fit(rows, rows, min_rows=6, floor=0.1) is None
    assert best_fit(rows, rows, min_rows=5, floor=1.1) is None
    assert best_fit(rows, rows, min_rows=5, floor=1.0) is not None


def ramp(num_frames: int, levels_per_step: float) -> np.ndarray:
    """Grey 100; the first block of the upper part grows brighter by so many levels in every 5 frames."""
    frames = np.full((num_frames, 64, 64, 3), 100, dtype=np.uint8)
    for k in range(num_frames):
        frames[k, :8, :8] += np.uint8(levels_per_step * (k // 5))
    return frames


def test_motion_is_the_change_of_a_block_against_the_mean_of_all() -> None:
    """2 levels a step in one of 24 blocks: 2 * 23 / 24 there and -2 / 24 elsewhere, in eighths of a level."""
    motion_TB = picture_fingerprint(ramp(20, 2.0)).motion_TB
    assert (motion_TB.shape, motion_TB.dtype) == ((3, 24), np.int8)
    assert motion_TB.tolist() == [[15, *[-1] * 23]] * 3


def test_steps_lie_on_the_grid_of_the_source() -> None:
    rng = np.random.default_rng(1)
    frames = rng.integers(0, 255, (40, 32, 32, 3), dtype=np.uint8)
    whole = picture_fingerprint(frames, 0).motion_TB
    assert np.array_equal(picture_fingerprint(frames[7:], 7).motion_TB, whole[2:])
    assert np.array_equal(picture_fingerprint(frames[5:], 105).motion_TB, whole[1:])


def test_the_mouth_is_no_part_of_the_motion() -> None:
    frames = ramp(25, 2.0)
    spoken = frames.copy()
    spoken[:, 24:] = np.random.default_rng(0).integers(0, 255, spoken[:, 24:].shape, dtype=np.uint8)
    assert np.array_equal(picture_fingerprint(frames).motion_TB, picture_fingerprint(spoken).motion_TB)


def test_a_look_does_not_depend_on_brightness_and_contrast() -> None:
    """A gradient from the left to the right has the opposite look of its mirror image in the frequencies it has."""
    x = np.linspace(40, 160, 64, dtype=np.float32)
    rng = np.random.default_rng(0)
    picture = np.repeat((x + rng.normal(0, 12, (64, 64))).clip(0, 255)[..., None], 3, axis=2)
    look = picture_fingerprint(picture[None].astype(np.uint8)).look
    brighter = picture_fingerprint((picture * 1.1 + 12)[None].astype(np.uint8)).look
    mirrored = picture_fingerprint(picture[None, :, ::-1].astype(np.uint8)).look
    assert look_distance(look, brighter) <= 2
    assert look_distance(look, mirrored) >= 20
    assert (look_distance(0b1011, 0b0110), look_distance(0, 2**64 - 1)) == (3, 64)


def voice(seconds: float, seed: int = 0) -> np.ndarray:
    """Noise whose spectrum changes 20 times a second: float32 at 16 kHz."""
    rng = np.random.default_rng(seed)
    parts = []
    for _ in range(int(seconds * 20)):
        spectrum = np.fft.rfft(rng.standard_normal(800)) * np.repeat(rng.uniform(0, 1, 41), 10)[:401]
        parts.append(np.fft.irfft(spectrum, 800))
    wave = np.concatenate(parts)
    return (0.2 * wave / np.abs(wave).max()).astype(np.float32)


def error_rate(a_N: np.ndarray, b_N: np.ndarray) -> float:
    fit = best_fit(code_signs(a_N), code_signs(b_N), min_rows=130, floor=0.5)
    assert fit is not None
    return (1 - fit.correlation) / 2


def test_a_code_is_of_the_samples_that_begin_at_its_time() -> None:
    wave = voice(4)
    codes = sound_codes(wave)
    assert (len(codes), codes.dtype) == ((64000 - 4096) // 320, np.uint32)
    assert np.array_equal(sound_codes(wave[320 * 10 :]), codes[10:])


def test_a_bit_is_set_where_the_difference_of_two_bands_grows() -> None:
    """A tone of 310 Hz, in the first of 33 bands, that grows louder sets bit 0; one that grows quieter does not."""
    t = np.arange(16000) / 16000
    tone = np.sin(2 * np.pi * 310 * t)
    louder = sound_codes((tone * (0.1 + 0.4 * t)).astype(np.float32))
    quieter = sound_codes((tone * (0.5 - 0.4 * t)).astype(np.float32))
    assert (louder & 1).all()
    assert not (quieter & 1).any()
    high = np.sin(2 * np.pi * 1970 * t)  # in the last band, which is only subtracted: bit 31 falls
    louder = sound_codes((high * (0.1 + 0.4 * t)).astype(np.float32))
    assert not (louder >> 31).any()
    assert not sound_codes(np.full(16000, 1e-4, np.float32)).any(), "quiet"
    assert len(sound_codes(np.zeros(4096 + 319, np.float32))) == 0
    assert len(sound_codes(np.zeros(4096 + 320, np.float32))) == 1


def test_volume_noise_and_offset_leave_the_codes_and_other_words_do_not() -> None:
    from scipy.signal import resample_poly

    wave = voice(6)
    codes = sound_codes(wave)
    noisy = wave + 0.005 * np.random.default_rng(1).standard_normal(len(wave)).astype(np.float32)
    assert error_rate(codes, sound_codes(0.3 * wave)) < 0.02
    assert error_rate(codes, sound_codes(noisy)) < 0.1
    assert error_rate(codes, sound_codes(wave[12345:])) < 0.15, "an offset that is no multiple of the hop"
    rate = resample_poly(resample_poly(wave, 441, 640), 640, 441).astype(np.float32)  # 11 025 Hz
    assert error_rate(codes, sound_codes(rate)) < 0.05
    assert error_rate(codes, sound_codes(voice(6, seed=9))) > 0.4


def print_of(rng: np.random.Generator, look: int) -> ClipFingerprint:
    motion_TB = rng.integers(-40, 40, (30, 24)).astype(np.int8)
    codes_N = np.repeat(rng.integers(1, 2**32, 60, dtype=np.uint32), 5)
    return ClipFingerprint(picture=PictureFingerprint(look=look, motion_TB=motion_TB), codes_N=codes_N)


def test_the_index_finds_planted_copies_and_compares_few_others() -> None:
    """600 clips of one look: 180 000 pairs, 20 copies with another sound, 20 with another picture."""
    rng = np.random.default_rng(3)
    prints = [print_of(rng, look=77) for _ in range(600)]
    planted = set()
    for k in range(0, 80, 2):
        own = prints[k]
        if k % 4:
            motion_TB = (own.picture.motion_TB[4:] + rng.integers(-9, 9, (26, 24))).astype(np.int8)
            copied = PictureFingerprint(look=own.picture.look ^ 0b101, motion_TB=motion_TB)
            prints[k + 1] = ClipFingerprint(picture=copied, codes_N=prints[k + 1].codes_N)
        else:
            flips_N = np.where(rng.random(240) < 0.6, np.uint32(1 << 9), np.uint32(0))
            prints[k + 1] = ClipFingerprint(
                picture=prints[k + 1].picture, codes_N=own.codes_N[60:] ^ flips_N.astype(np.uint32)
            )
        planted.add((k, k + 1))
    pairs = {(a, b) for a, b in candidate_pairs(prints).tolist()}
    assert planted <= pairs
    assert len(pairs) < 100
    for a, b in planted:
        found = compare(prints[a], prints[b])
        assert (found.same_picture, found.same_sound) == ((True, False) if a % 4 else (False, True))
        assert found.near_duplicates


def test_another_look_and_a_still_picture_have_no_distance() -> None:
    rng = np.random.default_rng(0)
    own = print_of(rng, look=0)
    far = ClipFingerprint(
        picture=PictureFingerprint(look=2**13 - 1, motion_TB=own.picture.motion_TB), codes_N=own.codes_N
    )
    near = ClipFingerprint(
        picture=PictureFingerprint(look=2**12 - 1, motion_TB=own.picture.motion_TB), codes_N=own.codes_N
    )
    assert look_distance(own.picture.look, far.picture.look) == 13
    assert compare(own, far).picture_distance is None
    assert compare(own, near).picture_distance == pytest.approx(0, abs=1e-6)
    still = ClipFingerprint(
        picture=PictureFingerprint(look=0, motion_TB=np.zeros((30, 24), np.int8)), codes_N=own.codes_N[:20]
    )
    assert compare(still, still).picture_distance is None
    assert compare(still, still).sound_distance is None
    assert not compare(still, still).near_duplicates


def test_no_clips_and_one_clip_have_no_pairs() -> None:
    assert candidate_pairs([]).shape == (0, 2)
    assert candidate_pairs([print_of(np.random.default_rng(0), 1)]).shape == (0, 2)
