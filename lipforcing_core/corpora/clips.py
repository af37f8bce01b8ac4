"""Clips that annotations describe, found on disk: each cut already into a file of its own, or still in its whole
video."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from lipforcing_core.corpora.disk import Disk
from lipforcing_core.corpora.official_test import Candidate
from lipforcing_core.corpora.protocol import LeftOut, Omission, by_rule, counted
from lipforcing_core.curation.official import CropBox, Origin, TimeRange
from lipforcing_core.curation.records import SourceFacts

NOT_ON_DISK = "clips of the annotations that are not on disk"
UNKNOWN = "videos that no usable row of the annotations names"
OTHER_PEOPLE = "clips of further people in a whole video, which stands for one person"
OVERLAPPING = "clips that overlap an earlier one of the same whole video"
CUT_ALREADY = "whole videos whose clips lie beside them as files of their own"


@dataclass(frozen=True, kw_only=True)
class AnnotatedClip:
    """One clip of a corpus.

    names: stems that a file with this clip alone may have; the first is what lists of clips call it. videos: stems that
    the whole video may have. start, stop: seconds in the whole video. facts: of the clip, without times.
    """

    names: tuple[str, ...]
    videos: tuple[str, ...]
    start: Fraction
    stop: Fraction
    crop: CropBox | None
    facts: SourceFacts
    address: str | None = None

    @property
    def times(self) -> TimeRange:
        """Where the clip lies in its whole video."""
        return TimeRange(start_s=str(self.start), stop_s=str(self.stop), crop=self.crop)


@dataclass(frozen=True, kw_only=True)
class Matched:
    """The files of the clips that are on disk, and what could not be used; ``omitted`` are all other files on disk."""

    candidates: list[Candidate]
    left_out: tuple[LeftOut, ...]
    omitted: dict[Path, Omission]


@dataclass
class _Pile:
    missing: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    overlapping: list[str] = field(default_factory=list)
    replaced: set[Path] = field(default_factory=set)


def match_clips(
    clips: Iterable[AnnotatedClip],
    disk: Disk,
    *,
    broken: Mapping[str, Omission] | None = None,
    refused: Mapping[str, Omission] | None = None,
    sound_of: Callable[[Path], str | None] = lambda path: None,
) -> Matched:
    """Find the file of every clip.

    A clip that has a file of its own is taken from there, with where it comes from as ``origin``. Of a whole video
    the clips become its ranges. ``broken`` are the stems that malformed rows are about, or that are known and no
    sources; ``refused`` are the first names of clips that are not used though a row describes them, since another row
    contradicts it. Both are asked when all clips have been read. ``sound_of`` gives the separate sound of a file.
    """
    pile = _Pile()
    refused = {} if refused is None else refused
    found: dict[Path, Candidate] = {}
    whole: dict[Path, list[AnnotatedClip]] = defaultdict(list)
    for clip in clips:
        cut = _files(clip.names, disk)
        originals = _files(clip.videos, disk)
        if cut:
            for path in cut:
                found.setdefault(path, _cut(clip, path, sound_of(path)))
            pile.replaced.update(originals)
        elif originals:
            for path in originals:
                whole[path].append(clip)
        else:
            pile.missing.append(clip.names[0])
    omitted: dict[Path, Omission] = {}
    for path in [path for path, candidate in found.items() if candidate.names[0] in refused]:
        omitted[path] = refused[found.pop(path).names[0]]
    for path, inside in whole.items():
        if kept := [clip for clip in inside if clip.names[0] not in refused]:
            found.setdefault(path, _whole(kept, path, sound_of(path), pile))
        elif path not in found:
            omitted.setdefault(path, refused[inside[0].names[0]])
    unknown = []
    for stem, paths in disk.videos.items():
        for path in paths:
            if path in found or path in omitted:
                continue
            if path in pile.replaced:
                omitted[path] = by_rule("its clips lie beside it as files of their own")
            elif broken and stem in broken:
                omitted[path] = broken[stem]
            else:
                omitted[path] = by_rule("no usable row of the annotations names it")
                unknown.append(path.relative_to(disk.root).as_posix())
    left_out = (
        *counted(NOT_ON_DISK, pile.missing),
        *counted(UNKNOWN, unknown),
        *counted(OTHER_PEOPLE, pile.others),
        *counted(OVERLAPPING, pile.overlapping),
        *counted(CUT_ALREADY, (path.name for path in pile.replaced.difference(found))),
    )
    return Matched(candidates=[found[path] for path in sorted(found)], left_out=left_out, omitted=omitted)


def _files(stems: Sequence[str], disk: Disk) -> list[Path]:
    return [path for stem in dict.fromkeys(stems) for path in disk.videos.get(stem, ())]


def _cut(clip: AnnotatedClip, path: Path, sound: str | None) -> Candidate:
    origin = Origin(address=clip.address, start_s=str(clip.start), stop_s=str(clip.stop), crop=clip.crop)
    facts = clip.facts.model_copy(update={"origin": origin, "audio": sound})
    return Candidate(path=path, facts=facts, names=clip.names)


def _whole(inside: list[AnnotatedClip], path: Path, sound: str | None, pile: _Pile) -> Candidate:
    """A whole video with its clips as ranges: those of the person who is seen longest, none of which overlap."""
    by_facts: dict[str, list[AnnotatedClip]] = defaultdict(list)
    for clip in inside:
        by_facts[repr(clip.facts)].append(clip)
    kept = max(by_facts.values(), key=lambda group: sum(clip.stop - clip.start for clip in group))
    pile.others += [clip.names[0] for group in by_facts.values() if group is not kept for clip in group]
    apart: list[AnnotatedClip] = []
    for clip in sorted(kept, key=lambda clip: (clip.start, clip.stop)):
        if apart and clip.start < apart[-1].stop:
            pile.overlapping.append(clip.names[0])
        else:
            apart.append(clip)
    origin = Origin(address=apart[0].address) if apart[0].address else None
    update = {"ranges": tuple(clip.times for clip in apart), "audio": sound, "origin": origin}
    facts = apart[0].facts.model_copy(update=update)
    return Candidate(path=path, facts=facts, range_names=tuple(clip.names for clip in apart))
