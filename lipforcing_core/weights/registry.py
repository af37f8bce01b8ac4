"""The registry of external checkpoints: what each is, where it comes from, and whether it is here."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from enum import StrEnum
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from lipforcing_core.base.errors import BadInputError, MissingWeightsError
from lipforcing_core.base.suggestions import unknown
from lipforcing_core.weights.missing import missing_given, missing_in, require_none
from lipforcing_core.weights.spec import WeightFile, WeightSpec


class WeightState(StrEnum):
    """What a look at the folder tells of a checkpoint."""

    MISSING = "missing"
    PARTIAL = "partly here"
    PRESENT = "present"
    WRONG_SIZE = "wrong size"


@lru_cache(maxsize=1)
def all_weights() -> tuple[WeightSpec, ...]:
    """Every registered checkpoint, in the order of the registry file."""
    text = files(__package__).joinpath("registry.toml").read_text(encoding="utf-8")
    return tuple(_spec(entry) for entry in tomllib.loads(text)["weight"])


def find_weight(name: str) -> WeightSpec:
    """The spec called ``name``; raises ``BadInputError`` that lists the known names."""
    for spec in all_weights():
        if spec.name == name:
            return spec
    raise BadInputError(unknown("weights", name, (spec.name for spec in all_weights())))


def state_of(spec: WeightSpec, weights_dir: Path) -> WeightState:
    """Whether the files are there, with the sizes that are registered. Contents are not read (see ``verify``)."""
    here = [
        (file, path) for file, path in zip(spec.files, spec.paths(weights_dir), strict=True) if path.is_file()
    ]
    if not here:
        return WeightState.MISSING
    if any(file.size not in (None, path.stat().st_size) for file, path in here):
        return WeightState.WRONG_SIZE
    return WeightState.PARTIAL if spec.missing(weights_dir) else WeightState.PRESENT


def require_weight(name: str, weights_dir: Path) -> Path:
    """First file of a checkpoint that is here; raises ``MissingWeightsError`` saying how to get it otherwise."""
    return require_weights(name, weights_dir)[0]


def given_weight(name: str, given: Path | None, *, instead: str | None = None) -> Path:
    """``given``, the path that a user named for the file of the registered weights ``name``.

    Raises ``MissingWeightsError`` where it is None or not there, saying how to get the file and that ``instead``
    (another setting, where there is one) needs none.
    """
    if given is None or not Path(given).is_file():
        raise MissingWeightsError(missing_given(find_weight(name), given, instead=instead).sentence)
    return Path(given)


def require_weights(name: str, weights_dir: Path) -> list[Path]:
    """Where all files of a checkpoint are; raises ``MissingWeightsError`` with how to get it if a needed one is not."""
    spec = find_weight(name)
    require_none(missing_in(weights_dir, spec))
    return spec.paths(weights_dir)


def require_all_weights(names: Iterable[str], weights_dir: Path | None) -> None:
    """Raise one ``MissingWeightsError`` for all needed files of these checkpoints that are not in the folder.

    Of one checkpoint it says what ``require_weights`` does, of several what ``missing.require_none`` does. A folder
    must be given only where there are names.
    """
    specs = [find_weight(name) for name in dict.fromkeys(names)]
    if not specs:
        return
    if weights_dir is None:
        needed = ", ".join(spec.name for spec in specs)
        raise MissingWeightsError(f"{needed} must be downloaded, and no weights folder was given")
    require_none([missing for spec in specs for missing in missing_in(weights_dir, spec)])


def _spec(entry: dict[str, Any]) -> WeightSpec:
    return WeightSpec(**(entry | {"files": tuple(WeightFile(**file) for file in entry["files"])}))
