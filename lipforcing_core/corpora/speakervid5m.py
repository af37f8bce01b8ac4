"""SpeakerVid-5M: annotations of clips of YouTube videos, one JSON file a clip; the videos are downloaded by their ids.

``all_data_list.json`` names the clips of every video (``{"...": ["<clip>.json", ...]}``; a clip's name begins with
the 11 characters of the YouTube id). ``merged_anno/<clip>.json`` (``merge_anno/`` in an earlier release) has
``video_name``, ``start_seconds`` and ``end_seconds`` (or ``start`` and ``duration``), ``bbox`` as x, y, width and
height in shares of the picture, ``raw_video_width`` and ``raw_video_height`` in pixels, and ``is_talking``, 0 for a
clip of a listener. ``testset.json`` names the clips of the official test split.

The files name no person, so everybody in one video counts as one identity: nobody is on both sides of a split.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.user_file import read_json_object, read_json_value
from lipforcing_core.corpora.clips import NOT_ON_DISK, AnnotatedClip, match_clips
from lipforcing_core.corpora.disk import is_sound, look, plain_stem, require_folder, sound_beside
from lipforcing_core.corpora.official_test import hold_out
from lipforcing_core.corpora.protocol import CorpusListing, Omission, TestList, by_rule, counted, unusable
from lipforcing_core.corpora.rows import LARGEST_ANNOTATIONS, Problems, RowError, exact_number, quoted
from lipforcing_core.corpora.youtube import watch_address
from lipforcing_core.curation.official import CropBox, exact
from lipforcing_core.curation.records import SourceFacts

LAYOUT = (
    "SpeakerVid-5M needs all_data_list.json and the unpacked merged_anno/<clip>.json in the folder or in its "
    "annotations/, and below the folder the videos as <YouTube id>.mp4 or the clips cut from them as <clip>.mp4"
)
LISTENERS = "clips in which the person seen does not talk"

_ID_LENGTH = 11
_FOLDERS = ("merged_anno", "merge_anno")


class SpeakerVid5M:
    """Whole videos with the ranges and boxes of those who talk, or the clips cut from them."""

    def read(self, given: Path, test: TestList | None) -> CorpusListing:
        """List the corpus in a folder; see ``LAYOUT`` for what must be there."""
        root = require_folder(given, LAYOUT)
        base = next((b for b in (root, root / "annotations") if (b / "all_data_list.json").is_file()), None)
        if base is None:
            raise BadInputError(f"{root}: all_data_list.json is missing; {LAYOUT}")
        folder = next((base / name for name in _FOLDERS if (base / name).is_dir()), None)
        if folder is None:
            raise BadInputError(f"{base}: the folder merged_anno/ is missing; {LAYOUT}")
        own = [base / name for name in ("all_data_list.json", "SFT_set.json", "testset.json")]
        disk = look(root, LAYOUT, annotations=own, leave_out=[folder, base / "raw_labels"], is_about=is_sound)
        problems = Problems(root)
        names = list(_clip_names(own[0], problems))
        here = [name for name in names if name in disk.videos or name[:_ID_LENGTH] in disk.videos]
        listeners: list[str] = []
        broken: dict[str, Omission] = {}
        clips = _clips(here, folder, problems, listeners, broken)
        matched = match_clips(clips, disk, broken=broken, sound_of=lambda path: sound_beside(path, root))
        known = frozenset(names)
        divided = hold_out(matched.candidates, test or _published_test(own[2], known))
        return CorpusListing(
            root=root,
            sources=divided.sources,
            ignored=disk.ignored,
            problems=tuple(problems.found),
            left_out=(
                *counted(NOT_ON_DISK, known.difference(here)),
                *counted(LISTENERS, listeners),
                *matched.left_out,
                *divided.left_out,
            ),
            omitted=matched.omitted | divided.omitted,
        )


def _clip_names(path: Path, problems: Problems) -> Iterator[str]:
    for key, clips in read_json_object(path, largest=LARGEST_ANNOTATIONS).items():
        if not isinstance(clips, list):
            problems.add(path, None, RowError(key, f"must be a list of clips, and is {quoted(clips)}"))
            continue
        for clip in clips:
            name = clip.removesuffix(".json") if isinstance(clip, str) else ""
            if len(name) <= _ID_LENGTH or "/" in name or "\0" in name:
                problems.add(path, None, RowError(key, f"{quoted(clip)} is no name of a clip"))
            else:
                yield name


def _clips(
    names: list[str], folder: Path, problems: Problems, listeners: list[str], broken: dict[str, Omission]
) -> Iterator[AnnotatedClip]:
    for name in names:
        path = folder / f"{name}.json"
        try:
            clip = _clip(name, path)
        except RowError as error:
            problem = problems.add(path, None, error)
            broken |= dict.fromkeys((name, name[:_ID_LENGTH]), unusable(problem))
            continue
        if clip is None:
            listeners.append(name)
            # A video of listeners alone is known, and no source.
            listens = by_rule("the person seen does not talk")
            for stem in (name, name[:_ID_LENGTH]):
                broken.setdefault(stem, listens)
        else:
            yield clip


def _clip(name: str, path: Path) -> AnnotatedClip | None:
    """The clip of an annotation file; None where the person seen only listens."""
    try:
        entry = read_json_object(path)
    except BadInputError as error:
        raise RowError("file", str(error).removeprefix(f"{path}: ").removeprefix("is ")) from error
    talks = entry.get("is_talking", 1)
    if not isinstance(talks, int | float):
        raise RowError("is_talking", f"must be 0 or 1, and is {quoted(talks)}")
    if not talks:
        return None
    video = name[:_ID_LENGTH]
    named = entry.get("video_name", video)
    if not isinstance(named, str) or named[:_ID_LENGTH] != video:
        raise RowError("video_name", f"must begin with the YouTube id {video}, and is {quoted(named)}")
    start = exact_number(entry, "start_seconds" if "start_seconds" in entry else "start")
    if "end_seconds" in entry:
        stop, field = exact_number(entry, "end_seconds"), "end_seconds"
    else:
        stop, field = start + exact_number(entry, "duration"), "duration"
    if start >= stop:
        raise RowError(
            field, f"the clip ends at {float(stop):g} s, not after its start at {float(start):g} s"
        )
    return AnnotatedClip(
        names=(name,),
        videos=(video,),
        start=start,
        stop=stop,
        crop=_box(entry),
        facts=SourceFacts(identity=f"speakervid5m:{video}"),
        address=watch_address(video),
    )


def _box(entry: dict[str, Any]) -> CropBox | None:
    shares = entry.get("bbox")
    if shares in (None, []):
        return None
    width, height = _pixels(entry, "raw_video_width"), _pixels(entry, "raw_video_height")
    try:
        x, y, w, h = map(exact, shares)
        sides = {"x": x * width, "y": y * height, "width": w * width, "height": h * height}
        return CropBox.model_validate(sides | {"frame_height": height})
    except (TypeError, ValueError) as error:
        raise RowError(
            "bbox", f"must be x, y, width and height in shares of the picture, and is {quoted(shares)}"
        ) from error


def _pixels(entry: dict[str, Any], name: str) -> int:
    side = entry.get(name)
    if not isinstance(side, int) or not 0 < side < 100_000:
        raise RowError(name, f"must be a number of pixels, and is {quoted(side)}")
    return side


def _published_test(path: Path, known: frozenset[str]) -> TestList | None:
    """The clips that ``testset.json`` names, however it nests them; None where there is no such file."""
    if not path.is_file():
        return None
    named: set[str] = set()
    waiting = [read_json_value(path, largest=LARGEST_ANNOTATIONS)]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting += [*value, *value.values()]
        elif isinstance(value, list):
            waiting += value
        elif isinstance(value, str):
            named.add(value.removesuffix(".json") if value.endswith(".json") else plain_stem(value))
    if not known & named:
        raise BadInputError(f"{path}: names no clip of all_data_list.json; get both files from one release")
    return TestList(path=path, names=known & named)
