"""The SHA-256 of files that many steps read: once in a process, and of large weight files once for all.

A process remembers a hash for as long as the file keeps its place, size and times. That of a weight file is noted
beside it as well: ``FILE.sha256.json`` holds it with the size and the modification time, and counts for as long as
both are those of the file. To have a file hashed again, remove the note and start anew (or run
``lipforcing weights verify``, which uses neither).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from lipforcing_core.products import file_sha256, read_json, write_json

Progress = Callable[[int, int], None]
"""Called with (bytes done, bytes in all)."""

_BLOCK = 1 << 24

_read: dict[tuple[int, ...], str] = {}


def sha256_once(path: Path) -> str:
    """Hex SHA-256 of a file, read at most once in this process while it does not change; nothing is written.

    Raises ``FileNotFoundError`` if there is no file.
    """
    identity = _identity(path.stat())
    if identity not in _read:
        _read[identity] = file_sha256(path)
    return _read[identity]


def remembered_sha256(path: Path, on_progress: Progress | None = None) -> str:
    """Hex SHA-256 of a file, from its note where that is still about this file.

    Otherwise the file is read, unless this process has (``on_progress`` follows), and the note written where the
    folder can be written to. Raises ``FileNotFoundError`` if there is no file.
    """
    state = path.stat()
    facts = {"size": state.st_size, "mtime_ns": state.st_mtime_ns}
    note = path.with_name(path.name + ".sha256.json")
    with suppress(OSError, json.JSONDecodeError, TypeError, KeyError):
        noted = read_json(note)
        if {key: noted[key] for key in facts} == facts:
            return str(noted["sha256"])
    identity = _identity(state)
    if identity not in _read:
        _read[identity] = _sha256(path, state.st_size, on_progress)
    with suppress(OSError):
        write_json(note, facts | {"sha256": _read[identity]})
    return _read[identity]


def _identity(state: os.stat_result) -> tuple[int, ...]:
    return state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns


def _sha256(path: Path, size: int, on_progress: Progress | None) -> str:
    digest, done = hashlib.sha256(), 0
    with open(path, "rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
            done += len(block)
            if on_progress is not None:
                on_progress(done, size)
    return digest.hexdigest()
