"""The plain table behind every seam: which implementations there are, what each needs, what people call it.

A seam is a folder with ``protocol.py`` (what an implementation can do), one file an implementation, and
``catalogue.py``, which holds a ``Catalogue``. Help texts, validation and its messages, needed weights, ``lipforcing
doctor`` and the tier tables are all derived from it, so a new implementation is its file and one entry.

A seam extends ``Entry`` by a field ``load``: a function that imports the implementation when it is called.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.suggestions import unknown

if TYPE_CHECKING:
    from pydantic import AfterValidator


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One implementation of a seam.

    name: what users call it. summary: one sentence for people, without the name. weights: the registered checkpoints
    that it reads (``lipforcing weights list``). licence: what restricts its use; empty where nothing does.
    """

    name: str
    summary: str
    weights: tuple[str, ...] = ()
    licence: str = ""

    @property
    def is_embedded(self) -> bool:
        """Whether it works without a downloaded file."""
        return not self.weights

    @property
    def lacks(self) -> str:
        """What else this machine has not got for it, such as a device; empty where nothing is missing."""
        return ""


@dataclass(frozen=True, kw_only=True)
class FileEntry(Entry):
    """An implementation whose model file a user may name; ``weights.chosen`` finds and checks the files.

    files: what the files that it reads are called. The first is the one whose path a user gives, and is the first file
    of the first of ``weights``; the others are read beside it. Empty where it reads none. An implementation with files
    and without ``weights`` ships them with the package.
    """

    files: tuple[str, ...] = ()


E = TypeVar("E", bound=Entry)
F = TypeVar("F", bound=FileEntry)


@dataclass(frozen=True, kw_only=True)
class Catalogue(Generic[E]):
    """All implementations of a seam, in the order of help texts; the first is the default.

    kind: what one of them is, in the singular ("face detector"). kinds: what several of them are, where that is not
    as regular as most words are ("corpora").
    """

    kind: str
    entries: tuple[E, ...]
    kinds: str | None = None

    def __iter__(self) -> Iterator[E]:
        return iter(self.entries)

    def __getitem__(self, name: str) -> E:
        """The entry called ``name``; raises ``BadInputError`` that lists the known names."""
        for entry in self.entries:
            if entry.name == name:
                return entry
        raise BadInputError(unknown(self.kind, name, self.names))

    def __contains__(self, name: object) -> bool:
        return name in self.names

    @property
    def plural(self) -> str:
        """What all of them are."""
        if self.kinds is not None:
            return self.kinds
        return f"{self.kind[:-1]}ies" if self.kind.endswith("y") else f"{self.kind}s"

    @property
    def names(self) -> tuple[str, ...]:
        """What can be chosen."""
        return tuple(entry.name for entry in self.entries)

    @property
    def default(self) -> str:
        """The name of the entry that is used where nobody chooses."""
        return self.entries[0].name

    @property
    def stand_in(self) -> str | None:
        """The name of the first entry that works without a downloaded file; None where all need one."""
        return next((entry.name for entry in self.entries if entry.is_embedded), None)

    @property
    def choices(self) -> str:
        """The names in a sentence: ``one, another or a third``."""
        return either(self.names)

    @property
    def help(self) -> str:
        """One line for a help text: what is chosen, and from what."""
        return f"{self.kind[0].upper()}{self.kind[1:]}: {self.choices}."

    @property
    def choice(self) -> AfterValidator:
        """For ``Annotated[str, CATALOGUE.choice]`` in a settings model: refuses names that are not in the table."""
        return self.choice_or()

    def choice_or(self, *others: str) -> AfterValidator:
        """As ``choice``, with more words that stand for a choice: ``auto``."""
        from pydantic import AfterValidator

        return AfterValidator(Choice(self, others))


@dataclass(frozen=True, eq=False)
class Choice:
    """Refuses what is none of ``names`` in the settings model that it validates. others: words beside the names."""

    catalogue: Catalogue[Any]
    others: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """What may be chosen."""
        return (*self.others, *self.catalogue.names)

    def __call__(self, name: Any) -> Any:
        """The name; raises what pydantic makes a mistake of."""
        if name not in self.names:
            from pydantic_core import PydanticCustomError

            message = unknown(self.catalogue.kind, name, self.names)
            raise PydanticCustomError("unknown_choice", "{message}", {"message": message})
        return name


def file_help(catalogue: Catalogue[F]) -> str:
    """One line for the help of an option that takes the model file: how it is called, by choice."""
    told = []
    for entry in catalogue:
        if entry.files:
            first, *others = entry.files
            beside = f" with {' and '.join(others)} beside it" if others else ""
            told.append(f"{entry.name}: {first}{beside}" + (", shipped" if entry.is_embedded else ""))
    return (
        f"File of the {catalogue.kind} ({'; '.join(told)})." if told else f"No {catalogue.kind} takes a file."
    )


def either(names: Sequence[str]) -> str:
    """The names as a choice in a sentence: ``one, another or a third``; empty where there are none."""
    *others, last = names or [""]
    return f"{', '.join(others)} or {last}" if others else last
