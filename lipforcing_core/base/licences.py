"""Whether a licence allows commercial use: one table of names and spellings for everything that carries a licence.

The answer is True, False or None. None means that the text names no licence of the table, or terms that a person has to
read (no derivatives, a service's own terms). False wins wherever the words exclude commercial use.
"""

from __future__ import annotations

import re
from functools import lru_cache

ALLOWED = frozenset(
    {
        "0bsd", "afl 3.0", "agpl 3.0", "apache", "apache 2.0", "artistic 2.0", "blueoak 1.0.0", "boost", "bsd",
        "bsd 2 clause", "bsd 3 clause", "bsl 1.0", "cc by", "cc by sa", "cc zero", "cc0", "cdla permissive", "epl 2.0",
        "gpl", "gpl 2.0", "gpl 3.0", "isc", "lgpl", "lgpl 2.1", "lgpl 3.0", "mit", "mit 0", "mpl 2.0", "ncsa", "odbl",
        "odc by", "ofl", "ogl uk", "pd", "pddl", "pdm", "postgresql", "psf 2.0", "public domain", "public domain mark",
        "python 2.0", "unlicense", "us government work", "us gov", "united states government work", "wtfpl", "zlib",
    }
)  # fmt: skip
"""Licences that allow commercial use, in the plain form of ``_plain``; versions of Creative Commons are left out."""

REFUSED = frozenset({"all rights reserved", "proprietary", "confidential", "no licence", "no license"})
"""Words that grant no use at all."""

_NON_COMMERCIAL = re.compile(
    r"\bnon ?commercial\b|\bnot for commercial\b|\bno commercial\b|\bnc\b"
    r"|\bcommercial use (is )?(not|prohibited|forbidden)\b"
    r"|\b(research|academic|education(al)?|evaluation|personal)( \w+){0,3} only\b"
    r"|\bonly for( \w+){0,2} (research|academic|education(al)?|evaluation|personal)\b"
)
_CC_WORDS = {
    "attribution": "by",
    "sharealike": "sa",
    "noncommercial": "nc",
    "noderivatives": "nd",
    "noderivs": "nd",
}
_URL = re.compile(
    r"(?:https?://)?(?:www\.)?creativecommons\.org/(?:licenses|publicdomain)/([a-z+-]+)(?:/[\d.]+)?\S*"
)
_LIST = re.compile(r"\s*[;,+&]\s*|\s+and\s+|\s+with\s+")
_CHOICE = re.compile(r"\s+or\s+")
_REMARK = re.compile(r"\([^()]*\)")


@lru_cache(maxsize=1024)  # a corpus has few licences and many clips
def commercial_use(licence: str | None) -> bool | None:
    """Whether a licence allows commercial use; None where that cannot be told.

    ``licence`` is an SPDX identifier or expression, a common spelling (``CC BY-NC 4.0``, ``Creative Commons
    Attribution``, an address of creativecommons.org), or several of them: parts joined by a comma, semicolon, ``and``
    or ``+`` must all allow it, and of those joined by ``or`` one is enough.
    """
    text = _with_short_names((licence or "").lower())
    if not text.strip():
        return None
    if _CHOICE.search(text):
        answers = [commercial_use(part) for part in _CHOICE.split(text)]
        return True if True in answers else None if None in answers else False
    answers = [_of_one(part) for part in _LIST.split(_REMARK.sub(" ", text)) if _plain(part)]
    if False in answers or _NON_COMMERCIAL.search(_plain(text)):
        return False
    return None if None in answers or not answers else True


def commercial_ok(licence: str | None, claimed: bool | None = None) -> bool | None:
    """What may be said of footage under ``licence`` that someone ``claimed`` to be usable commercially, or not.

    A licence that excludes commercial use wins over the claim. A claim that forbids it stands, whatever the licence (a
    person may not have consented). Where one of the two is unknown the other counts.
    """
    by_licence = commercial_use(licence)
    if by_licence is False or claimed is False:
        return False
    return by_licence if claimed is None else claimed


def commercial_ok_of_all(answers: list[bool | None]) -> bool | None:
    """Whether a whole set may be used commercially: False if one part may not, True if all may, else None."""
    if False in answers:
        return False
    return None if None in answers or not answers else True


def spdx_id(licence: str | None) -> str | None:
    """The SPDX identifier of one licence in any of the spellings above; None where the text does not determine it.

    That is so for several licences, for terms without an identifier, and where the version is not named.
    """
    words = (licence or "").lower()
    if address := _URL_WITH_VERSION.search(words):
        kind, version = address.groups()
        return "CC0-1.0" if kind == "zero" else _creative_commons(kind, version)
    text = _REMARK.sub(" ", _with_short_names(words))
    if _CHOICE.search(text) or _LIST.search(text.strip()):
        return None
    name = _plain(text)
    if found := _CC_WITH_VERSION.fullmatch(name):
        return _creative_commons(found[1].replace(" ", "-"), found[2])
    return "CC0-1.0" if _without_version(name) in ("cc0", "cc0 1.0") else _SPDX.get(name)


def licence_address(licence: str | None) -> str | None:
    """Where the words of a licence can be read: the address that it is itself, or that of its SPDX identifier."""
    text = (licence or "").strip()
    if re.fullmatch(r"https?://\S+", text):
        return text
    name = spdx_id(text)
    if name is None:
        return None
    if name == "CC0-1.0":
        return "https://creativecommons.org/publicdomain/zero/1.0/"
    if found := re.fullmatch(r"CC-([A-Z-]+)-(\d\.\d)", name):
        return f"https://creativecommons.org/licenses/{found[1].lower()}/{found[2]}/"
    return f"https://spdx.org/licenses/{name}.html"


_CC_KINDS = frozenset({"by", "by-sa", "by-nc", "by-nd", "by-nc-sa", "by-nc-nd"})
_URL_WITH_VERSION = re.compile(r"creativecommons\.org/(?:licenses|publicdomain)/([a-z-]+)/(\d\.\d)")
_CC_WITH_VERSION = re.compile(r"cc ((?:by|nc|sa|nd)(?: (?:by|nc|sa|nd))*) (\d\.\d)")
_SPDX = {
    "apache 2.0": "Apache-2.0",
    "bsd 2 clause": "BSD-2-Clause",
    "bsd 3 clause": "BSD-3-Clause",
    "cdla permissive 2.0": "CDLA-Permissive-2.0",
    "isc": "ISC",
    "mit": "MIT",
    "odbl": "ODbL-1.0",
    "odbl 1.0": "ODbL-1.0",
    "odc by": "ODC-By-1.0",
    "odc by 1.0": "ODC-By-1.0",
    "pddl": "PDDL-1.0",
    "pddl 1.0": "PDDL-1.0",
    "unlicense": "Unlicense",
    "zlib": "Zlib",
}


def _creative_commons(kind: str, version: str) -> str | None:
    """The identifier of a licence of Creative Commons, whatever the order of its words."""
    name = "-".join(part for part in ("by", "nc", "sa", "nd") if part in kind.split("-"))
    return f"CC-{name.upper()}-{version}" if name in _CC_KINDS else None


def _with_short_names(text: str) -> str:
    """Lower-case text with addresses and long names of Creative Commons written short."""
    text = _URL.sub(
        lambda match: f"cc {'0' if match[1] == 'zero' else match[1]}".replace("cc mark", "pdm"), text
    )
    text = re.sub(r",?\s*\b(version|v)\.?\s*(?=\d)|(?<=gpl)v?(?=\d)", " ", text)
    text = re.sub(r"non[\s_-]commercial", "noncommercial", text)
    text = re.sub(r"share[\s_-]alike", "sharealike", text)
    text = re.sub(r"no[\s_-]deriv", "noderiv", text)
    if "creative commons" in text:
        for long, short in _CC_WORDS.items():
            text = re.sub(rf"[\s_-]*\b{long}\b", f" {short}", text)
        text = text.replace("creative commons", "cc")
    return text


def _of_one(part: str) -> bool | None:
    name = _plain(part)
    if name in REFUSED or _NON_COMMERCIAL.search(name):
        return False
    return True if name in ALLOWED or _without_version(name) in ALLOWED else None


def _plain(text: str) -> str:
    """Lower-case words with single spaces: no hyphens, no ``the``, ``license``, ``international``, ``only``."""
    words = re.sub(r"[\s_/-]+", " ", text.lower().replace("u.s.", "us")).strip(" .:")
    words = re.sub(r"\bcc (0|zero)\b|\bcc0\b", "cc0", words)
    return re.sub(r"\s+", " ", re.sub(_FILLERS, " ", words)).strip()


_FILLERS = r"\b(the|licen[cs]ed?|under|international|unported|generic|universal|dedication|or later)\b"


def _without_version(name: str) -> str:
    """A Creative Commons or similar name without its version and country: ``cc by 3.0 us`` is ``cc by``."""
    return re.sub(r" \d+(\.\d+)*( [a-z]{2})?$", "", re.sub(r" only$", "", name))
