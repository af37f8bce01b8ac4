"""Failures that are no property of the input: no memory, no space, a process killed from outside.

The same work can succeed when it is repeated, so such a failure is reported and never stored as a result.
"""

from __future__ import annotations

import errno
import mmap
import os

_SURROUNDINGS = {
    errno.ENOMEM: "there is not enough memory",
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "a file became larger than this process may write",
    errno.EROFS: "the file system is read-only",
    errno.EMFILE: "this process has too many files open",
    errno.ENFILE: "the system has too many files open",
    errno.EINTR: "the work was interrupted",
}
"""System errors that are about the machine and not about the file at work."""

PLENTY_BYTES = 2**30
"""More than any step of decoding a sane file asks for at once; a frame of 8K has 50 MB in 8 bits."""

_OUT_OF_DEVICE_MEMORY = "OutOfMemoryError"


def surroundings_problem(error: BaseException) -> str | None:
    """What is wrong with the machine, as one clause, if that is what an exception tells; None otherwise.

    Covers memory of the computer and of an accelerator, and the system errors about space, quota and open files,
    whichever library raises them (PyAV's errors carry the same numbers).
    """
    if isinstance(error, MemoryError) or _OUT_OF_DEVICE_MEMORY in _class_names(error):
        return _SURROUNDINGS[errno.ENOMEM]
    number = getattr(error, "errno", None)
    return _SURROUNDINGS.get(number) if isinstance(number, int) else None


def surroundings_in_words(message: str) -> str | None:
    """The same for the words of another program, which carry the system's text instead of a number."""
    for number, problem in _SURROUNDINGS.items():
        if os.strerror(number) in message:
            return problem
    return None


def has_room() -> bool:
    """Whether this process could still have ``PLENTY_BYTES`` of memory; none is touched.

    libav says of an absurd number in a header, too, that memory has run out; so it is asked for a second opinion.
    """
    try:
        mmap.mmap(-1, PLENTY_BYTES).close()
    except (OSError, MemoryError):
        return False
    return True


def _class_names(error: BaseException) -> set[str]:
    return {kind.__name__ for kind in type(error).__mro__}
