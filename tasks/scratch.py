"""The temporary folder of one command: removed at its end, and by the next command where it was killed.

Everything below it belongs to one process, which holds a lock in it; the kernel frees the lock when the process ends,
however that happens.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from lipforcing_core.base.errors import LipForcingError

LOCK = ".lock"
UNLOCKED = ".new-"
UNLOCKED_S = 600.0
MAX_SOCKET_PATH = 107
"""Bytes that the path of a Unix socket may have (sun_path of ``unix(7)``, less its final zero)."""
RAY_BELOW = len("/session_2026-01-01_00-00-00_000000_1234567/sockets/plasma_store.12345")
"""What Ray appends to its own folder, and some room."""
SHORT_PLACES = (Path("/tmp"), Path("/var/tmp"), Path("/dev/shm"))

_claims: dict[Path, int] = {}
"""Folders of this process, and the descriptors of their locks."""
_claimed_by: int | None = None


def claim_scratch() -> Path:
    """The temporary folder of this process, made if need be, and from now on the one of all libraries and children.

    Leftovers of killed commands beside it are removed. A child process that was started by a command shares the folder
    of that command, since it inherits ``TMPDIR``.
    """
    global _claimed_by
    if _claimed_by == os.getpid():
        return Path(tempfile.gettempdir())
    place = Path(tempfile.gettempdir())
    if place.parent.name == _root_name() and (place / LOCK).exists():
        return place
    scratch = _claim(place)
    _claimed_by = os.getpid()
    os.environ["TMPDIR"] = str(scratch)
    tempfile.tempdir = str(scratch)
    atexit.register(release_scratch)
    return scratch


def release_scratch() -> None:
    """Remove the folders of this process."""
    if _claimed_by != os.getpid():
        return
    for folder, descriptor in list(_claims.items()):
        shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):
            os.close(descriptor)
        del _claims[folder]


def socket_folder() -> Path:
    """A folder of this process alone whose path is short enough for the sockets of Ray.

    A child that shares the scratch folder of its parent has another one, so it removes its own and not the parent's.
    Raises ``LipForcingError`` where none of the places for temporary files has a short path and can be written to.
    """
    scratch, name = claim_scratch(), f"ray{os.getpid()}"
    if len(os.fsencode(scratch / name)) + RAY_BELOW <= MAX_SOCKET_PATH:
        return scratch / name
    for place in SHORT_PLACES:
        with suppress(OSError):
            return _claim(place) / name
    listed = ", ".join(str(place) for place in SHORT_PLACES)
    raise LipForcingError(
        f"Ray needs a folder with a short path for its sockets: {scratch} is too long, and {listed} cannot be written "
        "to; set TMPDIR to a folder with a short path"
    )


def _claim(place: Path) -> Path:
    root = place / _root_name()
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    if root.stat().st_uid != os.getuid():
        raise PermissionError(f"{root} belongs to somebody else")
    _sweep(root)
    for folder in _claims:
        if folder.parent == root:
            return folder
    unlocked = Path(tempfile.mkdtemp(prefix=UNLOCKED, dir=root))
    descriptor = os.open(unlocked / LOCK, os.O_CREAT | os.O_RDWR, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    folder = unlocked.rename(root / unlocked.name.removeprefix(UNLOCKED))
    _claims[folder] = descriptor
    return folder


def _sweep(root: Path) -> None:
    """Remove the folders that no living process holds."""
    for folder in root.iterdir():
        with suppress(OSError):
            if folder.name.startswith(UNLOCKED) and time.time() - folder.stat().st_mtime < UNLOCKED_S:
                continue  # another command is just making it
            descriptor = os.open(folder / LOCK, os.O_CREAT | os.O_RDWR, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(descriptor)


def _root_name() -> str:
    return f"lipforcing-{os.getuid()}"
