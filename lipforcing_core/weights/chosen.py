"""The files of a chosen implementation: those a user gives, those of the weights folder, and what is said without them.

These functions serve every seam whose catalogue holds ``FileEntry``s.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from lipforcing_core.base.catalogue import Catalogue, FileEntry
from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.user_file import no_file
from lipforcing_core.weights.missing import Missing, missing_given, missing_in, require_none
from lipforcing_core.weights.registry import find_weight, require_weight

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
    require_none(missing_files(catalogue, name, given))
    return files_beside(catalogue[name], given)


def missing_files(
    catalogue: Catalogue[F],
    name: str,
    given: Path | None,
    *,
    weights_dir: Path | None = None,
    setting: str = "",
) -> list[Missing]:
    """What is to be said of files that the implementation called ``name`` needs and that are not there.

    weights_dir: where the file is looked for if none is given; without it a user must give the path. setting: what
    takes that path. Raises ``BadInputError`` as ``checked_files`` does.
    """
    entry = catalogue[name]
    if given is not None and not entry.files:
        raise BadInputError(f"the {catalogue.kind} {name!r} takes no file, but {given} was given")
    if not entry.weights:
        if given is None or given.is_file():
            return []
        otherwise = f"without it the {catalogue.kind} {name!r} uses the file that is shipped"
        return [Missing(sentence=f"{given} {no_file(given)}; {otherwise}", paths=(given,), setting=setting)]
    spec = find_weight(entry.weights[0])
    if given is None and weights_dir is not None:
        return missing_in(weights_dir, spec)
    if given is None or not given.is_file():
        return [missing_given(spec, given, instead=catalogue.stand_in, setting=setting)]
    for path in files_beside(entry, given)[1:]:
        if not path.is_file():
            sentence = (
                f"{spec.name}: {name} reads {path.name} beside {given.name}, and {path} {no_file(path)}: "
                f"{spec.how_to_get()}, with {path.name} beside it"
            )
            return [Missing(sentence=sentence, paths=(path,), spec=spec, setting=setting)]
    return []
