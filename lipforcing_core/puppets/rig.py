"""The puppet: a portrait whose mouth follows an utterance, moving its head in front of a background.

``render`` yields frames, ``frame_truths`` the truth of the same frames without drawing them. Frame k is on screen from
k to k + 1 frame times and shows the lips in the middle of that, so picture and sound agree to much less than a frame.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import cv2
import numpy as np

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.puppets.backdrop import backdrop
from lipforcing_core.puppets.mouth import FULL_GAP, Mouth, MouthGeometry
from lipforcing_core.puppets.portraits import LANDMARK_NAMES, Portrait, load_portrait
from lipforcing_core.puppets.speech import Utterance

MIN_SIZE = 128

_FACE_SHARE = 0.5
_FACE_CENTRE = (0.5, 0.54)
_OVERSAMPLING = 1.25
_MARGIN = 1.3


@dataclass(frozen=True, kw_only=True)
class PuppetScript:
    """Everything about one shot except the speech. Equal scripts give equal frames.

    Angles in degrees, distances as shares of the frame, gains as factors.
    """

    portrait: str
    seed: int
    """Seed of the head motion and of the background."""
    num_frames: int
    size: int = 320
    frame_rate: Fraction = Fraction(25)
    mirror: bool = False
    gains_rgb: tuple[float, float, float] = (1.0, 1.0, 1.0)
    gamma: float = 1.0
    zoom: float = 1.0
    offset_xy: tuple[float, float] = (0.0, 0.0)
    tilt_deg: float = 0.0
    motion: float = 1.0
    """Strength of the head motion; 0 holds the head still."""

    def __post_init__(self) -> None:
        if self.num_frames < 1:
            raise BadInputError(f"a puppet needs at least one frame, got num_frames={self.num_frames}")
        if self.size < MIN_SIZE:
            raise BadInputError(f"a puppet needs at least {MIN_SIZE} pixels, got size={self.size}")

    @classmethod
    def varied(
        cls,
        *,
        portrait: str,
        seed: int,
        num_frames: int,
        size: int = 320,
        frame_rate: Fraction = Fraction(25),
    ) -> PuppetScript:
        """A script whose framing, colours and mirroring are drawn from the seed."""
        rng = np.random.default_rng([seed, 0x5C1])
        brightness = rng.uniform(0.88, 1.08)
        gains = brightness * rng.uniform(0.93, 1.07, size=3)
        return cls(
            portrait=portrait,
            seed=seed,
            num_frames=num_frames,
            size=size,
            frame_rate=frame_rate,
            mirror=bool(rng.random() < 0.5),
            gains_rgb=(float(gains[0]), float(gains[1]), float(gains[2])),
            gamma=float(rng.uniform(0.9, 1.12)),
            zoom=float(rng.uniform(0.94, 1.06)),
            offset_xy=(float(rng.uniform(-0.04, 0.04)), float(rng.uniform(-0.02, 0.03))),
            tilt_deg=float(rng.uniform(-1.5, 1.5)),
        )


@dataclass(frozen=True, kw_only=True)
class FrameTruth:
    """What is known about one frame. Left and right are those of the picture."""

    landmarks: dict[str, tuple[float, float]]
    """Pixel positions by the names in ``LANDMARK_NAMES``."""
    face_box: tuple[float, float, float, float]
    """x0, y0, x1, y1 in pixels, framed as the LBP cascade does."""
    aperture: float
    """Lip gap, 0 closed to 1 widest."""
    aperture_px: float
    """Lip gap at the middle of the mouth in pixels."""
    width: float
    """Mouth width relative to rest."""
    width_px: float
    """Distance of the corners in pixels."""


def render(
    script: PuppetScript,
    utterance: Utterance,
    *,
    start_s: float = 0.0,
) -> Iterator[np.ndarray]:
    """Yield ``script.num_frames`` frames, uint8 [size, size, 3] RGB.

    ``start_s`` is the instant of the utterance at which the first frame begins; beyond the utterance's end the
    lips stay as they are.
    """
    poses = _poses(script, utterance, start_s)
    puppet = _Puppet(script)
    for pose in poses:
        yield puppet.draw(pose)


def frame_truths(
    script: PuppetScript,
    utterance: Utterance,
    *,
    start_s: float = 0.0,
) -> list[FrameTruth]:
    """The truth of every frame that ``render`` yields for the same arguments."""
    poses = _poses(script, utterance, start_s)
    puppet = _Puppet(script)
    return [puppet.truth(pose) for pose in poses]


@dataclass(frozen=True, kw_only=True)
class _Pose:
    """One frame's lips and head: shift in pixels, angle in degrees, relative scale."""

    aperture: float
    width: float
    shift_xy: tuple[float, float]
    angle_deg: float
    scale: float


def _poses(script: PuppetScript, utterance: Utterance, start_s: float) -> list[_Pose]:
    times = (np.arange(script.num_frames) + 0.5) / float(script.frame_rate)
    aperture = utterance.aperture_at(times + start_s)
    width = utterance.width_at(times + start_s)
    wander = _wander(script.seed, times) * script.motion
    size = script.size
    return [
        _Pose(
            aperture=float(aperture[k]),
            width=float(width[k]),
            shift_xy=(
                size * (script.offset_xy[0] + 0.018 * wander[k, 0]),
                size * (script.offset_xy[1] + 0.014 * wander[k, 1]),
            ),
            angle_deg=script.tilt_deg + 2.0 * wander[k, 2],
            scale=script.zoom * (1 + 0.018 * wander[k, 3]),
        )
        for k in range(script.num_frames)
    ]


def _wander(seed: int, times_s: np.ndarray) -> np.ndarray:
    """Four smooth random curves of about unit size, [F, 4]: sums of slow sines."""
    rng = np.random.default_rng([seed, 0x3A5])
    hertz = rng.uniform((0.08, 0.22, 0.5), (0.2, 0.45, 0.9), size=(4, 3))
    phase = rng.uniform(0, 2 * np.pi, size=(4, 3))
    waves = np.sin(2 * np.pi * hertz * times_s[:, None, None] + phase)
    wander_F4: np.ndarray = waves @ np.array((0.7, 0.4, 0.15))
    return wander_F4


@dataclass(frozen=True, kw_only=True)
class _Canvas:
    """An enlarged portrait cut to what a shot can show: RGBA with the background taken out.

    ``matrix`` [2, 3] takes the portrait's pixels to the canvas's.
    """

    rgba: np.ndarray
    matrix: np.ndarray
    scale: float
    centre: tuple[float, float]


@lru_cache(maxsize=8)
def _canvas(name: str, size: int) -> _Canvas:
    portrait = load_portrait(name)
    x0, y0, x1, y1 = portrait.face_box
    frame_side = (x1 - x0) / _FACE_SHARE
    scale = _OVERSAMPLING * size / frame_side
    centre_x = (x0 + x1) / 2 + (0.5 - _FACE_CENTRE[0]) * frame_side
    centre_y = (y0 + y1) / 2 + (0.5 - _FACE_CENTRE[1]) * frame_side
    side = round(_OVERSAMPLING * size * _MARGIN)
    matrix = np.array(((scale, 0.0, side / 2 - scale * centre_x), (0.0, scale, side / 2 - scale * centre_y)))
    rgb: np.ndarray = _warp(portrait.image, matrix, side)
    if portrait.sharpen:
        soft = cv2.GaussianBlur(rgb, (0, 0), 0.6 * scale)
        rgb = cv2.addWeighted(rgb, 1 + portrait.sharpen, soft, -portrait.sharpen, 0)
    alpha = _warp(_matte(portrait), matrix, side)
    return _Canvas(rgba=np.dstack([rgb, alpha]), matrix=matrix, scale=scale, centre=(side / 2, side / 2))


def _matte(portrait: Portrait) -> np.ndarray:
    """Opacity of the person, uint8 [H, W], with a soft edge."""
    matte: np.ndarray = np.zeros(portrait.image.shape[:2], dtype=np.uint8)
    cv2.fillPoly(matte, [np.array(portrait.outline, dtype=np.int32)], 255)
    feather = (portrait.face_box[2] - portrait.face_box[0]) / 120
    matte = cv2.erode(matte, np.ones((3, 3), dtype=np.uint8))
    return cv2.GaussianBlur(matte, (0, 0), feather)


def _warp(picture: np.ndarray, matrix: np.ndarray, side: int) -> np.ndarray:
    if matrix[0, 0] < 1:
        picture = cv2.GaussianBlur(picture, (0, 0), 0.4 / matrix[0, 0])
    return cv2.warpAffine(
        picture, matrix, (side, side), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )


class _Puppet:
    """Draws one script's poses."""

    def __init__(self, script: PuppetScript) -> None:
        self.script = script
        self.portrait = load_portrait(script.portrait)
        canvas = _canvas(script.portrait, script.size)
        self._canvas = canvas
        self._rgba = canvas.rgba.copy()
        edges = (self._to_canvas(self.portrait.upper_edge), self._to_canvas(self.portrait.lower_edge))
        self.mouth = Mouth(self._rgba, MouthGeometry.fit(*edges))
        self._backdrop = backdrop(script.seed, script.size)
        levels = np.linspace(0.0, 1.0, 256)[:, None] ** script.gamma * np.array(script.gains_rgb)
        self._tint = np.clip(levels * 255 + 0.5, 0, 255).astype(np.uint8)[:, None, :]

    def draw(self, pose: _Pose) -> np.ndarray:
        """One frame."""
        size = self.script.size
        self.mouth.set(pose.aperture, pose.width)
        shot = cv2.warpAffine(
            self._rgba,
            self._pose_matrix(pose),
            (size, size),
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        alpha = cv2.merge([shot[..., 3]] * 3)
        person = cv2.multiply(np.ascontiguousarray(shot[..., :3]), alpha, scale=1 / 255)
        behind = cv2.multiply(self._backdrop, 255 - alpha, scale=1 / 255)
        frame = cv2.LUT(cv2.add(person, behind), self._tint)
        return cv2.flip(frame, 1) if self.script.mirror else frame

    def truth(self, pose: _Pose) -> FrameTruth:
        """What is known about that frame."""
        matrix = self._pose_matrix(pose)
        fixed = self.portrait.landmarks
        points = dict(zip(fixed, self._to_canvas(tuple(fixed.values())), strict=True))
        points.update(self.mouth.landmarks(pose.aperture, pose.width, tuple(points["chin"])))
        placed = {name: self._place(points[name], matrix) for name in LANDMARK_NAMES}
        if self.script.mirror:
            placed = {_mirrored_name(name): placed[name] for name in LANDMARK_NAMES}
            placed = {name: placed[name] for name in LANDMARK_NAMES}
        x0, y0, x1, y1 = self.portrait.face_box
        middle = self._place(self._to_canvas((((x0 + x1) / 2, (y0 + y1) / 2),))[0], matrix)
        half = (x1 - x0) / 2 * self._canvas.scale * pose.scale / _OVERSAMPLING
        unit = self.mouth.geometry.half_width * pose.scale / _OVERSAMPLING
        return FrameTruth(
            landmarks=placed,
            face_box=(middle[0] - half, middle[1] - half, middle[0] + half, middle[1] + half),
            aperture=pose.aperture,
            aperture_px=FULL_GAP * pose.aperture * unit,
            width=pose.width,
            width_px=2 * pose.width * unit,
        )

    def _to_canvas(self, points: Sequence[tuple[float, float]]) -> np.ndarray:
        placed: np.ndarray = np.asarray(points) @ self._canvas.matrix[:, :2].T + self._canvas.matrix[:, 2]
        return placed

    def _pose_matrix(self, pose: _Pose) -> np.ndarray:
        """Canvas to frame, [2, 3], before mirroring."""
        matrix = cv2.getRotationMatrix2D(self._canvas.centre, pose.angle_deg, pose.scale / _OVERSAMPLING)
        half = self.script.size / 2
        matrix[:, 2] += np.array(pose.shift_xy) + half - np.array(self._canvas.centre)
        return matrix

    def _place(self, point: np.ndarray, matrix: np.ndarray) -> tuple[float, float]:
        x, y = matrix[:, :2] @ point + matrix[:, 2]
        return (self.script.size - 1 - float(x) if self.script.mirror else float(x)), float(y)


def _mirrored_name(name: str) -> str:
    if "left" in name:
        return name.replace("left", "right")
    return name.replace("right", "left")
