"""Names of languages as corpora write them, as codes of ISO 639-1."""

from __future__ import annotations

CODES = {
    "arabic": "ar", "chinese": "zh", "dutch": "nl", "english": "en", "french": "fr", "german": "de", "hindi": "hi",
    "italian": "it", "japanese": "ja", "korean": "ko", "polish": "pl", "portuguese": "pt", "russian": "ru",
    "spanish": "es", "thai": "th", "turkish": "tr", "vietnamese": "vi",
}  # fmt: skip


def language_code(name: str) -> str:
    """The code of a language that is given by its English name; any other text stays as it is."""
    return CODES.get(name.strip().lower(), name.strip())
