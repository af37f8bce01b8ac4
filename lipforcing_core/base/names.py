"""Names of files as text that people, tables and pages can hold, and back.

A file name on Linux is any bytes without "/" and NUL. Python stands in for bytes that are not UTF-8 with lone
surrogates, which no UTF-8 file, Parquet column, web page or database takes; a name may also hold a newline or the
escape sequences of a terminal. ``shown_name`` writes both with backslashes, so that a name is one line of plain text
and two names never look alike; ``real_name`` is its inverse. Ordinary names, those with letters of any language too,
stay as they are.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

_FORMATTING = "\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff"
"""Characters that change the direction or the lines of the text around them and are themselves invisible."""

_UNSAFE = re.compile(f"[\x00-\x1f\x7f-\x9f\ud800-\udfff{_FORMATTING}]")
_UNSAFE_IN_MESSAGE = re.compile(f"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff{_FORMATTING}]")
_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}
_LONG = {short: character for character, short in _SHORT.items()} | {r"\\": "\\"}
_NOT_UTF8 = re.compile("[\ud800-\udfff]")
_ESCAPED_BYTE = re.compile(r"\\x[89a-f][0-9a-f]")
_ESCAPE = re.compile(r"\\(?:[\\nrt]|x[0-9a-f]{2}|u[0-9a-f]{4})")


def shown_name(name: str | bytes | os.PathLike[str]) -> str:
    r"""A file name or path as one line of plain text: ``caf\xe9.mp4`` for a byte that is not UTF-8, ``\n``, ``\x1b``.

    A backslash is doubled, so that nothing else reads like an escape.
    """
    return _UNSAFE.sub(_escaped, os.fsdecode(name).replace("\\", r"\\"))


def real_name(shown: str) -> str:
    """The name that ``shown_name`` has written; text that is no escape stays as it is."""
    return _ESCAPE.sub(_unescaped, shown)


def path_in(folder: Path, text: str) -> Path:
    """The path below ``folder`` that a list of a user names, plainly or as ``shown_name`` writes it."""
    plain = folder / text
    if os.path.lexists(plain) or real_name(text) == text:
        return plain
    return folder / real_name(text)


def path_as_text(path: Path) -> str:
    """A path for JSON, which takes no bytes that are not UTF-8: as it is, or else as ``shown_name`` writes it."""
    text = str(path)
    return shown_name(text) if _NOT_UTF8.search(text) or _ESCAPED_BYTE.search(text) else text


def path_from_text(text: str) -> Path:
    """The path that ``path_as_text`` has written; text in which no byte is escaped is a path as it stands."""
    return Path(real_name(text) if _ESCAPED_BYTE.search(text) else text)


def printable(message: str) -> str:
    """Text with every character escaped that a terminal would act on; newlines and tabs stay, backslashes too.

    For messages and foreign words, which are read and never turned back.
    """
    return _UNSAFE_IN_MESSAGE.sub(_escaped, message)


def shortened(text: str, longest: int) -> str:
    """A text of which a message shows no more than the first ``longest`` characters."""
    return text if len(text) <= longest else f"{text[:longest]}..."


def _escaped(match: re.Match[str]) -> str:
    character = match.group()
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x80:
        return _SHORT.get(character, f"\\x{code:02x}")
    return f"\\u{code:04x}"


def _unescaped(match: re.Match[str]) -> str:
    escape = match.group()
    if escape in _LONG:
        return _LONG[escape]
    code = int(escape[2:], 16)
    return chr(code if escape[1] == "u" or code < 0x80 else 0xDC00 + code)
