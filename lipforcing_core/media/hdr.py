"""High dynamic range and wide gamut brought to the standard picture: BT.709 primaries, gamma 2.4, white at 203 cd/m².

Both kinds of HDR are first turned into the light of a 1000 cd/m² display: PQ by its EOTF (ITU-R BT.2100 table 4;
brighter light is clipped), HLG by its inverse OETF and the OOTF of system gamma 1.2 (table 5). That light is fitted
below 203 cd/m², the reference white of ITU-R BT.2408, by the EETF of ITU-R BT.2390 (section 5.4, without black
lift), applied to luminance (its YRGB form): the three channels are multiplied by one factor, so that hue and
saturation of skin are kept. The primaries are changed by the linear matrix and clipped at the edges of BT.709, and
the result is encoded by the inverse of BT.1886 (gamma 2.4).

Light up to 87 cd/m² is reproduced as it is: 18 % grey (26 cd/m²) at level 108. Reference white (203 cd/m²) is bent
down to 159 cd/m², level 230, and 1000 cd/m² is level 255.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from lipforcing_core.media.colour_tags import HdrTransfer

REFERENCE_WHITE = 203.0
"""Luminance of diffuse white in cd/m² (ITU-R BT.2408), which is also the peak of the standard picture."""

SOURCE_PEAK = 1000.0
"""Luminance in cd/m² above which a source is clipped: the nominal peak of HLG and of most PQ masters."""

DISPLAY_GAMMA = 2.4

_HLG_SYSTEM_GAMMA = 1.2
_CODES = 65536

_WHITE_D65 = (0.3127, 0.3290)
_CHROMATICITIES = {
    "bt709": ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060)),
    "bt2020": ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    "p3": ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
}
GAMUTS = {"bt2020": "bt2020", "smpte431": "p3", "smpte432": "p3"}
"""Primaries that are wider than BT.709, by ffmpeg's names; all others are read as BT.709."""


def pq_to_light(signal: np.ndarray) -> np.ndarray:
    """Luminance in cd/m² [0, 10000] of PQ signals in [0, 1]."""
    m1, m2, c1, c2, c3 = _PQ
    root = np.power(np.clip(signal, 0.0, 1.0), 1 / m2)
    light: np.ndarray = 10000.0 * np.power(np.maximum(root - c1, 0.0) / (c2 - c3 * root), 1 / m1)
    return light


def light_to_pq(light: np.ndarray) -> np.ndarray:
    """PQ signals in [0, 1] of luminance in cd/m²."""
    m1, m2, c1, c2, c3 = _PQ
    power = np.power(np.clip(light, 0.0, 10000.0) / 10000.0, m1)
    signal: np.ndarray = np.power((c1 + c2 * power) / (1 + c3 * power), m2)
    return signal


_PQ = (2610 / 16384, 2523 / 4096 * 128, 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32)


def hlg_to_scene(signal: np.ndarray) -> np.ndarray:
    """Scene light in [0, 1] of HLG signals in [0, 1]: the inverse OETF."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    upper = (np.exp((signal - c) / a) + b) / 12
    scene: np.ndarray = np.minimum(np.where(signal <= 0.5, signal**2 / 3, upper), 1.0)
    return scene


def fitted_light(light: np.ndarray) -> np.ndarray:
    """The EETF of BT.2390: luminance in cd/m² of the source's display to [0, 203] cd/m² of the standard one."""
    peak = light_to_pq(np.asarray(SOURCE_PEAK))
    target = float(light_to_pq(np.asarray(REFERENCE_WHITE)) / peak)
    knee = 1.5 * target - 0.5
    signal = np.minimum(light_to_pq(light) / peak, 1.0)
    t = (signal - knee) / (1 - knee)
    bent = (
        (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (3 * t**2 - 2 * t**3) * target
    )
    return pq_to_light(np.where(signal < knee, signal, bent) * peak)


def to_bt709(primaries: str) -> np.ndarray:
    """The matrix [3, 3] from linear RGB of these primaries (``bt709``, ``bt2020`` or ``p3``) to that of BT.709."""
    matrix: np.ndarray = np.linalg.inv(_rgb_to_xyz("bt709")) @ _rgb_to_xyz(primaries)
    return matrix


def _rgb_to_xyz(primaries: str) -> np.ndarray:
    def xyz(xy: tuple[float, float]) -> list[float]:
        return [xy[0] / xy[1], 1.0, (1 - xy[0] - xy[1]) / xy[1]]

    columns = np.array([xyz(xy) for xy in _CHROMATICITIES[primaries]]).T
    matrix: np.ndarray = columns * np.linalg.solve(columns, np.array(xyz(_WHITE_D65)))
    return matrix


@dataclass(frozen=True, kw_only=True)
class _Tables:
    """What maps a signal of 16 bits to levels of BT.709.

    ``light`` is linear light by code. ``gain`` is the factor of all three channels by code of the square root of
    ``luminance / brightest``; None where light needs no factor. ``encoded`` is the level (0 to 255) by code of the
    square root of linear light.
    """

    light: np.ndarray
    matrix_33: np.ndarray
    luminance_13: np.ndarray
    gain: np.ndarray | None
    brightest: float
    encoded: np.ndarray


@lru_cache(maxsize=8)
def _tables(transfer: HdrTransfer | None, primaries: str) -> _Tables:
    signal = np.arange(_CODES) / (_CODES - 1)
    gain = None
    brightest = 1.0
    if transfer == "pq":
        light = pq_to_light(signal) / REFERENCE_WHITE
        brightest = 10000.0 / REFERENCE_WHITE
        luminance = np.maximum(signal**2 * brightest, 1e-9)
        gain = fitted_light(luminance * REFERENCE_WHITE) / REFERENCE_WHITE / luminance
    elif transfer == "hlg":
        light = hlg_to_scene(signal)
        luminance = np.maximum(signal**2, 1e-12)
        shown = fitted_light(SOURCE_PEAK * luminance**_HLG_SYSTEM_GAMMA)
        gain = shown / REFERENCE_WHITE / luminance
    else:
        light = signal**DISPLAY_GAMMA
    return _Tables(
        light=light.astype(np.float32),
        matrix_33=to_bt709(primaries).astype(np.float32),
        luminance_13=_rgb_to_xyz(primaries)[1:2].astype(np.float32),
        gain=None if gain is None else gain.astype(np.float32),
        brightest=brightest,
        encoded=np.round(255 * signal ** (2 / DISPLAY_GAMMA)).astype(np.uint8),
    )


def to_standard(signal_HW3: np.ndarray, transfer: HdrTransfer | None, primaries: str) -> np.ndarray:
    """A picture of high dynamic range or wide gamut as RGB uint8 [H, W, 3] of the standard form.

    Args:
        signal_HW3: the RGB signal as uint16, full range.
        transfer: ``pq`` or ``hlg``; None for a standard picture whose primaries alone differ.
        primaries: ``bt709``, ``bt2020`` or ``p3``.
    """
    tables = _tables(transfer, primaries)
    picture_HW3 = np.empty(signal_HW3.shape, np.uint8)
    rows = max(1, _BAND_PIXELS // signal_HW3.shape[1])
    for start in range(0, len(signal_HW3), rows):
        band = slice(start, start + rows)
        picture_HW3[band] = _band(signal_HW3[band], tables)
    return picture_HW3


_BAND_PIXELS = 20_000
"""Pixels that are converted together: their intermediate values stay in the processor's cache."""


def _band(signal_HW3: np.ndarray, tables: _Tables) -> np.ndarray:
    light_HW3 = cv2.LUT(signal_HW3, tables.light)
    if tables.gain is not None:
        luminance_HW = cv2.transform(light_HW3, tables.luminance_13 / np.float32(tables.brightest))
        gain_HW = cv2.LUT(_root_codes(luminance_HW), tables.gain)
        cv2.multiply(light_HW3, cv2.merge((gain_HW, gain_HW, gain_HW)), dst=light_HW3)
    linear_HW3 = cv2.transform(light_HW3, tables.matrix_33)
    picture: np.ndarray = cv2.LUT(_root_codes(linear_HW3), tables.encoded)
    return picture


def _root_codes(linear: np.ndarray) -> np.ndarray:
    """Square roots of linear values, clipped to [0, 1], as codes of 16 bits: fine enough near black for any table."""
    roots = cv2.sqrt(np.clip(linear, 0.0, 1.0))
    roots *= _CODES - 1
    roots += 0.5
    codes: np.ndarray = roots.astype(np.uint16)
    return codes
