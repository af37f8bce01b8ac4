"""Drawn puppets: the picture shows what the truth says."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.puppets.portraits import LANDMARK_NAMES, load_portrait, portrait_names
from lipforcing_core.puppets.rig import FrameTruth, PuppetScript, frame_truths, render
from lipforcing_core.puppets.speech import CONTROL_RATE, Utterance, Voice, synthesise

SIZE = 320
PORTRAITS = ("astronaut", "grace_hopper")


def still(portrait: str, **changes: object) -> PuppetScript:
    """A script whose head does not move."""
    settings = {"portrait": portrait, "seed": 3, "num_frames": 1, "size": SIZE, "motion": 0.0, **changes}
    return PuppetScript(**settings)  # type: ignore[arg-type]


def holding(aperture: float, width: float = 1.0) -> Utterance:
    """One second of lips that stay as they are."""
    curve = np.ones(CONTROL_RATE, dtype=np.float32)
    return Utterance(
        waveform=np.zeros(16000, dtype=np.float32),
        phonemes=(),
        aperture_curve=aperture * curve,
        width_curve=width * curve,
        voice=Voice.from_seed(0),
    )


def draw(script: PuppetScript, utterance: Utterance) -> tuple[np.ndarray, FrameTruth]:
    """The first frame and its truth."""
    return next(render(script, utterance)), frame_truths(script, utterance)[0]


def luma(frame: np.ndarray) -> np.ndarray:
    return frame.astype(np.float64) @ (0.299, 0.587, 0.114)


def test_both_portraits_are_there() -> None:
    assert portrait_names() == PORTRAITS
    with pytest.raises(BadInputError, match="astronaut, grace_hopper"):
        load_portrait("mona_lisa")


@pytest.mark.parametrize("portrait", PORTRAITS)
def test_the_gap_between_the_lips_is_as_wide_as_the_truth_says(portrait: str) -> None:
    script = still(portrait)
    closed, _ = draw(script, holding(0.0))
    for aperture in (0.3, 0.6, 1.0):
        opened, truth = draw(script, holding(aperture))
        (x, top), (_, bottom) = truth.landmarks["upper_lip"], truth.landmarks["lower_lip"]
        assert bottom - top == pytest.approx(truth.aperture_px, abs=0.1)
        column = luma(opened)[:, round(x) - 2 : round(x) + 3].mean(axis=1)
        rows = np.arange(round(top) - 8, round(bottom) + 9)
        darker = rows[
            column[rows] < 0.5 * np.median(luma(closed)[round(bottom) + 4 : round(bottom) + 14, round(x)])
        ]
        assert darker.min() >= top - 5
        assert darker.max() == pytest.approx(bottom, abs=2.5)
    assert truth.aperture_px == pytest.approx(0.35 * truth.width_px, rel=1e-6)


@pytest.mark.parametrize("portrait", PORTRAITS)
def test_a_closed_mouth_shows_no_cavity(portrait: str) -> None:
    script = still(portrait)
    (closed, truth), (opened, _) = draw(script, holding(0.0)), draw(script, holding(0.8))
    x, y = truth.landmarks["lower_lip"]
    near = (slice(round(y) - 4, round(y) + 14), slice(round(x) - 12, round(x) + 13))
    assert truth.aperture_px == 0.0
    assert (luma(closed)[near] < 50).mean() < 0.02
    assert (luma(opened)[near] < 50).mean() > 0.3


@pytest.mark.parametrize("portrait", PORTRAITS)
def test_the_mouth_moves_nothing_outside_the_lower_face(portrait: str) -> None:
    script = still(portrait)
    (closed, truth), (opened, _) = draw(script, holding(0.0)), draw(script, holding(1.0, 0.8))
    changed = np.abs(closed.astype(int) - opened).max(axis=2) > 2
    rows, columns = np.nonzero(changed)
    x0, _, x1, _ = truth.face_box
    assert rows.min() > truth.landmarks["nose"][1] - 8
    assert columns.min() > x0 - 8
    assert columns.max() < x1 + 8


def test_rounded_lips_are_narrower_and_the_chin_follows_the_jaw() -> None:
    rest = draw(still("astronaut"), holding(0.0))[1]
    rounded = draw(still("astronaut"), holding(0.0, 0.8))[1]
    opened = draw(still("astronaut"), holding(1.0))[1]

    def spread(truth: FrameTruth) -> float:
        left, right = (np.array(truth.landmarks[name]) for name in ("mouth_left", "mouth_right"))
        return float(np.hypot(*(right - left)))

    assert spread(rest) == pytest.approx(rest.width_px, abs=0.05)
    assert spread(rounded) == pytest.approx(0.8 * spread(rest), rel=1e-3)
    drop = opened.landmarks["chin"][1] - rest.landmarks["chin"][1]
    assert 0.3 * opened.aperture_px < drop < 0.8 * opened.aperture_px
    assert opened.landmarks["nose"] == rest.landmarks["nose"]


def test_mirroring_flips_picture_and_truth() -> None:
    plain, mirrored = still("astronaut"), still("astronaut", mirror=True)
    (frame, truth), (flipped, other) = draw(plain, holding(0.5)), draw(mirrored, holding(0.5))
    np.testing.assert_array_equal(frame[:, ::-1], flipped)
    assert tuple(other.landmarks) == LANDMARK_NAMES
    assert other.landmarks["mouth_left"][0] == pytest.approx(SIZE - 1 - truth.landmarks["mouth_right"][0])
    for name in ("brow", "eye"):
        assert other.landmarks[f"left_{name}"][0] < other.landmarks[f"right_{name}"][0]
    assert other.face_box[0] == pytest.approx(SIZE - 1 - truth.face_box[2])


@pytest.mark.parametrize("portrait", PORTRAITS)
def test_head_motion_is_small_and_smooth_and_the_landmarks_follow_it(portrait: str) -> None:
    script = PuppetScript.varied(portrait=portrait, seed=11, num_frames=100, size=160)
    path = np.array([truth.landmarks["nose"] for truth in frame_truths(script, holding(0.0))])
    steps = np.hypot(*np.diff(path, axis=0).T)
    assert steps.max() < 0.01 * script.size
    assert 0.01 * script.size < np.ptp(path, axis=0).max() < 0.2 * script.size
    # The eyes are darker than the skin below them, wherever the head has gone.
    for frame, truth in list(
        zip(render(script, holding(0.0)), frame_truths(script, holding(0.0)), strict=True)
    )[::33]:
        for name in ("left_eye", "right_eye"):
            x, y = truth.landmarks[name]
            column = luma(frame)[:, round(x)]
            assert (
                column[round(y) - 1 : round(y) + 2].mean() < column[round(y) + 9 : round(y) + 13].mean() - 20
            )


@pytest.mark.parametrize("portrait", PORTRAITS)
def test_the_bundled_detector_finds_the_face_where_the_truth_has_it(portrait: str) -> None:
    from skimage import data
    from skimage.feature import Cascade

    detector = Cascade(data.lbp_frontal_face_cascade_filename())
    for seed in range(3):
        script = PuppetScript.varied(portrait=portrait, seed=seed, num_frames=60, size=SIZE)
        utterance = synthesise(seed, 60 / 25)
        for frame, truth in list(
            zip(render(script, utterance), frame_truths(script, utterance), strict=True)
        )[::20]:
            found = detector.detect_multi_scale(
                frame, scale_factor=1.2, step_ratio=1, min_size=(100, 100), max_size=(260, 260)
            )
            boxes = [(f["c"], f["r"], f["c"] + f["width"], f["r"] + f["height"]) for f in found]
            assert max(overlap(box, truth.face_box) for box in boxes) > 0.65


def overlap(first: tuple[float, ...], second: tuple[float, ...]) -> float:
    """Intersection over union of two boxes."""
    a, b = np.array(first), np.array(second)
    inner = np.prod(np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None))
    return float(inner / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - inner))


def test_equal_scripts_give_equal_frames_and_speech_changes_only_the_mouth() -> None:
    script = PuppetScript.varied(portrait="grace_hopper", seed=8, num_frames=6, size=160)
    first, again = ([*render(script, synthesise(1, 1.0), start_s=0.4)] for _ in range(2))
    other = [*render(script, synthesise(2, 1.0), start_s=0.4)]
    np.testing.assert_array_equal(first, again)
    assert any(not np.array_equal(a, b) for a, b in zip(first, other, strict=True))
    top = round(frame_truths(script, synthesise(1, 1.0))[0].landmarks["nose"][1]) - 8
    np.testing.assert_array_equal(np.array(first)[:, :top], np.array(other)[:, :top])


def test_frames_show_the_middle_of_their_time() -> None:
    utterance = synthesise(4, 2.0)
    for rate in (Fraction(25), Fraction(30)):
        script = replace(still("astronaut", size=128, num_frames=40), frame_rate=rate)
        shown = [truth.aperture for truth in frame_truths(script, utterance, start_s=0.2)]
        times = 0.2 + (np.arange(40) + 0.5) / float(rate)
        np.testing.assert_allclose(shown, utterance.aperture_at(times), atol=1e-6)


def test_impossible_scripts_are_refused() -> None:
    with pytest.raises(BadInputError, match="at least one frame"):
        still("astronaut", num_frames=0)
    with pytest.raises(BadInputError, match="at least 128 pixels"):
        still("astronaut", size=64)
