"""Where the fields of a media file's headers are: places in its bytes with the names of what they mean."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Field:
    """So many bytes at a place of a file, and what they say."""

    name: str
    start: int
    width: int


def fields_of(container: str, data: bytes) -> list[Field]:
    """The fields of a file in a container, in order; each at most three times under one name."""
    found = {"avi": _avi, "mkv": _ebml, "webm": _ebml, "ts": _transport}.get(container, _boxes)(data)
    kept: dict[str, list[Field]] = {}
    for field in found:
        if field.start + field.width <= len(data):
            kept.setdefault(field.name, []).append(field)
    return sorted((f for fields in kept.values() for f in fields[:3]), key=lambda f: (f.start, f.width))


_BOXES: dict[str, tuple[tuple[str, int, int], ...]] = {
    "stts": (("count", 4, 4), ("frames", 8, 4), ("delta", 12, 4)),
    "ctts": (("count", 4, 4), ("offset", 12, 4)),
    "stsz": (("size of all", 4, 4), ("count", 8, 4), ("first size", 12, 4), ("second size", 16, 4)),
    "stco": (("count", 4, 4), ("first offset", 8, 4)),
    "stsc": (("count", 4, 4), ("first chunk", 8, 4), ("samples in a chunk", 12, 4), ("description", 16, 4)),
    "stss": (("count", 4, 4), ("first", 8, 4)),
    "mdhd": (("timescale", 12, 4), ("duration", 16, 4)),
    "mvhd": (("timescale", 12, 4), ("duration", 16, 4)),
    "tkhd": (("track", 12, 4), ("duration", 20, 4), ("matrix", 40, 4), ("width", 76, 4), ("height", 80, 4)),
    "elst": (("count", 4, 4), ("duration", 8, 4), ("start", 12, 4), ("rate", 16, 4)),
    "hdlr": (("kind", 8, 4),),
    "stsd": (("count", 4, 4), ("size of entry", 8, 4), ("codec", 12, 4)),
    "avc1": (("width", 24, 2), ("height", 26, 2)),
    "mp4v": (("width", 24, 2), ("height", 26, 2)),
    "mp4a": (("channels", 16, 2), ("bits", 18, 2), ("rate", 24, 4)),
    "sowt": (("channels", 16, 2), ("bits", 18, 2), ("rate", 24, 4)),
    "avcC": (("profile", 0, 4), ("number of SPS", 5, 1), ("size of SPS", 6, 2)),
    "esds": (("descriptor", 4, 4), ("inner descriptor", 9, 4)),
    "pasp": (("horizontal", 0, 4), ("vertical", 4, 4)),
    "tfhd": (("flags", 0, 4), ("track", 4, 4), ("duration", 8, 4)),
    "tfdt": (("time", 4, 8),),
    "trun": (("flags", 0, 4), ("count", 4, 4), ("offset", 8, 4), ("first", 12, 4), ("second", 16, 4)),
    "moov": (), "trak": (), "mdat": (), "ftyp": (), "moof": (), "minf": (), "stbl": (),
}  # fmt: skip
"""Offsets of fields from the end of the type, in boxes of version 0 (ISO/IEC 14496-12)."""


def _boxes(data: bytes) -> Iterator[Field]:
    for kind, fields in _BOXES.items():
        for place in _places(data, kind.encode()):
            yield Field(name=f"{kind} size", start=place - 4, width=4)
            for name, offset, width in fields:
                yield Field(name=f"{kind} {name}", start=place + 4 + offset, width=width)


_RIFF: dict[str, tuple[tuple[str, int, int], ...]] = {
    "avih": (("frame time", 0, 4), ("frames", 16, 4), ("streams", 24, 4), ("width", 32, 4), ("height", 36, 4)),
    "strh": (
        ("kind", 0, 4), ("codec", 4, 4), ("scale", 20, 4), ("rate", 24, 4), ("start", 28, 4), ("length", 32, 4),
        ("sample size", 44, 4),
    ),
    "strf": (
        ("picture width or sound rate", 4, 4), ("picture height or bytes in a second", 8, 4),
        ("sound format and channels", 0, 4), ("block and bits", 12, 4), ("codec", 16, 4),
    ),
    "idx1": (("first flags", 4, 4), ("first offset", 8, 4), ("first size", 12, 4)),
    "movi": (), "RIFF": (), "00dc": (), "01wb": (),
}  # fmt: skip
"""Offsets of fields from the end of a chunk's size."""


def _avi(data: bytes) -> Iterator[Field]:
    for kind, fields in _RIFF.items():
        for place in _places(data, kind.encode()):
            start = place - 4 if kind == "movi" else place + 4
            yield Field(name=f"{kind} size", start=start, width=4)
            for name, offset, width in fields:
                yield Field(name=f"{kind} {name}", start=place + 8 + offset, width=width)


_PARENTS = {
    0x18538067: "Segment", 0x1549A966: "Info", 0x1654AE6B: "Tracks", 0xAE: "TrackEntry", 0xE0: "Video",
    0xE1: "Audio", 0x1F43B675: "Cluster", 0xA0: "BlockGroup", 0x1C53BB6B: "Cues", 0xBB: "CuePoint",
}  # fmt: skip
_VALUES = {
    0x2AD7B1: "TimestampScale", 0x4489: "Duration", 0xD7: "TrackNumber", 0x83: "TrackType", 0x86: "CodecID",
    0x63A2: "CodecPrivate", 0x23E383: "DefaultDuration", 0x56AA: "CodecDelay", 0x56BB: "SeekPreRoll",
    0xB0: "PixelWidth", 0xBA: "PixelHeight", 0x54B0: "DisplayWidth", 0x54BA: "DisplayHeight",
    0xB5: "SamplingFrequency", 0x9F: "Channels", 0x6264: "BitDepth", 0xE7: "Timestamp", 0xA3: "SimpleBlock",
    0xA1: "Block", 0x9B: "BlockDuration", 0x1A45DFA3: "EBML",
}  # fmt: skip


def _ebml(data: bytes) -> Iterator[Field]:
    yield from _elements(data, 0, len(data))


def _elements(data: bytes, start: int, stop: int) -> Iterator[Field]:
    """Elements of EBML (RFC 8794): an id, a length, and the value, of which up to 8 bytes are a field."""
    while start < stop:
        identity, place = _number(data, start, marked=True)
        length, value = _number(data, place, marked=False)
        end = stop if length == (1 << 7 * (value - place)) - 1 else min(value + length, stop)
        name = _PARENTS.get(identity) or _VALUES.get(identity)
        if name:
            yield Field(name=f"{name} length", start=place, width=value - place)
        if identity in _PARENTS:
            yield from _elements(data, value, end)
        elif name and end > value:
            yield Field(name=name, start=value, width=min(end - value, 8))
        start = end


def _number(data: bytes, start: int, *, marked: bool) -> tuple[int, int]:
    """A number of variable width, with or without the bit that tells its width, and where it ends."""
    width = 9 - data[start].bit_length()
    number = int.from_bytes(data[start : start + width], "big")
    return (number if marked else number & ((1 << 7 * width) - 1)), start + width


_PACKET = 188


def _transport(data: bytes) -> Iterator[Field]:
    """Fields of transport packets (ISO/IEC 13818-1); those of a table or a time stamp where a packet has one."""
    for start in range(0, len(data) - _PACKET + 1, _PACKET):
        yield Field(name="sync byte and PID", start=start, width=3)
        yield Field(name="continuity", start=start + 3, width=1)
        payload = start + 4
        if data[start + 3] & 0x20:
            yield Field(name="length of adaptation", start=payload, width=1)
            if data[payload] and data[payload + 1] & 0x10:
                yield Field(name="PCR", start=payload + 2, width=6)
            payload += 1 + data[payload]
        if data[payload : payload + 3] == b"\0\0\1":
            yield Field(name="PES length", start=payload + 4, width=2)
            yield Field(name="PTS", start=payload + 9, width=5)
        elif data[start + 1] & 0x40:
            yield Field(name="length of table", start=payload + 2, width=2)
            yield Field(name="stream of table", start=payload + 13, width=5)


def _places(data: bytes, mark: bytes) -> Iterator[int]:
    place = data.find(mark)
    while place >= 0:
        yield place
        place = data.find(mark, place + 1)
