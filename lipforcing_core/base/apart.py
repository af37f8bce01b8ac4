"""Call a function in a Python process of its own: what it and its libraries take of the memory ends with it."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

from lipforcing_core.base.errors import SurroundingsError

P = ParamSpec("P")
T = TypeVar("T")


def apart(function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """What a function of a module returns or raises in another process, which ends with this one.

    Its arguments and its result are pickled. Raises ``SurroundingsError`` where that process dies.
    """
    with tempfile.TemporaryDirectory(prefix="lipforcing-apart-") as folder:
        call, answer = Path(folder, "call"), Path(folder, "answer")
        call.write_bytes(pickle.dumps((function, args, kwargs), pickle.HIGHEST_PROTOCOL))
        paths = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        words = [sys.executable, "-m", __name__, str(call), str(answer)]
        with subprocess.Popen(words, stdin=subprocess.PIPE, env={**os.environ, **paths}) as process:
            try:
                code = process.wait()
            except BaseException:
                process.kill()
                raise
        if not answer.is_file():
            raise SurroundingsError(
                f"the process that ran {function.__name__} ended without an answer (exit code {code}); "
                "memory may have been short: run it again, alone on this machine"
            )
        value, error = pickle.loads(answer.read_bytes())
    if error is not None:
        raise error
    result: T = value
    return result


def main(call: Path, answer: Path) -> None:
    """Answer one call; the other end of ``apart``."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    function, args, kwargs = pickle.loads(call.read_bytes())
    try:
        told = pickle.dumps((function(*args, **kwargs), None), pickle.HIGHEST_PROTOCOL)
    except Exception as error:
        told = _error(error)
    unfinished = answer.with_suffix(".tmp")
    unfinished.write_bytes(told)
    unfinished.replace(answer)


def _error(error: Exception) -> bytes:
    """An error as an answer; one that does not survive pickling as its words."""
    error.add_note("".join(traceback.format_exception(error)))
    try:
        told = pickle.dumps((None, error), pickle.HIGHEST_PROTOCOL)
        pickle.loads(told)
    except Exception:
        return pickle.dumps((None, RuntimeError("".join(traceback.format_exception(error)))))
    return told


def _end_with_parent() -> None:
    os.read(
        0, 1
    )  # returns when the other end is closed; sys.stdin would be locked at the end of this process
    os._exit(1)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
