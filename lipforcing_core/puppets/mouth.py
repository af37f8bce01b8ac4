"""A mouth that opens: warps the lips and the jaw of a picture and paints what appears between the lips.

Coordinates here are (u, v): the middle between the mouth's corners is the origin, u runs along the corners,
v points to the chin, and the unit is half the mouth's width in the picture at rest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

FULL_GAP = 0.7
"""Gap between the lips at aperture 1, in half mouth widths: 0.35 of the mouth's width."""

_UPPER_SHARE = 0.2
_LIP_RIGID_DEPTH, _JAW_END_DEPTH = 0.35, 2.3
_UPPER_RIGID, _UPPER_END = 0.15, 0.85
_PLATEAU, _WIDTH_REACH = 1.0, 1.75
_WIDTH_ABOVE, _WIDTH_BELOW = 3.5, 1.6  # the nose stays, the chin follows a little
_REGION_U = 2.25
_REGION_V = (-0.95, 2.9)
_TEETH_RGB = np.array((214.0, 206.0, 192.0), dtype=np.float32)
_CAVITY_RGB = np.array((38.0, 13.0, 14.0), dtype=np.float32)
_TONGUE_RGB = np.array((128.0, 58.0, 56.0), dtype=np.float32)
_LINE_DEGREE = 6


@dataclass(frozen=True, kw_only=True)
class MouthGeometry:
    """Where a mouth is in a picture, and its lips' inner edges as polynomials v(u) for |u| <= 1."""

    centre: tuple[float, float]
    half_width: float
    angle_rad: float
    upper_edge: np.ndarray
    lower_edge: np.ndarray

    @classmethod
    def fit(cls, upper: np.ndarray, lower: np.ndarray) -> MouthGeometry:
        """From points along both edges, [P, 2] pixels, each from the left to the right corner."""
        left, right = upper[0], upper[-1]
        centre = (left + right) / 2
        along = right - left
        geometry = cls(
            centre=(float(centre[0]), float(centre[1])),
            half_width=float(np.hypot(*along) / 2),
            angle_rad=float(np.arctan2(along[1], along[0])),
            upper_edge=np.zeros(1),
            lower_edge=np.zeros(1),
        )
        edges = []
        for points in (upper, lower):
            u, v = geometry.to_mouth(points[:, 0], points[:, 1])
            basis = (1 - u**2)[:, None] * u[:, None] ** np.arange(_LINE_DEGREE - 1)
            edges.append(np.linalg.lstsq(basis, v, rcond=0.02)[0])
        return cls(
            centre=geometry.centre,
            half_width=geometry.half_width,
            angle_rad=geometry.angle_rad,
            upper_edge=edges[0],
            lower_edge=edges[1],
        )

    def to_mouth(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pixels of the picture to (u, v)."""
        cos, sin = math.cos(self.angle_rad) / self.half_width, math.sin(self.angle_rad) / self.half_width
        dx, dy = x - self.centre[0], y - self.centre[1]
        return dx * cos + dy * sin, dy * cos - dx * sin

    def to_picture(self, u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(u, v) to pixels of the picture."""
        cos, sin = math.cos(self.angle_rad) * self.half_width, math.sin(self.angle_rad) * self.half_width
        return self.centre[0] + u * cos - v * sin, self.centre[1] + u * sin + v * cos

    def edge(self, coefficients: np.ndarray, u: np.ndarray) -> np.ndarray:
        """An edge's v at u; zero at and beyond the corners."""
        inside = np.clip(u, -1.0, 1.0).astype(np.float32)
        value = np.zeros_like(inside)
        for coefficient in coefficients[::-1]:
            value = value * inside + np.float32(coefficient)
        edge_v: np.ndarray = value * (1 - inside * inside)
        return edge_v


class Mouth:
    """Opens and narrows the mouth of one picture; the picture itself is changed in place, region by region.

    Args:
        picture: uint8 [H, W, C], C >= 3 with RGB first; closed on construction where it shows an open mouth.
        geometry: where the mouth is.
    """

    def __init__(self, picture: np.ndarray, geometry: MouthGeometry) -> None:
        self.geometry = geometry
        self._line = 0.5 * (geometry.upper_edge + geometry.lower_edge)
        self._picture = picture
        self._rows, self._columns = self._region(picture.shape)
        rows, columns = self._rows, self._columns
        y, x = np.mgrid[rows, columns].astype(np.float32)
        self._x, self._y = x - columns.start, y - rows.start
        u, v = geometry.to_mouth(x, y)
        self._u, self._v = u.astype(np.float32), v.astype(np.float32)
        above, below = np.maximum(-0.15 - self._v, 0), np.maximum(self._v - 0.25, 0)
        radius = np.hypot(self._u, _WIDTH_ABOVE * above + _WIDTH_BELOW * below)
        self._width_weight = 1 - _smoothstep((radius - _PLATEAU) / (_WIDTH_REACH - _PLATEAU))
        self._rest = picture[rows, columns].copy()
        if np.abs(geometry.upper_edge - geometry.lower_edge).max() > 1e-6:
            self._rest = self._close()

    @property
    def region(self) -> tuple[slice, slice]:
        """Rows and columns of the picture that ``set`` may change."""
        return self._rows, self._columns

    def set(self, aperture: float, width: float) -> None:
        """Redraw the mouth: ``aperture`` in [0, 1], ``width`` relative to rest."""
        line = self._line
        u = self._u * (1 + np.float32(1 / width - 1) * self._width_weight)
        middle = self.geometry.edge(line, u)
        gap = np.float32(FULL_GAP * aperture)
        profile = _profile(u)
        top = middle - gap * _UPPER_SHARE * profile
        bottom = middle + gap * (1 - _UPPER_SHARE) * profile
        v = self._v + self._shift(u, gap, top, bottom)
        warped = self._sample(u, v)
        if aperture > 0:
            self._paint_cavity(warped, u, top, bottom, middle, float(aperture))
        self._picture[self._rows, self._columns] = warped

    def landmarks(self, aperture: float, width: float, chin: tuple[float, float]) -> dict[str, np.ndarray]:
        """Corners, inner lip edges and chin in pixels of the picture; ``chin`` is the chin at rest."""
        geometry = self.geometry
        gap = FULL_GAP * aperture
        middle = float(geometry.edge(self._line, np.zeros(1))[0])
        top, bottom = middle - gap * _UPPER_SHARE, middle + gap * (1 - _UPPER_SHARE)
        chin_u, chin_v = (float(value) for value in geometry.to_mouth(*np.array(chin)))
        depth = np.linspace(0.0, _JAW_END_DEPTH, 400)
        u = np.full_like(depth, chin_u)
        edge = float(geometry.edge(self._line, np.array([chin_u]))[0])
        edge += gap * (1 - _UPPER_SHARE) * float(_profile(np.array([chin_u]))[0])
        drop = gap * (1 - _UPPER_SHARE) * _jaw_drop(u, depth)
        moved_v = float(np.interp(chin_v, edge + depth - drop, edge + depth))
        points = {
            "mouth_left": (-width, 0.0),
            "mouth_right": (width, 0.0),
            "upper_lip": (0.0, top),
            "lower_lip": (0.0, bottom),
            "chin": (chin_u, moved_v),
        }
        names, uv = list(points), np.array(list(points.values()))
        return dict(zip(names, np.stack(geometry.to_picture(*uv.T), axis=1), strict=True))

    def _region(self, shape: tuple[int, ...]) -> tuple[slice, slice]:
        u, v = np.meshgrid((-_REGION_U, _REGION_U), _REGION_V)
        x, y = self.geometry.to_picture(u, v)
        return (
            slice(max(0, int(y.min())), min(shape[0], int(np.ceil(y.max())))),
            slice(max(0, int(x.min())), min(shape[1], int(np.ceil(x.max())))),
        )

    def _shift(self, u: np.ndarray, gap: np.float32, top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
        """What to add to v to find the picture's content: lips part, the jaw follows the lower lip."""
        above, below = top - self._v, self._v - bottom
        upper = gap * _UPPER_SHARE * _profile(u)
        upper *= 1 - _smoothstep((above - _UPPER_RIGID) / (_UPPER_END - _UPPER_RIGID))
        lower = gap * (1 - _UPPER_SHARE) * _jaw_drop(u, below)
        return np.where(above > 0, upper, np.where(below > 0, -lower, 0)).astype(np.float32)

    def _sample(self, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        x, y = self.geometry.to_picture(u, v)
        x0, y0 = self._columns.start, self._rows.start
        return cv2.remap(
            self._rest,
            (x - x0).astype(np.float32),
            (y - y0).astype(np.float32),
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )

    def _paint_cavity(
        self,
        picture: np.ndarray,
        u: np.ndarray,
        top: np.ndarray,
        bottom: np.ndarray,
        middle: np.ndarray,
        aperture: float,
    ) -> None:
        """Blend the inside of the mouth over ``picture`` where the lips leave a gap, edges anti-aliased."""
        pixels = np.float32(self.geometry.half_width)
        cover = np.clip((self._v - top) * pixels + 0.5, 0, 1) * np.clip(
            (bottom - self._v) * pixels + 0.5, 0, 1
        )
        cover *= np.clip((bottom - top) * pixels, 0, 1)
        rows = np.flatnonzero(cover.any(axis=1))
        if len(rows) == 0:
            return
        part = slice(rows[0], rows[-1] + 1)
        u, v, top, bottom, middle, cover = (a[part] for a in (u, self._v, top, bottom, middle, cover))
        inside = _cavity(u, v, top, bottom, middle, aperture)
        rgb = picture[part, :, :3]
        cover = cover[..., None]
        rgb[:] = (rgb * (1 - cover) + inside * cover + 0.5).astype(np.uint8)

    def _close(self) -> np.ndarray:
        """The region with the lips of a photographed open mouth brought together at the line between them."""
        geometry = self.geometry
        middle = geometry.edge(self._line, self._u)
        raised = geometry.edge(geometry.lower_edge, self._u) - middle
        lowered = geometry.edge(geometry.upper_edge, self._u) - middle
        distance = np.abs(self._v - middle)
        shift = np.where(self._v > middle, raised, lowered)
        shift = shift * (1 - _smoothstep((distance - 0.1) / 1.2))
        closed = self._sample(self._u, self._v + shift.astype(np.float32))
        corner = np.clip(1 - self._u**2, 0, 1) ** 0.5
        seam = (
            1
            - 0.5 * corner * np.exp(-((distance / 0.035) ** 2))
            - 0.12 * corner * np.exp(-((distance / 0.12) ** 2))
        )
        closed[..., :3] = (closed[..., :3] * seam[..., None] + 0.5).astype(np.uint8)
        return closed


def _cavity(
    u: np.ndarray, v: np.ndarray, top: np.ndarray, bottom: np.ndarray, middle: np.ndarray, aperture: float
) -> np.ndarray:
    """Colour inside the mouth, float32 [.., 3]: dark, the upper teeth at the top, the tongue below."""
    depth = v - top
    shade = np.clip(0.55 + depth / 0.2, 0, 1) * np.clip(1.2 - u * u, 0, 1)
    teeth = np.clip((middle + 0.05 - v) / 0.035, 0, 1) * np.clip((0.78 - np.abs(u)) / 0.12, 0, 1)
    teeth = teeth * _smoothstep(np.float32(aperture / 0.45)) * 0.9
    tongue = np.clip((v - (top + 0.55 * (bottom - top))) / 0.12, 0, 1) * np.clip(
        (0.6 - np.abs(u)) / 0.25, 0, 1
    )
    tongue = tongue * _smoothstep(np.float32((aperture - 0.2) / 0.5)) * 0.8
    colour = _CAVITY_RGB + (_TONGUE_RGB - _CAVITY_RGB) * tongue[..., None]
    coloured: np.ndarray = colour + (_TEETH_RGB * shade[..., None] - colour) * teeth[..., None]
    return coloured


def _profile(u: np.ndarray, half_width: np.ndarray | float = 1.0) -> np.ndarray:
    """Opening along the mouth, 1 in the middle and 0 from the corners on."""
    q = np.maximum(1 - (u / half_width) ** 2, 0)
    return q * (1.35 - 0.35 * q)


def _jaw_drop(u: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Share of the lower lip's drop at a depth below it: wider downwards, gone under the chin."""
    widened = 1 + 0.6 * np.clip(depth, 0, 1)
    fade = 1 - _smoothstep((depth - _LIP_RIGID_DEPTH) / (_JAW_END_DEPTH - _LIP_RIGID_DEPTH))
    drop: np.ndarray = _profile(u, widened) * fade
    return drop


def _smoothstep(x: np.ndarray | np.floating) -> np.ndarray:
    t = np.clip(np.asarray(x), 0, 1)
    smooth: np.ndarray = t * t * (3 - 2 * t)
    return smooth
