"""What is a failure of the machine and what is not."""

from __future__ import annotations

import errno

import av
import pytest

from lipforcing_core.base.failures import surroundings_in_words, surroundings_problem


class OutOfMemoryError(RuntimeError):
    """As torch calls it."""


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MemoryError(), "not enough memory"),
        (OutOfMemoryError("CUDA out of memory"), "not enough memory"),
        (OSError(errno.ENOSPC, "x"), "disk is full"),
        (OSError(errno.EDQUOT, "x"), "quota"),
        (OSError(errno.EFBIG, "x"), "larger than this process may write"),
        (OSError(errno.EROFS, "x"), "read-only"),
        (OSError(errno.EMFILE, "x"), "this process has too many"),
        (OSError(errno.ENFILE, "x"), "the system has too many"),
        (InterruptedError(errno.EINTR, "x"), "interrupted"),
        (av.error.MemoryError(errno.ENOMEM, "x"), "not enough memory"),
        (av.error.FFmpegError(errno.ENOSPC, "x"), "disk is full"),
    ],
)
def test_a_failure_of_the_machine(error: Exception, words: str) -> None:
    problem = surroundings_problem(error)
    assert problem is not None
    assert words in problem


@pytest.mark.parametrize(
    "error",
    [
        ValueError("No space left on device"),
        OSError(errno.EIO, "x"),
        FileNotFoundError(errno.ENOENT, "x"),
        av.error.InvalidDataError(av.error.InvalidDataError, "x"),
        RuntimeError(),
    ],
)
def test_a_failure_of_the_input_or_the_code(error: Exception) -> None:
    assert surroundings_problem(error) is None


def test_the_words_of_another_program() -> None:
    assert surroundings_in_words("x.mp4: No space left on device") == "the disk is full"
    assert surroundings_in_words("malloc: Cannot allocate memory") == "there is not enough memory"
    assert surroundings_in_words("Invalid data found when processing input") is None
    assert surroundings_in_words("") is None
