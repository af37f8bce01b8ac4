"""Puppet clips: which frames and sounds belong together, and how rough the alignment is."""

from __future__ import annotations

from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from lipforcing_core.faces.align import align_points, warp_face
from lipforcing_core.faces.anchors import anchors_from_box
from lipforcing_core.puppets.rig import FrameTruth
from lipforcing_core.sync import puppet_data
from lipforcing_core.sync.puppet_data import PuppetClip, cut_mouth, puppet_clips


def test_the_mouth_of_a_crop_is_cut_at_whole_blocks() -> None:
    crop = np.indices((128, 128)).transpose(1, 2, 0)
    mouth = cut_mouth(crop)
    assert mouth.shape == (56, 80, 2)
    assert mouth[0, 0].tolist() == [56, 24]
    assert mouth[-1, -1].tolist() == [111, 103]


def test_the_sound_of_a_clip_starts_sixteen_frames_early() -> None:
    clip = PuppetClip(
        frames=np.zeros((10, 4, 4, 3), np.uint8), waveform=np.arange(42 * 640, dtype=np.float32)
    )

    def ends(**options: int) -> tuple[float, float, int]:
        sound = clip.sound(**options)
        return float(sound[0]), float(sound[-1]), len(sound)

    assert ends() == (16 * 640, 26 * 640 - 1, 6400)
    assert ends(start_frame=2, num_frames=3) == (18 * 640, 21 * 640 - 1, 1920)
    assert ends(lead_samples=-100) == (16 * 640 - 100, 26 * 640 - 101, 6400)
    assert ends(start_frame=1, lead_samples=640, num_frames=9) == (18 * 640, 27 * 640 - 1, 5760)


@pytest.mark.parametrize(
    ("rate", "filmed", "kept"),
    [
        (25, 5, [0, 1, 2, 3, 4]),
        (30, 12, [0, 1, 2, 4, 5, 6, 7, 8, 10, 11]),  # instants 0, 1.2, 2.4, 3.6, 4.8, 6 and so on
        (50, 6, [0, 2, 4]),
        (10, 2, [0, 0, 1, 1, 1]),  # the last instant, 1.6, has no frame of its own
    ],
)
def test_frames_are_kept_by_the_nearest_instant(rate: int, filmed: int, kept: list[int]) -> None:
    script = SimpleNamespace(num_frames=filmed, frame_rate=Fraction(rate))
    assert puppet_data._kept_frames(script) == kept  # type: ignore[arg-type]


class Told:
    """Stands for a generator: gives what it is told and keeps how it was asked."""

    def __init__(self, answers: list[Any]) -> None:
        self.answers = iter(answers)
        self.asked: list[tuple[Any, ...]] = []

    def uniform(self, low: float, high: float) -> float:
        self.asked.append(("uniform", low, high))
        return next(self.answers)

    def normal(self, mean: float, deviation: float, size: Any = None) -> Any:
        self.asked.append(("normal", mean, deviation, size))
        return np.broadcast_to(next(self.answers), () if size is None else size)


def test_displacements_are_linear_between_looks_five_frames_apart() -> None:
    looks = np.array([[0.0, 10.0], [5.0, 20.0], [-5.0, 30.0], [0.0, 0.0]])
    rng = Told([looks])
    wobble = puppet_data._wobble(11, 2, rng)  # type: ignore[arg-type]
    assert rng.asked == [("normal", 0, 0.01, (4, 2))]
    np.testing.assert_allclose(wobble[:, 0], [0, 1, 2, 3, 4, 5, 3, 1, -1, -3, -5], atol=1e-12)
    np.testing.assert_allclose(wobble[:, 1], np.arange(10, 31, 2))


def truth_at(shift: float) -> FrameTruth:
    landmarks = {
        "left_brow": (30.0, 40.0),
        "right_brow": (70.0, 40.0),
        "nose": (50.0, 70.0),
        "chin": (0.0, 0.0),
    }
    return FrameTruth(
        landmarks={name: (x + shift, y) for name, (x, y) in landmarks.items()},
        face_box=(10.0 + shift, 20.0, 90.0 + shift, 110.0),
        aperture=0.0,
        aperture_px=0.0,
        width=1.0,
        width_px=1.0,
    )


def rough(mix: float, scale: float, shift: tuple[float, float], wobbles: tuple[float, float]) -> np.ndarray:
    rng = Told([mix, scale, wobbles[0], np.array(shift), wobbles[1]])
    points = puppet_data._rough_points([truth_at(0.0), truth_at(4.0)], rng)  # type: ignore[arg-type]
    assert rng.asked == [
        ("uniform", -0.15, 1.15),
        ("normal", 0, 0.03, None),
        ("normal", 0, 0.01, (2, 1)),
        ("normal", 0, 0.03, 2),
        ("normal", 0, 0.01, (2, 2)),
    ]
    return points


def test_points_lie_between_the_landmarks_and_the_box() -> None:
    landmarks = np.array([[30.0, 40.0], [70.0, 40.0], [50.0, 70.0]])
    boxed = anchors_from_box(np.array([10.0, 20.0, 90.0, 110.0]))
    for mix in (0.0, 1.0, 0.25):
        still = rough(mix, 0.0, (0.0, 0.0), (0.0, 0.0))
        np.testing.assert_allclose(still[0], landmarks + mix * (boxed - landmarks), atol=1e-9)
        np.testing.assert_allclose(still[1], still[0] + [4, 0], atol=1e-9)


def test_points_are_scaled_about_their_centre_and_moved_by_shares_of_the_box() -> None:
    """The centre of the three landmarks is (50, 50), the box is 80 wide."""
    points = rough(0.0, 0.1, (0.5, -0.25), (0.1, 0.05))
    landmarks = np.array([[30.0, 40.0], [70.0, 40.0], [50.0, 70.0]])
    want = 50 + 1.2 * (landmarks - 50) + 80 * np.array([0.55, -0.2])
    np.testing.assert_allclose(points[0], want, atol=1e-9)


def test_clips_differ_and_portraits_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which scripts and how much speech are asked for, without rendering them."""
    made: list[tuple[Any, float, Any]] = []

    def synthesised(seed: int, duration_s: float) -> SimpleNamespace:
        return SimpleNamespace(seed=seed, duration_s=duration_s)

    def clip(script: Any, utterance: Any, rng: Any, size: int, cut: Any) -> str:
        made.append((script, utterance.duration_s, (utterance.seed, rng.random(), size, cut)))
        return "clip"

    monkeypatch.setattr(puppet_data, "synthesise", synthesised)
    monkeypatch.setattr(puppet_data, "_clip", clip)
    assert list(puppet_clips(7, 60, 50)) == ["clip"] * 60
    scripts = [script for script, *_ in made]
    names = puppet_data.portrait_names()
    assert [script.portrait for script in scripts] == [names[k % len(names)] for k in range(60)]
    assert {duration for _, duration, _ in made} == {82 / 25}
    assert len({script.seed for script in scripts}) == 60
    assert all(script.seed == more[0] for script, _, more in made)
    assert len({more[1] for *_, more in made}) == 60
    assert {more[2:] for *_, more in made} == {(128, None)}
    filmed = [(script.frame_rate, script.num_frames) for script in scripts]
    assert set(filmed) == {(Fraction(25), 50), (Fraction(30), 60)}
    assert 8 <= filmed.count((Fraction(30), 60)) <= 22  # a quarter of them
    assert {script.size for script in scripts} == {192}

    made.clear()
    again = list(puppet_clips(7, 60, 51, mouths_only=True))
    assert [script.seed for script, *_ in made] == [script.seed for script in scripts]
    assert {script.num_frames for script, *_ in made} == {51, 62}
    assert {more[2:] for *_, more in made} == {(128, cut_mouth)}
    assert again == ["clip"] * 60
    made.clear()
    list(puppet_clips(8, 1, 50))
    assert made[0][0].seed != scripts[0].seed
    with pytest.raises(AssertionError):
        next(puppet_clips(7, 1, 50, size=256, mouths_only=True))


@pytest.mark.parametrize(("size", "rendered"), [(64, 192), (128, 192), (160, 240), (256, 320)])
def test_a_frame_is_rendered_half_as_large_again_as_its_crop_within_limits(
    size: int, rendered: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []
    monkeypatch.setattr(puppet_data, "synthesise", lambda seed, duration_s: None)
    monkeypatch.setattr(puppet_data, "_clip", lambda script, *rest: sizes.append((script.size, rest[2])))
    list(puppet_clips(0, 1, 8, size=size))
    assert sizes == [(rendered, size)]


def test_a_crop_is_the_filmed_frame_seen_through_rough_points(monkeypatch: pytest.MonkeyPatch) -> None:
    """Filmed at 30 fps, cut at 25: frames, their truths and the sound's start go together."""
    rng = np.random.default_rng(0)
    filmed = [rng.integers(0, 256, (120, 120, 3), dtype=np.uint8) for _ in range(12)]
    starts = []

    def truths(script: Any, utterance: Any, *, start_s: float) -> list[FrameTruth]:
        starts.append(start_s)
        return [truth_at(float(k)) for k in range(12)]

    def frames(script: Any, utterance: Any, *, start_s: float) -> list[np.ndarray]:
        starts.append(start_s)
        return filmed

    monkeypatch.setattr(puppet_data, "frame_truths", truths)
    monkeypatch.setattr(puppet_data, "render", frames)
    script: Any = SimpleNamespace(num_frames=12, frame_rate=Fraction(30))
    utterance: Any = SimpleNamespace(waveform=np.arange(3.0))
    clip = puppet_data._clip(script, utterance, np.random.default_rng(4), 32, None)
    assert starts == [16 / 25, 16 / 25]
    assert clip.waveform is utterance.waveform
    kept = [0, 1, 2, 4, 5, 6, 7, 8, 10, 11]
    points = puppet_data._rough_points([truth_at(float(k)) for k in kept], np.random.default_rng(4))
    matrices, _ = align_points(points)
    want = [warp_face(filmed[k], matrix, 32) for k, matrix in zip(kept, matrices, strict=True)]
    np.testing.assert_array_equal(clip.frames, want)
    mouths = puppet_data._clip(script, utterance, np.random.default_rng(4), 128, cut_mouth).frames
    assert mouths.shape == (10, 56, 80, 3)
