"""VoxCeleb2: clips that are cut and cropped already, one folder a person, one in it a YouTube video.

As published: ``dev/mp4/id00012/21Uxsk56VDQ/00001.mp4`` (and ``test/...``), the sound as
``dev/aac/id00012/21Uxsk56VDQ/00001.m4a``, what a clip was cut from as ``dev/txt/id00012/21Uxsk56VDQ/00001.txt``, and
``vox2_meta.csv`` with the columns ``VoxCeleb2 ID``, ``VGGFace2 ID``, ``Gender`` and ``Set``, each with a blank behind.

A txt file has the lines ``Identity``, ``Reference``, ``Offset``, ``FV Conf`` and ``ASD Conf``, then ``FRAME X Y W H``
and a row for each frame at 25 fps of the YouTube video, with the box of the face in shares of its width and height.
The clips are cut out around these boxes, so the boxes are no crops of the clips. A line that cannot be read costs
itself: the clip is used with the boxes that can be read, or without any. A file about another person than its folder
costs the clip.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.names import shown_name
from lipforcing_core.corpora.disk import is_sound, look, require_folder, sound_beside
from lipforcing_core.corpora.protocol import (
    CorpusListing,
    CorpusSource,
    Omission,
    TestList,
    by_rule,
    counted,
    unusable,
)
from lipforcing_core.corpora.rows import Problems, RowError, quoted, text_lines
from lipforcing_core.corpora.youtube import watch_address
from lipforcing_core.curation.official import Origin, exact
from lipforcing_core.curation.records import SourceFacts

LAYOUT = (
    "VoxCeleb2 needs dev/mp4/idXXXXX/<YouTube id>/NNNNN.mp4 or test/mp4/..., the sound beside it as "
    "dev/aac/idXXXXX/<YouTube id>/NNNNN.m4a if it is separate, and vox2_meta.csv where the folders are not called "
    "dev and test"
)
FPS = 25
"""Frames per second that the frame numbers of the txt files count."""

_PERSON = re.compile(r"id\d{5}")
_SETS = ("dev", "test")
"""The published sets; the people of ``dev`` are divided into train and val here."""

META = "vox2_meta.csv"


class VoxCeleb2:
    """Clips with identity, split and origin."""

    def read(self, given: Path, test: TestList | None) -> CorpusListing:
        """List the corpus in a folder; see ``LAYOUT`` for what must be there."""
        root = require_folder(given, LAYOUT)
        problems = Problems(root)
        meta = next((path for path in (root / META, root / "meta" / META) if path.is_file()), None)
        rows, refused = problems.agreed(meta, _rows(meta, problems), dict) if meta else ({}, {})
        sets = {person: row["Set"] for person, row in rows.items()}
        disk = look(root, LAYOUT, annotations={meta} if meta else (), is_about=_is_about)
        sources, strangers = [], []
        omitted: dict[Path, Omission] = {}
        for path in sorted(disk.paths()):
            clip = path.relative_to(root).parts
            if len(clip) < 3 or not _PERSON.fullmatch(clip[-3]):
                strangers.append(path.relative_to(root).as_posix())
                omitted[path] = by_rule("it lies outside the folders of people")
                continue
            if clip[-3] in refused:
                omitted[path] = unusable(refused[clip[-3]])
                continue
            try:
                sources.append(CorpusSource(path=path, facts=_facts(path, root, sets, problems)))
            except RowError as error:
                omitted[path] = unusable(problems.add(error.file or path, error.line, error))
        if strangers and not sources and not problems.found:
            raise BadInputError(f"{root}: no video lies as in VoxCeleb2 (first: {strangers[0]}); {LAYOUT}")
        return CorpusListing(
            root=root,
            sources=tuple(sources),
            ignored=disk.ignored,
            problems=tuple(problems.found),
            left_out=counted("videos outside the folders of people", strangers),
            warnings=tuple(problems.repeated),
            omitted=omitted,
        )


def _is_about(path: Path) -> bool:
    return is_sound(path) or (
        path.suffix == ".txt" and len(path.parts) > 2 and bool(_PERSON.fullmatch(path.parts[-3]))
    )


def _facts(path: Path, root: Path, sets: dict[str, str], problems: Problems) -> SourceFacts:
    """What is known of a clip; raises ``RowError`` where nobody can say whose it is and to which set it belongs."""
    person = path.parts[-3]
    by_folder = [part for part in path.relative_to(root).parts[:-3] if part in _SETS]
    published = by_folder[0] if by_folder else sets.get(person)
    if published is None:
        raise RowError(
            "set", f"neither a folder dev or test nor {META} says to which set {person} belongs; {LAYOUT}"
        )
    if sets.get(person, published) != published:
        raise RowError("set", f"lies in {published}, but {META} says that {person} belongs to {sets[person]}")
    description = _parallel(path, "txt", ".txt")
    origin = Origin(address=watch_address(path.parts[-2]))
    if description is not None:
        origin = _origin(description, person, problems)
    beside = _parallel(path, "aac", ".m4a")
    sound = beside.relative_to(root).as_posix() if beside else sound_beside(path, root)
    return SourceFacts(
        identity=f"voxceleb2:{person}",
        split="test" if published == "test" else None,
        audio=sound,
        origin=origin,
    )


def _parallel(path: Path, folder: str, suffix: str) -> Path | None:
    """The file of the same clip in the folder beside ``mp4``, or in the one that stands beside the folder of the
    set."""
    clip = Path(*path.parts[-3:]).with_suffix(suffix)
    above = path.parents[3:6]
    return next((file for base in above if (file := base / folder / clip).is_file()), None)


def _rows(meta: Path, problems: Problems) -> Iterator[tuple[str, int, dict[str, str]]]:
    """Every person with the line and the fields of the row.

    The published file exists with commas and with tabs, and its fields end with blanks.
    """
    lines = text_lines(meta)
    number, header = next(lines, (1, ""))
    separator = "\t" if "\t" in header else ","
    columns = [name.strip() for name in header.split(separator)]
    if missing := [name for name in ("VoxCeleb2 ID", "Set") if name not in columns]:
        raise BadInputError(
            f"{meta}, line {number}: column {missing[0]} is missing (found: {', '.join(columns)})"
        )
    for line, text in lines:
        fields = dict(zip(columns, (part.strip() for part in text.split(separator)), strict=False))
        person, published = fields.get("VoxCeleb2 ID", ""), fields.get("Set", "")
        if not _PERSON.fullmatch(person):
            problems.add(meta, line, RowError("VoxCeleb2 ID", f"{quoted(person)} is no idNNNNN"))
        elif published not in _SETS:
            problems.add(meta, line, RowError("Set", f"must be dev or test, and is {quoted(published)}"))
        else:
            yield person, line, fields


def _origin(path: Path, person: str, problems: Problems) -> Origin:
    """Where a clip comes from, of its txt file: of the lines of it that can be read, and the first other one is told.

    Raises ``RowError`` where the file is about another person.
    """
    head: dict[str, str] = {}
    frames: list[int] = []
    sides: list[tuple[Fraction, Fraction, Fraction, Fraction]] = []
    mistakes: list[RowError] = []
    in_table = False
    for line, text in _lines(path, mistakes):
        try:
            if in_table:
                frame, *box = text.split()
                number, side = _frame(frame, frames), _box(box)
                frames.append(number)
                sides.append(side)
            elif text.split()[:1] == ["FRAME"]:
                if text.split() != ["FRAME", "X", "Y", "W", "H"]:
                    message = f"the table has the columns FRAME X Y W H, and this is {quoted(text)}"
                    mistakes.append(RowError("FRAME", message, line))
                    break
                in_table = True
            else:
                name, colon, value = text.partition(":")
                if not colon:
                    raise RowError("header", f"a line is 'NAME : VALUE', and this is {quoted(text)}")
                head[name.strip()] = value.strip()
        except RowError as error:
            error.line = line
            mistakes.append(error)
        if head.get("Identity", person) != person:
            message = f"is {quoted(head['Identity'])}, and the file lies in the folder of {person}"
            raise RowError("Identity", message, line, path)
    if not frames and not mistakes:
        mistakes.append(RowError("FRAME", "has no row of a frame"))
    if mistakes:
        first, more = mistakes[0], len(mistakes) - 1
        behind = f" (and {more} more line{'s' if more > 1 else ''} of this file)" if more else ""
        problems.add(path, first.line, RowError(first.field, f"{first}{behind}"))
    if not frames:
        return Origin(address=watch_address(head.get("Reference") or path.parts[-2]))
    reference = head.get("Reference") or path.parts[-2]
    left, top = min(x for x, _, _, _ in sides), min(y for _, y, _, _ in sides)
    right, bottom = max(x + w for x, _, w, _ in sides), max(y + h for _, y, _, h in sides)
    relative = (
        right <= 2 and bottom <= 2
    )  # an earlier release has pixels, which say nothing without a frame size
    return Origin(
        address=watch_address(reference),
        start_s=Fraction(frames[0], FPS),
        stop_s=Fraction(frames[-1] + 1, FPS),
        face_shares=(left, top, right - left, bottom - top) if relative else None,
    )


def _lines(path: Path, mistakes: list[RowError]) -> Iterator[tuple[int, str]]:
    """The lines of a file; none, and a mistake, where it is no text."""
    try:
        yield from text_lines(path)
    except BadInputError as error:
        mistakes.append(RowError("file", str(error).removeprefix(f"{shown_name(path)}: ")))


def _frame(text: str, before: list[int]) -> int:
    if not text.isdecimal() or len(text) > 9:
        raise RowError("FRAME", f"{quoted(text)} is no number of a frame")
    if before and int(text) <= before[-1]:
        raise RowError("FRAME", f"{text} does not follow {before[-1]}")
    return int(text)


def _box(texts: list[str]) -> tuple[Fraction, Fraction, Fraction, Fraction]:
    if len(texts) != 4:
        raise RowError("X Y W H", f"four numbers follow the frame, and here are {len(texts)}")
    values = []
    for name, text in zip("XYWH", texts, strict=True):
        try:
            values.append(exact(text.removeprefix("-")) * (-1 if text.startswith("-") else 1))
        except ValueError as error:
            raise RowError(name, f"{quoted(text)} is no number") from error
    x, y, width, height = values
    if width <= 0 or height <= 0:
        raise RowError("W" if width <= 0 else "H", "must be more than 0")
    return max(x, Fraction(0)), max(y, Fraction(0)), width, height
