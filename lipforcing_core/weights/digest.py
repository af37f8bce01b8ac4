"""The SHA-256 of large weight files, read once and remembered beside the file.

``FILE.sha256.json`` holds the hash with the size and the modification time of the file it was computed from; it
counts for as long as both are those of the file. To have a file hashed again, remove the note (or run
``lipforcing weights verify``, which never uses it).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from lipforcing_core.products import read_json, write_json

Progress = Callable[[int, int], None]
"""Called with (bytes done, bytes in all)."""

_BLOCK = 1 << 24


def remembered_sha256(path: Path, on_progress: Progress | None = None) -> str:
    """Hex SHA-256 of a file, from its note where that is still about this file.

    Otherwise the file is read (``on_progress`` follows) and the note written; in a folder that cannot be written to
    every call reads the file. Raises ``FileNotFoundError`` if there is no file.
    """
    state = path.stat()
    facts = {"size": state.st_size, "mtime_ns": state.st_mtime_ns}
    note = path.with_name(path.name + ".sha256.json")
    with suppress(OSError, json.JSONDecodeError, TypeError, KeyError):
        noted = read_json(note)
        if {key: noted[key] for key in facts} == facts:
            return str(noted["sha256"])
    digest = _sha256(path, state.st_size, on_progress)
    with suppress(OSError):
        write_json(note, facts | {"sha256": digest})
    return digest


def _sha256(path: Path, size: int, on_progress: Progress | None) -> str:
    digest, done = hashlib.sha256(), 0
    with open(path, "rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
            done += len(block)
            if on_progress is not None:
                on_progress(done, size)
    return digest.hexdigest()
