"""TalkVid: a JSON list of clips of YouTube videos, and the clips as its download script leaves them.

An entry has ``id``, ``height``, ``width``, ``fps``, ``start-time``, ``end-time`` (seconds), and ``info`` with
``Person ID``, ``Video Link`` and ``Language``, besides scores and a description. The script writes a clip as
``<YouTube id>/<YouTube id>_001_10.500_25.300.mp4`` with its sound beside it as ``.m4a``; the authors' own tools call
it ``videos/<id>.mp4`` and ``audios/<id>.m4a``.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.products import content_key
from lipforcing_core.corpora.clips import AnnotatedClip, match_clips
from lipforcing_core.corpora.disk import Disk, is_sound, look, require_folder, sound_beside
from lipforcing_core.corpora.languages import language_code
from lipforcing_core.corpora.official_test import hold_out
from lipforcing_core.corpora.protocol import CorpusListing, Omission, TestList, unusable
from lipforcing_core.corpora.rows import Problems, RowError, exact_number, json_rows, quoted
from lipforcing_core.corpora.youtube import address_parts, queried_id
from lipforcing_core.curation.official import CropBox, exact
from lipforcing_core.curation.records import SourceFacts

FILES = ("filtered_video_clips_with_captions.json", "filtered_video_clips.json")
LAYOUT = (
    f"TalkVid needs {FILES[1]} or {FILES[0]} in the folder or in its data/, and below the folder the clips: "
    "<YouTube id>/<YouTube id>_001_<start>_<end>.mp4 as its script downloads them, videos/<id>.mp4, or whole videos as "
    "<YouTube id>.mp4"
)
TOLERANCE = Fraction(1, 500)
"""Seconds by which the times in the name of a file may differ from the entry's: the script cuts them to
milliseconds."""

_TIMES = re.compile(r"(?P<video>.+)_(?P<number>\d+|NA)_(?P<start>\d+\.\d+)_(?P<stop>\d+\.\d+)")
_ID = re.compile(r"[\w-]+")


class TalkVid:
    """Clips with person, language, times and, where an entry has one, a box."""

    def read(self, given: Path, test: TestList | None) -> CorpusListing:
        """List the corpus in a folder; see ``LAYOUT`` for what must be there."""
        root = require_folder(given, LAYOUT)
        places = [folder / name for folder in (root, root / "data") for name in FILES]
        metadata = next((path for path in places if path.is_file()), None)
        if metadata is None:
            raise BadInputError(f"{root}: the JSON file of its clips is missing; {LAYOUT}")
        problems = Problems(root)
        disk = look(
            root,
            LAYOUT,
            annotations=places,
            leave_out=[root / "json_logs", root / "logs"],
            is_about=_is_about,
        )
        by_times = _files_by_times(disk)
        broken: dict[str, Omission] = {}
        refused: dict[str, Omission] = {}
        clips = _clips(metadata, by_times, problems, broken, refused)
        matched = match_clips(
            clips,
            disk,
            broken=broken,
            refused=refused,
            sound_of=lambda p: sound_beside(p, root, [p.parent.parent / "audios"]),
        )
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


def _is_about(path: Path) -> bool:
    return is_sound(path) or path.suffix in (".description", ".vtt", ".srt")


_ByTimes = dict[str, list[tuple[Fraction, Fraction, str]]]


def _files_by_times(disk: Disk) -> _ByTimes:
    """The stems of files that have times in their names, by YouTube id."""
    found: _ByTimes = defaultdict(list)
    for stem in disk.videos:
        if named := _TIMES.fullmatch(stem):
            found[named["video"]].append((Fraction(named["start"]), Fraction(named["stop"]), stem))
    return found


def _clips(
    metadata: Path,
    by_times: _ByTimes,
    problems: Problems,
    broken: dict[str, Omission],
    refused: dict[str, Omission],
) -> Iterator[AnnotatedClip]:
    """The clips of the entries. One whose entries contradict each other is among ``refused`` in the end."""
    seen: dict[str, tuple[int, str]] = {}
    for line, entry in json_rows(metadata, problems):
        name = entry.get("id")
        try:
            clip = _clip(entry, by_times)
            said = content_key(clip)
            first, before = seen.setdefault(clip.names[0], (line, said))
            if first == line:
                yield clip
            elif before == said:
                problems.repeat(metadata, first, f"{quoted(name)} has the same entry again in line {line}")
            else:
                error = RowError("id", f"the entry of {quoted(name)} in line {first} says something else")
                refused.setdefault(clip.names[0], unusable(problems.add(metadata, line, error)))
        except RowError as error:
            problem = problems.add(metadata, line, error)
            stems = [stem for video in _video_id(entry) for _, _, stem in by_times.get(video, ())]
            broken |= dict.fromkeys((str(name), *_video_id(entry), *stems), unusable(problem))


def _clip(entry: dict[str, Any], by_times: _ByTimes) -> AnnotatedClip:
    name, info = entry.get("id"), entry.get("info")
    if not isinstance(name, str) or not _ID.fullmatch(name):
        raise RowError("id", f"must be a name of letters, digits, - and _, and is {quoted(name)}")
    if not isinstance(info, dict):
        raise RowError("info", f"must be an object, and is {quoted(info)}")
    video = _video_id(entry)
    if not video:
        raise RowError(
            "info.Video Link",
            f"must be the address of a YouTube video, and is {quoted(info.get('Video Link'))}",
        )
    start, stop = (exact_number(entry, name, what="seconds") for name in ("start-time", "end-time"))
    if start >= stop:
        raise RowError(
            "end-time", f"{quoted(entry['end-time'])} is not after start-time {quoted(entry['start-time'])}"
        )
    near = [
        stem
        for from_s, to_s, stem in by_times.get(video[0], ())
        if abs(from_s - start) <= TOLERANCE and abs(to_s - stop) <= TOLERANCE
    ]
    person, language = info.get("Person ID"), info.get("Language")
    if person is not None and not isinstance(person, str | int):
        raise RowError("info.Person ID", f"must be a text, and is {quoted(person)}")
    if language is not None and not isinstance(language, str):
        raise RowError("info.Language", f"must be a text, and is {quoted(language)}")
    return AnnotatedClip(
        names=(name, *near),
        videos=video,
        start=start,
        stop=stop,
        crop=_box(entry),
        facts=SourceFacts(
            identity=f"talkvid:{person}" if person not in (None, "") else None,
            language=language_code(language) if language else None,
        ),
        address=info["Video Link"],
    )


def _video_id(entry: dict[str, Any]) -> tuple[str, ...]:
    """The id in the address of the video; empty where there is none."""
    info = entry.get("info")
    link = info.get("Video Link") if isinstance(info, dict) else None
    if not isinstance(link, str) or len(link) > 500:
        return ()
    found = queried_id(link) or [address_parts(link).path.rstrip("/").rpartition("/")[2]]
    return tuple(video for video in found if _ID.fullmatch(video))


def _box(entry: dict[str, Any]) -> CropBox | None:
    """The box of an entry that has one: ``bbox``, the corners x1, y1, x2, y2 in pixels of its ``height``."""
    corners = entry.get("bbox")
    if corners is None:
        return None
    try:
        x1, y1, x2, y2 = map(exact, corners)
        return CropBox.model_validate(
            {"x": x1, "y": y1, "width": x2 - x1, "height": y2 - y1, "frame_height": entry.get("height")}
        )
    except (TypeError, ValueError) as error:
        raise RowError(
            "bbox", f"must be the corners x1, y1, x2, y2 in pixels, and is {quoted(corners)}"
        ) from error
