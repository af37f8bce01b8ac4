"""What a corpus is: a published layout on disk, read into sources with everything that its annotations say of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from lipforcing_core.base.names import shown_name
from lipforcing_core.curation.reasons import RejectReason
from lipforcing_core.curation.records import SourceFacts
from lipforcing_core.curation.sources import IgnoredFiles, source_name


@dataclass(frozen=True, kw_only=True)
class CorpusSource:
    """A media file of a corpus, and what is known of it."""

    path: Path
    facts: SourceFacts


@dataclass(frozen=True, kw_only=True)
class CorpusProblem:
    """A row of an annotation file that cannot be used; the footage that it is about is left out.

    file: relative to the root of the corpus. line: of that file, counted from 1; None for a file that is one row.
    field: what the format calls the part that is wrong.
    """

    file: str
    line: int | None
    field: str
    message: str

    def __str__(self) -> str:
        line = f", line {self.line}" if self.line else ""
        return f"{self.file}{line}, {self.field}: {self.message}"


@dataclass(frozen=True, kw_only=True)
class Omission:
    """Why a media file of a corpus is no source: the reason, and what the corpus says, in a clause for people."""

    reason: RejectReason
    message: str


def unusable(problem: CorpusProblem) -> Omission:
    """The omission of a file that a row is about which cannot be used."""
    return Omission(reason=RejectReason.ANNOTATION_UNUSABLE, message=str(problem))


def by_rule(message: str) -> Omission:
    """The omission of a file that the corpus is not about, or that it holds in another form too."""
    return Omission(reason=RejectReason.LEFT_OUT_BY_CORPUS, message=message)


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """Things of one kind that the corpus names or holds and that are no sources: how many, and the first by name."""

    what: str
    num: int
    example: str

    @property
    def line(self) -> str:
        """One line for people."""
        return f"{self.what}: {self.num} (for example {self.example})"


@dataclass(frozen=True, kw_only=True)
class CorpusListing:
    """A corpus as it lies on disk.

    root: the folder that names are relative to. sources: sorted by path. ignored: files that are no part of it, by
    kind. problems: rows of annotations that cannot be used. left_out: what is not there, or not for use. warnings:
    one line each. omitted: every media file below the root that was seen and is no source.
    """

    root: Path
    sources: tuple[CorpusSource, ...]
    ignored: tuple[IgnoredFiles, ...] = ()
    problems: tuple[CorpusProblem, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    warnings: tuple[str, ...] = ()
    omitted: Mapping[Path, Omission] = field(default_factory=dict)

    def facts(self) -> dict[str, SourceFacts]:
        """What is known of each source, by its name; sources of which nothing is known are left out."""
        nothing = SourceFacts()
        return {source_name(s.path, self.root): s.facts for s in self.sources if s.facts != nothing}

    def lines(self) -> tuple[str, ...]:
        """Everything that a person should hear of, one line each."""
        return (*self.warnings, *(entry.line for entry in self.left_out))


class Corpus(Protocol):
    """A published layout."""

    def read(self, given: Path, test: TestList | None) -> CorpusListing:
        """List the sources below the folder ``given``, or in the manifest file ``given``.

        ``test`` names the clips of the official test split, where the corpus does not say itself which they are. A file
        that the annotations name and that is not there is counted, and a malformed row becomes a problem. Every media
        file that is there is a source or omitted. Raises ``BadInputError`` where the layout is another one: it says
        what must be on disk.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class TestList:
    """Names of clips, without folder and suffix, as a file lists them."""

    __test__ = False

    path: Path
    names: frozenset[str]


def counted(what: str, names: Iterable[str]) -> tuple[LeftOut, ...]:
    """The line for these names; none where there are none."""
    found = sorted(names)
    return (LeftOut(what=what, num=len(found), example=shown_name(found[0])),) if found else ()
