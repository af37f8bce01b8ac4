"""Reading presets: by the name of a shipped one, or from a TOML file of the user."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from pathlib import Path

from pydantic import ValidationError

from lipforcing_core.errors import BadInputError
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

    Raises ``BadInputError`` with one sentence: for an unknown name it lists the known ones, for malformed
    TOML it gives the line, for a bad key or value the full name of the key.
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
        raise BadInputError(f"{where}: {_sentence(error)}") from error


def _sentence(error: ValidationError) -> str:
    """The problems of a validation in one line, each with the dotted name of its key."""
    problems = []
    for problem in error.errors():
        key = ".".join(str(part) for part in problem["loc"]) or "preset"
        if problem["type"] == "extra_forbidden":
            problems.append(f"unknown key {key}")
        elif problem["type"] == "missing":
            problems.append(f"missing key {key}")
        else:
            problems.append(
                f"{key}: {problem['msg'].removeprefix('Value error, ')} (got {problem['input']!r})"
            )
    return "; ".join(problems)
