"""The sounds a puppet can make: what each one sounds like and what the lips do meanwhile.

Vowel formants are rounded textbook averages of adult speakers (Peterson and Barney, 1952); consonant loci,
levels and lip targets are set by hand so that they can be told apart by ear and by eye.
"""

from __future__ import annotations

from dataclasses import dataclass

SILENCE = "sil"


@dataclass(frozen=True, kw_only=True)
class Phoneme:
    """One sound. Levels are decibels relative to an open vowel; ``None`` means that source is off."""

    symbol: str
    kind: str
    """``vowel``, ``nasal``, ``stop``, ``fricative`` or ``glide``."""
    formants_hz: tuple[float, float, float]
    """First three vocal-tract resonances (for stops: the locus that neighbours bend towards)."""
    aperture: float
    """Lip gap, 0 closed to 1 widest."""
    width: float
    """Mouth width relative to rest: below 1 rounded, above 1 spread."""
    duration_s: float
    voice_db: float | None = None
    noise_db: float | None = None
    noise_hz: tuple[float, float] = (3000.0, 2000.0)
    """Centre and bandwidth of the noise source."""
    seals_lips: bool = False
    """Lips must meet, whatever the neighbours do."""


Formants = tuple[float, float, float]


def _vowel(symbol: str, formants_hz: Formants, aperture: float, width: float, voice_db: float) -> Phoneme:
    return Phoneme(
        symbol=symbol,
        kind="vowel",
        formants_hz=formants_hz,
        aperture=aperture,
        width=width,
        duration_s=0.15,
        voice_db=voice_db,
        noise_db=-34.0,
        noise_hz=(2000.0, 3000.0),
    )


def _consonant(
    symbol: str,
    kind: str,
    formants_hz: Formants,
    aperture: float,
    width: float,
    duration_s: float,
    *,
    voice_db: float | None = None,
    noise: tuple[float, float, float] | None = None,
) -> Phoneme:
    """``noise`` is its level in decibels, centre and bandwidth in hertz; zero aperture seals the lips."""
    return Phoneme(
        symbol=symbol,
        kind=kind,
        formants_hz=formants_hz,
        aperture=aperture,
        width=width,
        duration_s=duration_s,
        voice_db=voice_db,
        noise_db=noise[0] if noise else None,
        noise_hz=noise[1:] if noise else (3000.0, 2000.0),
        seals_lips=aperture == 0.0,
    )


VOWELS = (
    _vowel("a", (750.0, 1150.0, 2450.0), 1.00, 1.00, 0.0),
    _vowel("ae", (660.0, 1720.0, 2410.0), 0.84, 1.05, -0.5),
    _vowel("uh", (620.0, 1250.0, 2400.0), 0.58, 1.00, -2.5),
    _vowel("e", (530.0, 1840.0, 2480.0), 0.55, 1.07, -2.5),
    _vowel("er", (490.0, 1350.0, 1690.0), 0.38, 0.93, -4.0),
    _vowel("o", (520.0, 860.0, 2410.0), 0.56, 0.84, -2.5),
    _vowel("i", (280.0, 2290.0, 3010.0), 0.28, 1.12, -5.5),
    _vowel("u", (310.0, 870.0, 2240.0), 0.20, 0.76, -6.0),
)

CONSONANTS = (
    _consonant("m", "nasal", (260, 1100, 2200), 0.00, 0.98, 0.09, voice_db=-11),
    _consonant("n", "nasal", (280, 1600, 2600), 0.18, 1.02, 0.07, voice_db=-11),
    _consonant("p", "stop", (400, 850, 2200), 0.00, 0.96, 0.10, noise=(-13, 900, 900)),
    _consonant("b", "stop", (350, 850, 2200), 0.00, 0.96, 0.09, voice_db=-20, noise=(-17, 700, 700)),
    _consonant("t", "stop", (400, 1750, 2650), 0.14, 1.02, 0.09, noise=(-12, 4200, 2200)),
    _consonant("d", "stop", (350, 1750, 2650), 0.15, 1.02, 0.08, voice_db=-20, noise=(-16, 3800, 2000)),
    _consonant("k", "stop", (350, 2000, 2450), 0.24, 1.00, 0.10, noise=(-13, 2000, 900)),
    _consonant("f", "fricative", (400, 1100, 2300), 0.05, 1.02, 0.10, noise=(-21, 5200, 5000)),
    _consonant("v", "fricative", (300, 1100, 2300), 0.05, 1.02, 0.07, voice_db=-14, noise=(-25, 5000, 4500)),
    _consonant("s", "fricative", (350, 1750, 2600), 0.10, 1.06, 0.10, noise=(-13, 6000, 2000)),
    _consonant("z", "fricative", (300, 1750, 2600), 0.10, 1.06, 0.08, voice_db=-15, noise=(-18, 5800, 2000)),
    _consonant("sh", "fricative", (350, 1800, 2400), 0.18, 0.82, 0.11, noise=(-12, 3000, 1300)),
    _consonant("l", "glide", (360, 1100, 2650), 0.30, 1.00, 0.07, voice_db=-8),
    _consonant("w", "glide", (320, 720, 2200), 0.10, 0.76, 0.08, voice_db=-9),
)

PHONEMES: dict[str, Phoneme] = {phoneme.symbol: phoneme for phoneme in VOWELS + CONSONANTS}
"""Every phoneme by its symbol; ``SILENCE`` is not among them."""
