"""Reading presets: by the name of a shipped one, or from a TOML file of the user."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from pathlib import Path

from pydantic import ValidationError

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.settings_mistakes import mistakes
from lipforcing_core.presets.schema import Preset

_SUFFIX = ".toml"


def preset_names() -> list[str]:
    """The names of the presets that ship with the package, sorted."""
    folder = files(__package__)
    return sorted(
        entry.name.removesuffix(_SUFFIX) for entry in folder.iterdir() if entry.name.endswith(_SUFFIX)
    )


def load_preset(name: str | Path) -> Preset:
    """The preset called ``name``, or the one in the TOML file at that path.

    Raises ``BadInputError``: for an unknown name it lists the known ones, for malformed TOML it gives the line, and
    for bad keys and values it has a line for each, with the full name of the key and what is allowed.
    """
    text = str(name)
    if text in preset_names():
        source = files(__package__).joinpath(text + _SUFFIX).read_bytes()
        return _parse(source, f"preset {text!r}")
    if not text.endswith(_SUFFIX):
        known = ", ".join(preset_names())
        raise BadInputError(f"unknown preset {text!r}; known: {known}, or the path of a {_SUFFIX} file")
    try:
        source = Path(text).read_bytes()
    except OSError as error:
        raise BadInputError(f"preset file {text} cannot be read: {error.strerror}") from error
    return _parse(source, text)


def _parse(source: bytes, where: str) -> Preset:
    try:
        values = tomllib.loads(source.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise BadInputError(f"{where} is not UTF-8 text (byte {error.start})") from error
    except tomllib.TOMLDecodeError as error:
        raise BadInputError(f"{where} is not valid TOML: {error}") from error
    try:
        return Preset.model_validate(values)
    except ValidationError as error:
        lines = mistakes(error, Preset)
        raise BadInputError("\n".join(f"{where}: {line}" for line in lines)) from error
