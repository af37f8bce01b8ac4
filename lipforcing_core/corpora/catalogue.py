"""The corpora that can be curated. Each lives in a file of its own and is imported only when it is loaded."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from lipforcing_core.base.catalogue import Catalogue, Entry, either
from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.licences import commercial_use
from lipforcing_core.base.names import shown_name
from lipforcing_core.curation.sources import TABLE_NAME, sidecar_of

if TYPE_CHECKING:
    from lipforcing_core.corpora.protocol import Corpus, CorpusListing, TestList

BY_PERSON = "train and val by person"


@dataclass(frozen=True, kw_only=True)
class CorpusEntry(Entry):
    """One corpus.

    load: makes its reader. on_disk: what must be on disk, for people. split: where the split comes from, for people.
    ``licence`` is that of the footage and its annotations, and goes into the facts of every source; empty where the
    side information says it. test_sizes: how many clips an official test list has; empty where no list is taken.
    holds_test: whether the corpus itself may say which clips the official test split has.
    """

    load: Callable[[], Corpus]
    on_disk: str
    split: str
    test_sizes: tuple[int, ...] = ()
    holds_test: bool = False


def _folder() -> Corpus:
    from lipforcing_core.corpora.folder import Folder

    return Folder()


def _manifest() -> Corpus:
    from lipforcing_core.corpora.manifest import Manifest

    return Manifest()


def _hdtf() -> Corpus:
    from lipforcing_core.corpora.hdtf import Hdtf

    return Hdtf()


def _voxceleb2() -> Corpus:
    from lipforcing_core.corpora.voxceleb2 import VoxCeleb2

    return VoxCeleb2()


def _hallo3() -> Corpus:
    from lipforcing_core.corpora.hallo3 import Hallo3

    return Hallo3()


def _talkvid() -> Corpus:
    from lipforcing_core.corpora.talkvid import TalkVid

    return TalkVid()


def _speakervid5m() -> Corpus:
    from lipforcing_core.corpora.speakervid5m import SpeakerVid5M

    return SpeakerVid5M()


CORPORA = Catalogue(
    kind="corpus",
    kinds="corpora",
    entries=(
        CorpusEntry(
            name="folder",
            summary="any folder of videos, with sidecars or sources.csv",
            load=_folder,
            on_disk="videos; `<video>.meta.json` beside them or one `sources.csv`",
            split=f"column `split`, else {BY_PERSON}",
        ),
        CorpusEntry(
            name="manifest",
            summary="a table with one row a source: CSV, Parquet or JSON lines",
            load=_manifest,
            on_disk="`.csv`, `.parquet` or `.jsonl` with a column `path`, above its files",
            split=f"column `split`, else {BY_PERSON}",
        ),
        CorpusEntry(
            name="hdtf",
            summary="HDTF: annotation files of YouTube videos with times and crops",
            licence="CC BY 4.0 (annotations); YouTube videos of their owners",
            load=_hdtf,
            on_disk="`XX_video_url.txt`, `XX_annotion_time.txt`, `XX_crop_wh.txt`, `XX_resolution.txt` (RD, WDA, "
            "WRA), at the root or in `HDTF_dataset/`; videos whole (`Radio11.mp4`) or cut (`Radio11_0.mp4`, "
            "`RD_Radio11_000.mp4`)",
            split=f"test: your list of the official 33 clips, which HDTF does not publish; else {BY_PERSON}",
            test_sizes=(33,),
        ),
        CorpusEntry(
            name="voxceleb2",
            summary="VoxCeleb2: clips by person and video, sound beside them",
            licence="research only (CC BY 4.0 metadata); YouTube videos of their owners",
            load=_voxceleb2,
            on_disk="`dev/mp4/id00012/<video>/00001.mp4` and `test/...`; `aac/` with `.m4a`, `txt/` and "
            "`vox2_meta.csv` if you have them",
            split=f"test: the set `test`; `dev`: {BY_PERSON}",
        ),
        CorpusEntry(
            name="hallo3",
            summary="Hallo3's training data: videos and captions",
            licence="CC BY-NC-ND 4.0",
            load=_hallo3,
            on_disk="`videos/0001.mp4`, `caption/0001.txt` (the unpacked archives)",
            split="test: your list of the official 10 or 30 clips, which are not published; else train and val by file",
            test_sizes=(10, 30, 40),
        ),
        CorpusEntry(
            name="talkvid",
            summary="TalkVid: a JSON list of clips with person, language and times",
            licence="CC BY-NC 4.0",
            load=_talkvid,
            on_disk="`filtered_video_clips.json` (or `..._with_captions.json`), at the root or in `data/`; clips as "
            "its script downloads them (`<video>/<video>_001_10.500_25.300.mp4`), `videos/<id>.mp4`, or "
            "whole videos",
            split=f"test: your list of the 30 clips, which is not published; else {BY_PERSON}",
            test_sizes=(30,),
        ),
        CorpusEntry(
            name="speakervid5m",
            summary="SpeakerVid-5M: a JSON file for each clip, with times and boxes",
            licence="non-commercial: research and education only; YouTube videos of their owners",
            load=_speakervid5m,
            on_disk="`all_data_list.json`, `merged_anno/<clip>.json`, at the root or in `annotations/`; `<YouTube "
            "id>.mp4` or `<clip>.mp4`; `testset.json` if you have it",
            split="test: `testset.json`, or your list; else train and val by video",
            test_sizes=(500,),
            holds_test=True,
        ),
    ),
)


def read_corpus(name: str, given: Path, test_list: Path | None = None) -> CorpusListing:
    """List the sources of the corpus called ``name``: of the folder or file ``given``.

    ``test_list`` is a file with one clip of the official test split a line. Raises ``BadInputError`` for an unknown
    name, for another layout than the published one, and for a list that cannot be used.
    """
    from lipforcing_core.corpora.manifest import SUFFIXES

    entry = CORPORA[name]
    if name == CORPORA.default and given.suffix.lower() in SUFFIXES and given.is_file():
        raise BadInputError(
            f'{shown_name(given)}: is a table and no video; `--corpus manifest` (corpus = "manifest" in a request) '
            "reads the videos that it names"
        )
    test = _test_list(entry, test_list)
    listing = entry.load().read(given, test)
    warnings = [*listing.warnings, *_about_the_test(entry, test)]
    if name != CORPORA.default:
        warnings += _without_effect(entry, listing, given)
    listing = replace(listing, warnings=(*warnings, *_without_consent(listing)))
    if not listing.sources:
        told = "; ".join([*listing.lines(), *map(str, listing.problems[:3])])
        raise BadInputError(f"{given}: no source of {name} can be used: {told}")
    if not entry.licence:
        return listing
    rights = {"dataset": name, "licence": entry.licence, "commercial_ok": commercial_use(entry.licence)}
    sources = (replace(s, facts=s.facts.model_copy(update=rights)) for s in listing.sources)
    return replace(listing, sources=tuple(sources))


def _without_effect(entry: CorpusEntry, listing: CorpusListing, given: Path) -> list[str]:
    """Side information as a plain folder may have it, which a corpus with facts of its own does not read."""
    table = listing.root / TABLE_NAME
    found = [table] if table.is_file() and table != given else []
    sidecars = [path for source in listing.sources if os.path.lexists(path := sidecar_of(source.path))]
    why = f"the facts of {entry.name} are its {'annotations' if entry.licence else 'rows'}"
    more = f" and {len(sidecars) - 1} more like it" if len(sidecars) > 1 else ""
    lines = [f"{shown_name(path)}: has no effect, since {why}" for path in found]
    return lines + [f"{shown_name(path)}{more}: has no effect, since {why}" for path in sidecars[:1]]


def _without_consent(listing: CorpusListing) -> list[str]:
    """A line for sources of which it is said that somebody in them does not agree."""
    denied = [s.path for s in listing.sources if s.facts.consent_denied]
    if not denied:
        return []
    shown = shown_name(denied[0].relative_to(listing.root))
    sources = "1 source is" if len(denied) == 1 else f"{len(denied)} sources are"
    return [f"{sources} without consent (for example {shown}), and rejected as consent_denied"]


def _test_list(entry: CorpusEntry, path: Path | None) -> TestList | None:
    from lipforcing_core.corpora.official_test import read_test_list

    if path is None:
        return None
    if not entry.test_sizes:
        taking = either([e.name for e in CORPORA if e.test_sizes])
        raise BadInputError(
            f"{path}: the corpus {entry.name} takes no list of test clips ({taking} does); {entry.split}"
        )
    return read_test_list(path)


def _about_the_test(entry: CorpusEntry, test: TestList | None) -> list[str]:
    sizes = either([str(size) for size in entry.test_sizes])
    if test is None and entry.test_sizes and not entry.holds_test:
        return [
            f"{entry.name}: the clips of the official test split ({sizes}) are not published with the corpus, so "
            "nothing is held out for it; give their names with --test-list FILE, one a line"
        ]
    if test is not None and len(test.names) not in entry.test_sizes:
        return [
            f"{test.path}: lists {len(test.names)} of the clips, and the official test split of {entry.name} has "
            f"{sizes}"
        ]
    return []
