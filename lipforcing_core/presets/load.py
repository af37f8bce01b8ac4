"""Reading presets: by the name of a shipped one, or from a TOML file of the user, which may say only what differs."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.layers import EXTENDS, apply_overrides, read_layers, resolve_layers
from lipforcing_core.base.settings_mistakes import mistakes
from lipforcing_core.base.user_file import read_toml
from lipforcing_core.presets.schema import Preset

_SUFFIX = ".toml"


def preset_names() -> list[str]:
    """The names of the presets that ship with the package, sorted."""
    folder = files(__package__)
    return sorted(
        entry.name.removesuffix(_SUFFIX) for entry in folder.iterdir() if entry.name.endswith(_SUFFIX)
    )


def load_preset(name: str | Path, *, overrides: Sequence[str] = ()) -> Preset:
    """The preset called ``name``, or the one in the TOML file at that path, with ``section.key=value`` laid over it.

    A file that extends another preset (``base.layers``) and gives no name of its own is called after the file.
    Raises ``BadInputError``: for an unknown name it lists the known ones, for malformed TOML it gives the line, and
    for bad keys and values it has a line for each, with the full name of the key and what is allowed.
    """
    text = str(name)
    values = shipped_values(text)
    where = f"preset {text!r}"
    if values is None:
        if not text.endswith(_SUFFIX):
            known = ", ".join(preset_names())
            raise BadInputError(f"unknown preset {text!r}; known: {known}, or the path of a {_SUFFIX} file")
        path, where = Path(text), text
        own = read_toml(path)
        values = read_layers(path, named=shipped_values)
        if EXTENDS in own and "name" not in own:
            values["name"] = path.stem
    if overrides:
        values = apply_overrides(values, overrides)
        where += "".join(f" --set {override}" for override in overrides)
    return check_preset(values, where)


def make_preset(values: Mapping[str, Any], where: str = "preset", *, folder: Path | None = None) -> Preset:
    """The preset that these values describe, whole or as what differs from the one that ``extends`` names.

    folder: what the path of a base is relative to; default: the working folder. Raises ``BadInputError`` as
    ``load_preset`` does, its lines beginning with ``where``.
    """
    return check_preset(resolve_layers(values, where, named=shipped_values, folder=folder or Path()), where)


def shipped_values(name: str) -> dict[str, Any] | None:
    """The values of the shipped preset of that name, unchecked; None where there is none."""
    if name not in preset_names():
        return None
    return tomllib.loads(files(__package__).joinpath(name + _SUFFIX).read_text(encoding="utf-8"))


def check_preset(values: Mapping[str, Any], where: str) -> Preset:
    """The preset that these values describe in full; raises ``BadInputError`` with a line for each mistake."""
    try:
        return Preset.model_validate(values)
    except ValidationError as error:
        lines = mistakes(error, Preset)
        raise BadInputError("\n".join(f"{where}: {line}" for line in lines)) from error
