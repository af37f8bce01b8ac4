"""The SHA-256 of large weight files: computed once for all, not only once in a process as ``products.sha256_once``.

It is noted beside the file: ``FILE.sha256.json`` holds it with the size and the modification time, and counts for as
long as both are those of the file. To have a file hashed again, remove the note and start anew (or run ``lipforcing
weights verify``, which does not read it).
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from lipforcing_core.base.products import ByteProgress, read_json, sha256_once, write_json


def remembered_sha256(path: Path, on_progress: ByteProgress | None = None) -> str:
    """Hex SHA-256 of a file, from its note where that is still about this file.

    Otherwise the file is read, unless this process has (``on_progress`` follows), and the note written where the
    folder can be written to. Raises ``FileNotFoundError`` if there is no file.
    """
    state = path.stat()
    facts = {"size": state.st_size, "mtime_ns": state.st_mtime_ns}
    note = path.with_name(path.name + ".sha256.json")
    with suppress(OSError, ValueError, TypeError, KeyError, RecursionError):
        noted = read_json(note)
        if {key: noted[key] for key in facts} == facts:
            return str(noted["sha256"])
    sha256 = sha256_once(path, on_progress)
    with suppress(OSError):
        write_json(note, facts | {"sha256": sha256})
    return sha256
