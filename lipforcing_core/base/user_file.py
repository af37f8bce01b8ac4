"""Files that a user names and that are read whole: text, JSON and TOML, with one sentence for whatever is wrong.

A user's file may be anything: a folder, a pipe that nobody writes to, a device that never ends, bytes that are no text,
brackets a hundred thousand deep, a number of five thousand digits. None of these may hang, fill the memory or end in a
traceback.
"""

from __future__ import annotations

import json
import stat
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.names import shortened, shown_name

LARGEST_TEXT = 64_000_000
"""Bytes; a manifest of a hundred thousand clips has a third of this."""

_LONGEST_PROBLEM = 160
_ABSENT = "there is no such file"


def require_regular(path: Path) -> None:
    """Raise ``BadInputError`` where there is no file, or something that is no regular file (a pipe, a device)."""
    if problem := irregularity(path):
        raise BadInputError(f"{shown_name(path)}: {problem}")


def no_file(path: Path) -> str | None:
    """Why a path is no regular file, as what follows its name: ``does not exist``, ``is a pipe, ...``.

    None where it is one.
    """
    problem = irregularity(path)
    return "does not exist" if problem == _ABSENT else problem


def irregularity(path: Path) -> str | None:
    """Why a path is no regular file, as what follows its name and a colon; None where it is one."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        return _reason(error)
    if stat.S_ISDIR(mode):
        return "is a folder, and a file is wanted"
    return None if stat.S_ISREG(mode) else "is a pipe, a socket or a device, and a regular file is wanted"


def read_text(path: Path | str, *, largest: int = LARGEST_TEXT) -> str:
    """The text of a UTF-8 file of a user, a byte-order mark left out.

    Raises ``BadInputError`` in one sentence for a file that is missing, unreadable, not regular, larger than
    ``largest`` bytes or no UTF-8 text.
    """
    path = Path(path)
    require_regular(path)
    try:
        with open(path, "rb") as stream:
            content = stream.read(largest + 1)
    except OSError as error:
        raise BadInputError(f"{shown_name(path)}: {_reason(error)}") from error
    if len(content) > largest:
        raise BadInputError(
            f"{shown_name(path)}: is larger than {largest / 1e6:g} MB, so it is not what is read here"
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInputError(f"{shown_name(path)} is not UTF-8 text (byte {error.start})") from error


def read_json_value(path: Path | str, *, largest: int = LARGEST_TEXT) -> Any:
    """The value in a JSON file of a user; raises ``BadInputError`` as ``read_text`` does, and for what is no JSON."""
    text = read_text(path, largest=largest)
    try:
        value = json.loads(text, parse_constant=no_constant)
        require_whole_characters(value, text)
        return value
    except (ValueError, RecursionError) as error:
        raise BadInputError(f"{shown_name(path)}: is not readable JSON ({_problem(error)})") from error


def no_constant(name: str) -> Any:
    """For ``parse_constant`` of ``json``: NaN and infinities, which Python reads, raise ``ValueError``."""
    raise ValueError(f"{name} is no number of JSON")


def require_whole_characters(value: Any, text: str) -> None:
    """Raise ``UnicodeEncodeError`` where the JSON in ``text`` holds half a character.

    No file, terminal, table or database takes that. ``value`` is what the text was read into.
    """
    if "\\ud" in text.lower():
        json.dumps(value, ensure_ascii=False).encode("utf-8")


def read_json_object(path: Path | str, *, largest: int = LARGEST_TEXT) -> dict[str, Any]:
    """The names and values of a JSON object; raises as ``read_json_value`` does, and for JSON of another kind."""
    value = read_json_value(path, largest=largest)
    if not isinstance(value, dict):
        raise BadInputError(f"{shown_name(path)}: must hold an object {{...}}, and holds {_kind(value)}")
    return value


def read_toml(path: Path | str, *, largest: int = LARGEST_TEXT) -> dict[str, Any]:
    """The tables of a TOML file of a user; raises ``BadInputError`` as ``read_text`` does, and for what is no TOML."""
    return parse_toml(read_text(path, largest=largest), shown_name(path))


def parse_toml(text: str, where: str) -> dict[str, Any]:
    """The tables in a TOML text; ``BadInputError`` that names ``where`` it comes from, and the line."""
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadInputError(f"{where} is not valid TOML: {_problem(error)}") from error


def field(values: Mapping[str, Any], name: str, kind: type, where: Path | str) -> Any:
    """The value of a field of a JSON object, which must be of a kind; ``BadInputError`` that names it otherwise."""
    if name not in values:
        raise BadInputError(f"{where}: has no {name!r}")
    value = values[name]
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise BadInputError(f"{where}: {name!r} must be {_KIND_NAMES[kind]}, and is {_kind(value)}")
    return value


_KIND_NAMES = {
    str: "a text", int: "a whole number", float: "a number", bool: "true or false", dict: "an object", list: "a list"
}  # fmt: skip


def _kind(value: Any) -> str:
    return "null" if value is None else _KIND_NAMES[type(value)]


def _problem(error: ValueError | RecursionError) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, UnicodeEncodeError):
        return "it holds half a character (a surrogate without its partner)"
    words = str(error).split("\n")[0]
    if "integer string conversion" in words:
        return "it holds a number of thousands of digits"
    plain = words if words.isprintable() else ascii(words)[1:-1]
    return shortened(plain, _LONGEST_PROBLEM)


def _reason(error: OSError | ValueError) -> str:
    if isinstance(error, FileNotFoundError):
        return _ABSENT
    if isinstance(error, ValueError):  # a NUL in the path
        return "is no path of a file"
    return f"cannot be read ({error.strerror})"
