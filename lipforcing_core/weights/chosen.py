"""The files of a chosen implementation: those a user gives, those of the weights folder, and what is said without them.

These functions serve every seam whose catalogue holds ``FileEntry``s.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from lipforcing_core.base.catalogue import Catalogue, FileEntry
from lipforcing_core.base.errors import BadInputError, MissingWeightsError
from lipforcing_core.weights.registry import find_weight, given_weight, require_weight

F = TypeVar("F", bound=FileEntry)


def weights_to_find(entry: FileEntry, given: Path | None) -> tuple[str, ...]:
    """The registered weights that must be in the weights folder: none where the user gives the file."""
    return () if given is not None else entry.weights


def registered_file(entry: FileEntry, given: Path | None, weights_dir: Path) -> Path | None:
    """The file given, else the one in the weights folder; None where the implementation needs no downloaded file.

    Raises ``MissingWeightsError`` saying how to get a file that is needed and nowhere.
    """
    if given is not None or not entry.weights:
        return given
    return require_weight(entry.weights[0], weights_dir)


def files_beside(entry: FileEntry, given: Path | None) -> tuple[Path, ...]:
    """All files that the implementation reads when the user gives one; none where nothing is given."""
    return () if given is None else (given, *(given.with_name(name) for name in entry.files[1:]))


def checked_files(catalogue: Catalogue[F], name: str, given: Path | None) -> tuple[Path, ...]:
    """All files that the implementation called ``name`` reads, or none where it goes by what the package ships.

    Raises ``BadInputError`` for an unknown name, or for a file given to an implementation that reads none, and
    ``MissingWeightsError`` where a file is not there, saying how to get it and which choice needs none.
    """
    entry = catalogue[name]
    if given is not None and not entry.files:
        raise BadInputError(f"the {catalogue.kind} {name!r} takes no file, but {given} was given")
    if not entry.weights:
        if given is not None and not given.is_file():
            raise MissingWeightsError(
                f"{given} does not exist; without it the {catalogue.kind} {name!r} uses the file that is shipped"
            )
        return files_beside(entry, given)
    files = files_beside(entry, given_weight(entry.weights[0], given, instead=catalogue.stand_in))
    for path in files[1:]:
        if not path.is_file():
            spec = find_weight(entry.weights[0])
            raise MissingWeightsError(
                f"{spec.name}: {name} reads {path.name} beside {files[0].name}, and {path} does not exist: "
                f"{spec.how_to_get()}, with {path.name} beside it"
            )
    return files
