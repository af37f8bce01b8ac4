"""HDTF (High-definition Talking-Face dataset): annotations of YouTube videos in plain text, one set a group of
speakers.

The published folder ``HDTF_dataset`` holds for each of RD, WDA and WRA: ``RD_video_url.txt`` (``Radio1
https://...``), ``RD_annotion_time.txt`` (``Radio11.mp4 00:30-01:00 01:30-02:30``), ``RD_crop_wh.txt``
(``Radio11_0.mp4 412 599 0 599``: left edge, width, upper edge, height), ``RD_resolution.txt`` (``Radio1.mp4 720``:
the height of the picture that the crops are of), and ``RD_crop_ratio.txt``, which is not needed here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.corpora.clips import AnnotatedClip, match_clips
from lipforcing_core.corpora.disk import look, require_folder
from lipforcing_core.corpora.official_test import hold_out
from lipforcing_core.corpora.protocol import CorpusListing, CorpusProblem, Omission, TestList, unusable
from lipforcing_core.corpora.rows import Problems, RowError, clock_seconds, quoted, text_lines
from lipforcing_core.corpora.youtube import address_parts, queried_id
from lipforcing_core.curation.official import CropBox
from lipforcing_core.curation.records import SourceFacts

LAYOUT = (
    "HDTF needs its annotation files XX_video_url.txt, XX_annotion_time.txt, XX_crop_wh.txt and XX_resolution.txt "
    "(XX: RD, WDA or WRA) in the folder or in its HDTF_dataset/, and beside them the videos: whole (Radio11.mp4, "
    "RD_Radio11.mp4 or the YouTube id) or cut (Radio11_0.mp4 or RD_Radio11_000.mp4)"
)
NAMELESS = "RD"
"""The group of radio speeches, whose videos are called Radio1, Radio2, ...: the name says nothing of the person."""

_NEEDED = ("video_url", "annotion_time", "crop_wh", "resolution")
_GROUP = re.compile(rf"(\w+?)_(?:{'|'.join((*_NEEDED, 'crop_ratio'))})\.txt")
_VIDEO = re.compile(r"[\w.-]+")


@dataclass(frozen=True, kw_only=True)
class _Group:
    """One set of annotation files."""

    name: str
    folder: Path

    def file(self, kind: str) -> Path:
        return self.folder / f"{self.name}_{kind}.txt"


class Hdtf:
    """Whole videos with their official ranges and crops, or the clips cut from them."""

    def read(self, given: Path, test: TestList | None) -> CorpusListing:
        """List the corpus in a folder; see ``LAYOUT`` for what must be there."""
        root = require_folder(given, LAYOUT)
        groups = list(_groups(root))
        problems = Problems(root)
        broken: dict[str, Omission] = {}
        clips = [clip for group in groups for clip in _clips(group, problems, broken)]
        files = {group.file(kind) for group in groups for kind in (*_NEEDED, "crop_ratio")}
        disk = look(root, LAYOUT, annotations=files)
        matched = match_clips(clips, disk, broken=broken)
        divided = hold_out(matched.candidates, test)
        return CorpusListing(
            root=root,
            sources=divided.sources,
            ignored=disk.ignored,
            problems=tuple(problems.found),
            left_out=(*matched.left_out, *divided.left_out),
            warnings=tuple(problems.repeated),
            omitted=matched.omitted | divided.omitted,
        )


def identity_of(group: str, video: str) -> str:
    """Who is seen: the name of the video without its number; a radio speech is somebody of its own."""
    return f"hdtf:{video}" if group == NAMELESS else f"hdtf:{video.rstrip('0123456789') or video}"


def _groups(root: Path) -> Iterator[_Group]:
    for folder in (root / "HDTF_dataset", root):
        names = sorted({found[1] for path in folder.glob("*.txt") if (found := _GROUP.fullmatch(path.name))})
        if names:
            for name in names:
                group = _Group(name=name, folder=folder)
                for kind in _NEEDED:
                    if not group.file(kind).is_file():
                        raise BadInputError(f"{group.file(kind)}: this annotation file is missing; {LAYOUT}")
                yield group
            return
    raise BadInputError(f"{root}: no annotation files of HDTF here; {LAYOUT}")


def _clips(group: _Group, problems: Problems, broken: dict[str, Omission]) -> Iterator[AnnotatedClip]:
    """The clips of a group. A clip or video of which two rows say different things is among ``broken`` in the end."""
    addresses, doubtful = _addresses(group, problems, broken)
    heights = _heights(group, problems, broken)
    crops = _crops(group, heights, problems, broken)
    rows = list(_time_rows(group, addresses, problems, broken))
    said, contradicted = problems.agreed(
        group.file("annotion_time"), rows, lambda ranges: {"times": " ".join(ranges)}
    )
    lines = {video: line for video, line, _ in reversed(rows)}
    num_ranges = dict.fromkeys(said, 0)
    for video, _, ranges in rows:
        num_ranges[video] = max(num_ranges[video], len(ranges))
    for video, ranges in said.items():
        refused = contradicted.get(video) or doubtful.get(video)
        whole = _whole_names(group, video, addresses)
        with_crops = 0
        for index in range(num_ranges[video]):
            published = f"{video}_{index}"
            names: tuple[str, ...] = (published,)
            if published in crops or published in broken:  # the common download script numbers these alone
                names = (f"{group.name}_{video}_{with_crops:03d}", published)
                with_crops += 1
            if refused is not None:
                broken.update(dict.fromkeys((*names, *whole), unusable(refused)))
                continue
            try:
                start, stop = _times(ranges[index])
            except ValueError as error:
                where = group.file("annotion_time")
                problem = problems.add(where, lines[video], RowError(f"clip {index}", str(error)))
                broken.update(dict.fromkeys((*names, *whole), unusable(problem)))
                continue
            if published in broken:  # its crop or the height for it has been told already
                broken.update(dict.fromkeys((*names, *whole), broken[published]))
                continue
            yield AnnotatedClip(
                names=names,
                videos=whole,
                start=start,
                stop=stop,
                crop=crops.get(published),
                facts=SourceFacts(identity=identity_of(group.name, video)),
                address=addresses.get(video),
            )


def _time_rows(
    group: _Group, addresses: dict[str, str], problems: Problems, broken: dict[str, Omission]
) -> Iterator[tuple[str, int, list[str]]]:
    """Every video with the line and the texts of its ranges."""
    path = group.file("annotion_time")
    for line, text in text_lines(path):
        name, *ranges = text.split()
        video = name.removesuffix(".mp4")
        if _VIDEO.fullmatch(name) and ranges:
            yield video, line, ranges
            continue
        error = RowError("video name", f"a row is 'NAME.mp4 00:30-01:00 ...', and this is {quoted(text)}")
        problem = problems.add(path, line, error)
        broken.update(dict.fromkeys(_whole_names(group, video, addresses), unusable(problem)))


def _whole_names(group: _Group, video: str, addresses: dict[str, str]) -> tuple[str, ...]:
    return (video, f"{group.name}_{video}", *queried_id(addresses.get(video, "")))


def _times(text: str) -> tuple[Fraction, Fraction]:
    start, dash, stop = text.partition("-")
    if not dash:
        raise ValueError(f"{quoted(text)} is no range START-STOP")
    first, last = clock_seconds(start), clock_seconds(stop)
    if first >= last:
        raise ValueError(f"{quoted(text)} ends before it starts")
    return first, last


def _addresses(
    group: _Group, problems: Problems, broken: dict[str, Omission]
) -> tuple[dict[str, str], dict[str, CorpusProblem]]:
    """The address of every video, and the problem of each that has several; a file that is called by one of these is
    broken."""
    path, field = group.file("video_url"), "video youtube url"

    def rows() -> Iterator[tuple[str, int, str]]:
        for line, text in text_lines(path):
            video, *rest = text.split()
            if len(rest) == 1 and address_parts(rest[0]).scheme in ("http", "https"):
                yield video.removesuffix(".mp4"), line, rest[0]
            else:
                problems.add(path, line, RowError(field, f"a row is 'NAME URL', and this is {quoted(text)}"))

    usable = list(rows())
    addresses, refused = problems.agreed(path, usable, lambda address: {field: address})
    for video, _, address in usable:
        if video in refused:
            broken.update(dict.fromkeys(queried_id(address), unusable(refused[video])))
    return addresses, refused


def _heights(group: _Group, problems: Problems, broken: dict[str, Omission]) -> dict[str, int]:
    path = group.file("resolution")

    def rows() -> Iterator[tuple[str, int, int]]:
        for line, text in text_lines(path):
            video, *rest = text.split()
            if len(rest) == 1 and rest[0].isdecimal() and 0 < int(rest[0]) < 100_000:
                yield video.removesuffix(".mp4"), line, int(rest[0])
            else:
                message = f"a row is 'NAME.mp4 HEIGHT', in pixels, and this is {quoted(text)}"
                problem = problems.add(path, line, RowError("resolution", message))
                broken[video.removesuffix(".mp4")] = unusable(problem)

    heights, refused = problems.agreed(path, rows(), lambda height: {"resolution": height})
    broken |= {video: unusable(problem) for video, problem in refused.items()}
    return heights


_SIDES = ("min_width", "width", "min_height", "height")


def _crops(
    group: _Group, heights: dict[str, int], problems: Problems, broken: dict[str, Omission]
) -> dict[str, CropBox]:
    path = group.file("crop_wh")

    def rows() -> Iterator[tuple[str, int, tuple[str, ...]]]:
        for line, text in text_lines(path):
            clip, *sides = text.split()
            clip = clip.removesuffix(".mp4")
            video = clip.rpartition("_")[0]
            if video in broken:
                broken[clip] = broken[video]
                continue
            try:
                if len(sides) != 4:
                    raise RowError(
                        "crop",
                        f"a row is 'NAME_0.mp4 min_width width min_height height', and this is {quoted(text)}",
                    )
                for name, side in zip(_SIDES, sides, strict=True):
                    if (
                        not side.isdecimal()
                        or len(side) > 6
                        or (name in ("width", "height") and int(side) == 0)
                    ):
                        raise RowError(name, f"{quoted(side)} is no number of pixels")
                if video not in heights:
                    where = group.file("resolution").name
                    message = (
                        f"{quoted(video)} has no row in {where}, which says how high the picture of a crop is"
                    )
                    raise RowError("video name", message)
            except RowError as error:
                broken[clip] = unusable(problems.add(path, line, error))
                continue
            yield clip, line, tuple(sides)

    said, refused = problems.agreed(path, rows(), lambda sides: dict(zip(_SIDES, sides, strict=True)))
    broken |= {clip: unusable(problem) for clip, problem in refused.items()}
    return {
        clip: CropBox(x=x, y=y, width=width, height=height, frame_height=heights[clip.rpartition("_")[0]])
        for clip, (x, width, y, height) in said.items()
    }
