"""The official test split, where a list of clips says what it is: exactly these clips, and nobody in them elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.names import shown_name
from lipforcing_core.corpora.disk import plain_stem
from lipforcing_core.corpora.protocol import CorpusSource, LeftOut, Omission, TestList, counted
from lipforcing_core.corpora.rows import text_lines
from lipforcing_core.curation.reasons import RejectReason
from lipforcing_core.curation.records import SourceFacts

SAME_PEOPLE = (
    "clips of people in the official test split that are not in it themselves, left out of every split"
)
NOT_FOUND = "clips of the official test list that are not on disk"


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A file that may become a source.

    names: what a list may call it besides the name of its file. range_names: what it may call each range of a whole
    video.
    """

    path: Path
    facts: SourceFacts
    names: tuple[str, ...] = ()
    range_names: tuple[tuple[str, ...], ...] = ()


def read_test_list(path: Path) -> TestList:
    """The names in a file: one a line, with or without folder and suffix; what follows a tab is not read."""
    names = frozenset(plain_stem(line.split("\t")[0].strip()) for _, line in text_lines(path))
    if not names:
        raise BadInputError(
            f"{shown_name(path)}: lists no clips; the official test split needs one name a line"
        )
    return TestList(path=path, names=names)


@dataclass(frozen=True, kw_only=True)
class Divided:
    """The sources with their splits, and what is left out so that nobody is on two sides."""

    sources: tuple[CorpusSource, ...]
    left_out: tuple[LeftOut, ...] = ()
    omitted: dict[Path, Omission] = field(default_factory=dict)


def hold_out(candidates: Sequence[Candidate], test: TestList | None) -> Divided:
    """The sources with the clips of the list as ``test``.

    Of a whole video only the ranges that are listed stay. Other files of the same identity are left out. The split that
    annotations give stays where there is no list.
    """
    if test is None:
        return Divided(sources=tuple(CorpusSource(path=c.path, facts=c.facts) for c in candidates))
    sources: list[CorpusSource] = []
    rest: list[Candidate] = []
    found: set[str] = set()
    mates: list[str] = []
    for candidate in candidates:
        own = test.names.intersection((*candidate.names, plain_stem(candidate.path.name)))
        kept = [i for i, names in enumerate(candidate.range_names) if own or test.names.intersection(names)]
        if not own and not kept:
            rest.append(candidate)
            continue
        found |= own.union(*(test.names.intersection(candidate.range_names[i]) for i in kept))
        mates += [names[0] for i, names in enumerate(candidate.range_names) if i not in kept]
        sources.append(CorpusSource(path=candidate.path, facts=_as_test(candidate.facts, kept)))
    omitted: dict[Path, Omission] = {}
    people = {source.facts.identity for source in sources if source.facts.identity}
    for candidate in rest:
        if candidate.facts.identity in people:
            mates += [names[0] for names in candidate.range_names] or [candidate.path.name]
            words = f"{candidate.facts.identity} is in the official test split, whose list does not name this file"
            omitted[candidate.path] = Omission(reason=RejectReason.HELD_OUT_PERSON, message=words)
        else:
            sources.append(CorpusSource(path=candidate.path, facts=candidate.facts))
    sources.sort(key=lambda source: source.path)
    left_out = (*counted(SAME_PEOPLE, mates), *counted(NOT_FOUND, test.names - found))
    return Divided(sources=tuple(sources), left_out=left_out, omitted=omitted)


def _as_test(facts: SourceFacts, kept: list[int]) -> SourceFacts:
    """The facts of a source of the test split, with these of its ranges."""
    ranges = None if facts.ranges is None else tuple(facts.ranges[i] for i in kept)
    return facts.model_copy(update={"split": "test", "ranges": ranges})
