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


def _vowel(symbol: str, f: tuple[float, float, float], aperture: float, width: float, db: float) -> Phoneme:
    return Phoneme(
        symbol=symbol,
        kind="vowel",
        formants_hz=f,
        aperture=aperture,
        width=width,
        duration_s=0.15,
        voice_db=db,
        noise_db=-34.0,
        noise_hz=(2000.0, 3000.0),
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
    Phoneme(
        symbol="m",
        kind="nasal",
        formants_hz=(260.0, 1100.0, 2200.0),
        aperture=0.0,
        width=0.98,
        duration_s=0.09,
        voice_db=-11.0,
        seals_lips=True,
    ),
    Phoneme(
        symbol="n",
        kind="nasal",
        formants_hz=(280.0, 1600.0, 2600.0),
        aperture=0.18,
        width=1.02,
        duration_s=0.07,
        voice_db=-11.0,
    ),
    Phoneme(
        symbol="p",
        kind="stop",
        formants_hz=(400.0, 850.0, 2200.0),
        aperture=0.0,
        width=0.96,
        duration_s=0.10,
        noise_db=-13.0,
        noise_hz=(900.0, 900.0),
        seals_lips=True,
    ),
    Phoneme(
        symbol="b",
        kind="stop",
        formants_hz=(350.0, 850.0, 2200.0),
        aperture=0.0,
        width=0.96,
        duration_s=0.09,
        voice_db=-20.0,
        noise_db=-17.0,
        noise_hz=(700.0, 700.0),
        seals_lips=True,
    ),
    Phoneme(
        symbol="t",
        kind="stop",
        formants_hz=(400.0, 1750.0, 2650.0),
        aperture=0.14,
        width=1.02,
        duration_s=0.09,
        noise_db=-12.0,
        noise_hz=(4200.0, 2200.0),
    ),
    Phoneme(
        symbol="d",
        kind="stop",
        formants_hz=(350.0, 1750.0, 2650.0),
        aperture=0.15,
        width=1.02,
        duration_s=0.08,
        voice_db=-20.0,
        noise_db=-16.0,
        noise_hz=(3800.0, 2000.0),
    ),
    Phoneme(
        symbol="k",
        kind="stop",
        formants_hz=(350.0, 2000.0, 2450.0),
        aperture=0.24,
        width=1.0,
        duration_s=0.10,
        noise_db=-13.0,
        noise_hz=(2000.0, 900.0),
    ),
    Phoneme(
        symbol="f",
        kind="fricative",
        formants_hz=(400.0, 1100.0, 2300.0),
        aperture=0.05,
        width=1.02,
        duration_s=0.10,
        noise_db=-21.0,
        noise_hz=(5200.0, 5000.0),
    ),
    Phoneme(
        symbol="v",
        kind="fricative",
        formants_hz=(300.0, 1100.0, 2300.0),
        aperture=0.05,
        width=1.02,
        duration_s=0.07,
        voice_db=-14.0,
        noise_db=-25.0,
        noise_hz=(5000.0, 4500.0),
    ),
    Phoneme(
        symbol="s",
        kind="fricative",
        formants_hz=(350.0, 1750.0, 2600.0),
        aperture=0.10,
        width=1.06,
        duration_s=0.10,
        noise_db=-13.0,
        noise_hz=(6000.0, 2000.0),
    ),
    Phoneme(
        symbol="z",
        kind="fricative",
        formants_hz=(300.0, 1750.0, 2600.0),
        aperture=0.10,
        width=1.06,
        duration_s=0.08,
        voice_db=-15.0,
        noise_db=-18.0,
        noise_hz=(5800.0, 2000.0),
    ),
    Phoneme(
        symbol="sh",
        kind="fricative",
        formants_hz=(350.0, 1800.0, 2400.0),
        aperture=0.18,
        width=0.82,
        duration_s=0.11,
        noise_db=-12.0,
        noise_hz=(3000.0, 1300.0),
    ),
    Phoneme(
        symbol="l",
        kind="glide",
        formants_hz=(360.0, 1100.0, 2650.0),
        aperture=0.30,
        width=1.0,
        duration_s=0.07,
        voice_db=-8.0,
    ),
    Phoneme(
        symbol="w",
        kind="glide",
        formants_hz=(320.0, 720.0, 2200.0),
        aperture=0.10,
        width=0.76,
        duration_s=0.08,
        voice_db=-9.0,
    ),
)

PHONEMES: dict[str, Phoneme] = {phoneme.symbol: phoneme for phoneme in VOWELS + CONSONANTS}
"""Every phoneme by its symbol; ``SILENCE`` is not among them."""
