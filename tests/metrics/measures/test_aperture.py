from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from lipforcing_core.faces.align import align_track, warp_face
from lipforcing_core.faces.detectors.catalogue import load_detector
from lipforcing_core.faces.track import track_face
from lipforcing_core.metrics.measures.aperture import (
    APERTURE_TRUTH_CORR,
    SOURCE_LEAKAGE,
    aperture_curve,
    aperture_sync,
    correlation,
    silence_opening,
    speech_envelope,
)
from lipforcing_core.metrics.scored import ScoredClip, ScoredPicture
from lipforcing_core.metrics.values import UndefinedMeasure
from lipforcing_core.puppets.rig import PuppetScript, frame_truths, render
from lipforcing_core.puppets.speech import synthesise

NUM_FRAMES = 75


def drawn_mouth(gaps: np.ndarray, size: int = 128) -> np.ndarray:
    """Skin with a dark ellipse whose height follows ``gaps`` (0 to 1), where the aligned crop has the mouth."""
    frames = np.full((len(gaps), size, size, 3), (200, 160, 140), np.uint8)
    for frame, gap in zip(frames, gaps, strict=True):
        if gap > 0:
            axes = (round(0.16 * size), max(1, round(0.1 * size * gap)))
            cv2.ellipse(frame, (size // 2, round(0.67 * size)), axes, 0, 0, 360, (40, 15, 15), -1)
    return frames


def tone(loudness: np.ndarray) -> np.ndarray:
    """A sound whose amplitude follows ``loudness`` frame by frame."""
    carrier = np.sin(2 * np.pi * 200 * np.arange(len(loudness) * 640) / 16000)
    return (0.5 * np.repeat(loudness, 640) * carrier).astype(np.float32)


def wandering(seed: int, num_frames: int = NUM_FRAMES) -> np.ndarray:
    rng = np.random.default_rng(seed)
    curve = np.convolve(rng.random(num_frames + 4), np.ones(5) / 5, mode="valid")
    return (curve - curve.min()) / np.ptp(curve)


@pytest.fixture(scope="module", params=["astronaut", "grace_hopper"])
def puppet(request):
    """Aligned crops, true lip gap and speech of a puppet, cut as any video would be."""
    script = PuppetScript.varied(portrait=request.param, seed=321, num_frames=NUM_FRAMES)
    speech = synthesise(654, 4.0)
    frames = list(render(script, speech))
    alignment = align_track(track_face(frames, load_detector("lbp")))
    crops = [warp_face(f, m, 256) for f, m in zip(frames, alignment.matrices_F23, strict=True)]
    truth = np.array([truth.aperture for truth in frame_truths(script, speech)])
    return np.stack(crops), truth, speech.waveform[: NUM_FRAMES * 640]


def test_aperture_of_puppets_is_their_true_lip_gap(puppet):
    crops, truth, _ = puppet
    assert correlation(aperture_curve(crops), truth) > 0.95


def test_aperture_survives_a_small_blurred_picture(puppet):
    crops, truth, _ = puppet
    small = [cv2.resize(crop, (128, 128), interpolation=cv2.INTER_AREA) for crop in crops]
    soft = [
        cv2.resize(cv2.GaussianBlur(s, (0, 0), 1.5), (256, 256), interpolation=cv2.INTER_CUBIC) for s in small
    ]
    assert correlation(aperture_curve(np.stack(soft)), truth) > 0.93


def test_aperture_survives_flicker(puppet):
    crops, truth, _ = puppet
    gain = 0.75 + 0.25 * np.sin(np.arange(NUM_FRAMES) / 3)
    flickering = (crops * gain[:, None, None, None]).astype(np.uint8)
    assert correlation(aperture_curve(flickering), truth) > 0.95


def test_puppets_speak_in_sync_and_close_their_mouth_in_silence(puppet):
    crops, truth, waveform = puppet
    aperture_F, envelope_F = aperture_curve(crops), speech_envelope(waveform, NUM_FRAMES)
    own = aperture_sync(aperture_F, envelope_F)
    other = aperture_sync(aperture_F, speech_envelope(synthesise(77, 4.0).waveform, NUM_FRAMES))
    best = aperture_sync(truth, envelope_F)
    assert own.correlation > best.correlation - 0.1
    assert abs(own.lag_frames) <= 1
    assert own.correlation_at_zero > other.correlation_at_zero + 0.3
    assert silence_opening(aperture_F, envelope_F) < 0.25


def test_wider_gap_is_a_larger_aperture():
    curve = aperture_curve(drawn_mouth(np.array([0.0, 0.25, 0.5, 1.0])))
    assert curve[0] == 0.0
    assert (np.diff(curve) > 0).all()


def test_aperture_by_hand():
    frames = np.full((1, 128, 128, 3), 100, np.uint8)  # the inner box has 41 rows from row 67
    frames[0, 80:88, 38:90] = 0
    assert aperture_curve(frames)[0] == pytest.approx(8 / 41)
    frames[0, 80:88, 38:90] = 13  # a fifth of the dark level of 65
    assert aperture_curve(frames)[0] == pytest.approx(8 / 41 * 0.8)
    assert aperture_curve(np.zeros((1, 128, 128, 3), np.uint8))[0] == 0.0


def test_shadows_that_reach_in_from_nose_or_chin_are_no_opening():
    frames = np.full((1, 128, 128, 3), 100, np.uint8)
    frames[0, 60:72] = frames[0, 104:112] = 0
    assert aperture_curve(frames)[0] == 0.0
    frames[0, 80:88] = 0
    assert aperture_curve(frames)[0] == pytest.approx(8 / 41)


def test_envelope_by_hand():
    envelope = speech_envelope(tone(np.array([1.0] * 20 + [0.1] * 10 + [0.0] * 10)), 40)
    assert envelope[:19] == pytest.approx(0.0)
    assert envelope[21:29] == pytest.approx(-20.0)
    assert envelope[31:] == pytest.approx(-40.0)


def test_envelope_does_not_know_the_volume():
    sound = tone(wandering(0))
    np.testing.assert_allclose(
        speech_envelope(sound, NUM_FRAMES), speech_envelope(0.1 * sound, NUM_FRAMES), atol=1e-4
    )


def test_envelope_of_silence_or_of_too_little_sound_is_undefined():
    with pytest.raises(UndefinedMeasure, match="silent"):
        speech_envelope(np.zeros(6400, np.float32), 10)
    with pytest.raises(UndefinedMeasure, match="covers 9 frames of 10"):
        speech_envelope(np.ones(6399, np.float32), 10)


@pytest.mark.parametrize("lag", [-5, -2, 0, 3])
def test_injected_lag_is_found_with_its_sign(lag: int):
    curve = wandering(1)
    found = aperture_sync(np.roll(curve, lag), curve)  # positive: the picture comes after its sound
    assert found.lag_frames == lag
    assert found.correlation == pytest.approx(1.0)
    assert found.correlation_at_zero == pytest.approx(np.corrcoef(np.roll(curve, lag), curve)[0, 1])


def test_correlation_agrees_with_numpy_and_is_symmetric():
    a, b = wandering(2), wandering(3)
    assert correlation(a, b) == pytest.approx(np.corrcoef(a, b)[0, 1])
    assert correlation(a, b) == correlation(b, a)
    assert correlation(a, 5 - 2 * a) == pytest.approx(-1.0)


def test_a_frozen_mouth_and_too_short_a_clip_are_undefined():
    with pytest.raises(UndefinedMeasure, match="mouth does not change"):
        aperture_sync(np.full(NUM_FRAMES, 0.3), wandering(0))
    with pytest.raises(UndefinedMeasure, match="sound does not change"):
        aperture_sync(wandering(0), np.zeros(NUM_FRAMES))
    with pytest.raises(UndefinedMeasure, match="too few"):
        aperture_sync(wandering(0, 20), wandering(1, 20))
    with pytest.raises(ValueError, match="length"):
        aperture_sync(wandering(0), wandering(1)[:-1])


def test_silence_opening_by_hand():
    envelope = np.array([0.0] * 20 + [-40.0] * 20)
    shut = np.array([0.4, 0.6] * 10 + [0.0] * 20)
    half = np.array([0.0, 0.8] * 10 + [0.0, 0.4] * 10)
    assert silence_opening(shut, envelope) == pytest.approx(0.0)
    assert silence_opening(half, envelope) == pytest.approx(0.5, abs=0.05)
    assert silence_opening(half[::-1], envelope) > 1.5


def test_silence_opening_needs_silence_speech_and_movement():
    with pytest.raises(UndefinedMeasure, match="0 silent and 40 speaking"):
        silence_opening(wandering(0, 40), np.zeros(40))
    with pytest.raises(UndefinedMeasure, match="0 speaking"):
        silence_opening(wandering(0, 40), np.full(40, -40.0))
    with pytest.raises(UndefinedMeasure, match="does not move"):
        silence_opening(np.full(40, 0.2), np.array([0.0] * 20 + [-40.0] * 20))


def test_the_skin_level_is_the_upper_quarter_of_the_box():
    """41 x 52 pixels: with a quarter and a bit bright, that brightness is the skin; with less it is the rest."""
    frames = np.full((2, 128, 128, 3), 40, np.uint8)
    frames[0, 67:79, 38:90] = 200  # 12 of 41 rows; dark level 130: what is below is as dark as 1 - 40 / 130
    frames[1, 67:76, 38:90] = 200  # 9 of 41 rows: the skin is 40 itself, nothing is dark
    frames[:, 100:108, 38:90] = 200
    curve = aperture_curve(frames)
    assert curve[0] == pytest.approx((1 - 40 / 130) * 21 / 41)
    assert curve[1] == pytest.approx((1 - 40 / 130) * 24 / 41)


def test_envelope_is_smoothed_over_three_frames_and_relative_to_the_loud_ones():
    loudness = np.full(40, 0.5)
    loudness[20], loudness[39] = 1.0, 0.25
    envelope = speech_envelope(tone(loudness), 40)
    smooth = np.full(40, 0.5)
    smooth[19:22] = [0.625, 0.75, 0.625]
    smooth[38:] = [0.4375, 0.3125]
    expected = 20 * np.log10(np.minimum(1.0, smooth / np.percentile(smooth, 95)))
    np.testing.assert_allclose(envelope, expected, atol=0.02)
    steady = tone(np.full(10, 0.5))
    np.testing.assert_array_equal(speech_envelope(np.append(steady, np.ones(99, np.float32)), 10)[:9], 0.0)


def test_the_shortest_curves_that_correlate():
    curve = wandering(4, 21)
    assert aperture_sync(curve, curve).correlation == pytest.approx(1.0)
    with pytest.raises(UndefinedMeasure, match="20 frames are too few to correlate \\(at least 21\\)"):
        aperture_sync(curve[:20], curve[:20])
    assert aperture_sync(curve[:18], curve[:18], max_lag_frames=2).lag_frames == 0


def test_among_equal_lags_the_smallest_is_taken():
    alternating = np.tile([1.0, -1.0], 18)  # every even lag is equally good; norms are whole numbers at lag 0
    found = aperture_sync(alternating, alternating)
    assert (found.lag_frames, found.correlation) == (0, 1.0)


def test_silence_has_quiet_neighbours_and_three_frames_are_enough():
    loud, quiet, limit = 0.0, -31.0, -30.0
    envelope = np.array([loud] * 3 + [limit] + [quiet] * 5)
    aperture = np.array([0.9, 0.5, 0.7, 0.3, 0.8, 0.1, 0.2, 0.1, 0.1])
    closed = np.percentile(aperture, 5)
    silent = aperture[5:].mean() - closed  # the quiet frame beside the limit is no silence
    speaking = aperture[:4].mean() - closed
    assert silence_opening(aperture, envelope) == pytest.approx(silent / speaking)
    assert silence_opening(aperture[:-1], envelope[:-1]) > 0
    with pytest.raises(UndefinedMeasure, match="2 silent and 4 speaking frames; 3 of each"):
        silence_opening(aperture[:-2], envelope[:-2])
    with pytest.raises(UndefinedMeasure, match="4 silent and 2 speaking"):
        silence_opening(aperture[2:], envelope[2:])


def test_curves_that_hardly_change_still_correlate():
    a, b = 1e-6 * wandering(5), wandering(6)
    assert correlation(a, b) == pytest.approx(np.corrcoef(a, b)[0, 1])
    with pytest.raises(UndefinedMeasure, match="mouth"):
        correlation(1e-10 * a, b)


def test_a_reason_names_the_picture_whose_mouth_is_still() -> None:
    """Each of prediction, truth and source may be the one that does not move."""
    moving, still = drawn_mouth(wandering(0, 30)), drawn_mouth(np.full(30, 0.5))
    for measure, name in ((APERTURE_TRUTH_CORR, "truth"), (SOURCE_LEAKAGE, "source")):
        for prediction, other, whose in (
            (still, moving, "the mouth"),
            (moving, still, f"the mouth of the {name}"),
        ):
            truth: Any = ScoredPicture(other, None)  # type: ignore[arg-type]
            truth.item = SimpleNamespace(source_video="source.mp4")
            truth.source_frames = lambda other=other: other
            with pytest.raises(UndefinedMeasure, match=f"^{whose} does not change"):
                measure.compute(ScoredClip(prediction, truth))
