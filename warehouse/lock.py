"""One loader at a time: a lock file that names its holder and that the kernel frees when the holder dies."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lipforcing_core.base.errors import WarehouseError

_POLL_S = 0.05


@contextmanager
def loader_lock(path: Path, *, wait_s: float) -> Iterator[None]:
    """Hold the lock file at ``path``, waiting up to ``wait_s`` seconds for another loader to finish.

    The file holds the process id of the last holder. A file left by a dead process is simply taken over,
    since the lock is the kernel's and not the file's existence. Raises WarehouseError when it stays taken.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a+", encoding="ascii") as stream:
        _acquire(stream.fileno(), path, wait_s)
        stream.truncate(0)
        stream.write(f"{os.getpid()}\n")
        stream.flush()
        yield


def _acquire(descriptor: int, path: Path, wait_s: float) -> None:
    deadline = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= deadline:
                holder = path.read_text(encoding="ascii", errors="replace").strip() or "unknown"
                raise WarehouseError(
                    f"{path.parent}: the warehouse is being loaded by process {holder}; "
                    "try again when it has finished"
                ) from None
            time.sleep(_POLL_S)
