"""SHA-256 of source files, remembered between commands, so that an unchanged folder is not read again.

A digest counts for as long as the file keeps its place, size and times (of content and of status, which no program can
set back). They are kept in one file of the workspace for each corpus folder; deleting it costs one reading.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from lipforcing_core.base.products import content_key, file_identity, read_json, write_json
from lipforcing_core.curation.sources import source_sha256

SETTLED_S = 2.0
"""A file that changed less than this before it was read may change again within the same tick of its clock."""

Facts = list[int]


def source_digests(
    paths: Sequence[Path], root: Path, state: Path, advance: Callable[[int, int], None] | None = None
) -> list[str]:
    """The digest of every source, in order; only those that are new or have changed are read.

    ``state`` is the workspace's state folder; one that cannot be written to is no error.
    """
    note = state / "digests" / f"{content_key(os.path.abspath(root))}.json"
    known: dict[str, dict[str, object]] = {}
    with suppress(OSError, json.JSONDecodeError):
        known = read_json(note)
    kept, missing = {}, []
    for path in paths:
        name, facts = os.path.abspath(path), _facts(path)
        found = known.get(name)
        if facts is not None and isinstance(found, dict) and found.get("facts") == facts:
            kept[name] = found
        else:
            missing.append(path)
    digests = {name: str(entry["sha256"]) for name, entry in kept.items()}
    with ThreadPoolExecutor() as pool:  # hashing leaves the interpreter lock alone
        for done, (path, before, sha256) in enumerate(pool.map(lambda p: _read(p, root), missing), 1):
            name = os.path.abspath(path)
            digests[name] = sha256
            if before is not None and before == _facts(path) and _settled(before):
                kept[name] = {"facts": before, "sha256": sha256}
            if advance:
                advance(done, len(missing))
    if missing or len(kept) != len(known):
        with suppress(OSError, UnicodeEncodeError):
            write_json(note, kept)
    return [digests[os.path.abspath(path)] for path in paths]


def _read(path: Path, root: Path) -> tuple[Path, Facts | None, str]:
    facts = _facts(path)
    return path, facts, source_sha256(path, root)


def _facts(path: Path) -> Facts | None:
    """What changes with a file, or None where it cannot be opened: its digest is then of its name."""
    if not os.access(path, os.R_OK):
        return None
    try:
        return list(file_identity(path))
    except OSError:
        return None


def _settled(facts: Facts) -> bool:
    return time.time() - max(facts[-2:]) / 1e9 > SETTLED_S
