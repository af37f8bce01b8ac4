"""The numbers by which a video declares its colours (ITU-T H.273), under ffmpeg's names, and which can be converted."""

from __future__ import annotations

from typing import Literal

HdrTransfer = Literal["pq", "hlg"]

UNSPECIFIED = "unspecified"
DOLBY_VISION = "dolby-vision"
"""Stands for the transfer of Dolby Vision without a base layer of a common kind (profile 5). It is refused."""

_UNSPECIFIED_CODES = {0: UNSPECIFIED, 2: UNSPECIFIED, 3: UNSPECIFIED}  # 0 and 3 are reserved

MATRICES = {
    **_UNSPECIFIED_CODES,
    0: "rgb",
    1: "bt709",
    4: "fcc",
    5: "bt470bg",
    6: "smpte170m",
    7: "smpte240m",
    8: "ycgco",
    9: "bt2020nc",
    10: "bt2020c",
    11: "smpte2085",
    12: "chroma-derived-nc",
    13: "chroma-derived-c",
    14: "ictcp",
    15: "ipt-c2",
    16: "ycgco-re",
    17: "ycgco-ro",
}
PRIMARIES = {
    **_UNSPECIFIED_CODES,
    1: "bt709",
    4: "bt470m",
    5: "bt470bg",
    6: "smpte170m",
    7: "smpte240m",
    8: "film",
    9: "bt2020",
    10: "smpte428",
    11: "smpte431",
    12: "smpte432",
    22: "ebu3213",
}
TRANSFERS = {
    **_UNSPECIFIED_CODES,
    1: "bt709",
    4: "gamma22",
    5: "gamma28",
    6: "smpte170m",
    7: "smpte240m",
    8: "linear",
    9: "log100",
    10: "log316",
    11: "iec61966-2-4",
    12: "bt1361e",
    13: "iec61966-2-1",
    14: "bt2020-10",
    15: "bt2020-12",
    16: "smpte2084",
    17: "smpte428",
    18: "arib-std-b67",
}

HDR_TRANSFERS: dict[str, HdrTransfer] = {"smpte2084": "pq", "arib-std-b67": "hlg"}

_CONVERTIBLE_MATRICES = frozenset(
    {UNSPECIFIED, "rgb", "bt709", "fcc", "bt470bg", "smpte170m", "smpte240m", "bt2020nc"}
)
_REFUSED_TRANSFERS = frozenset({"linear", "log100", "log316", "smpte428"})
_REFUSED_PRIMARIES = frozenset({"smpte428"})


def tag_name(names: dict[int, str], code: int) -> str:
    """The name of a code, or ``number N`` for one that H.273 does not define."""
    return names.get(code, f"number {code}")


def refusal(*, matrix: str, primaries: str, transfer: str) -> str | None:
    """Why colours declared so cannot be converted truly, in words that follow a file's name; None where they can."""
    if transfer in _REFUSED_TRANSFERS or transfer not in TRANSFERS.values():
        return _sentence("transfer characteristic", transfer)
    if matrix not in _CONVERTIBLE_MATRICES:
        return _sentence("colour matrix", matrix)
    if primaries in _REFUSED_PRIMARIES or primaries not in PRIMARIES.values():
        return _sentence("colour primaries", primaries)
    return None


def _sentence(what: str, name: str) -> str:
    return (
        f"declares the {what} {name}, which cannot be converted to the colours of BT.709; "
        "convert the file first, or correct its tags if they are wrong"
    )
