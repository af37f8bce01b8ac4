"""A limit on how long a flow may take: its work is ended where it stands, whatever it waits for."""

from __future__ import annotations

import ctypes
import inspect
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Protocol, TypeVar

from lipforcing_core.base.errors import LipForcingError

SECONDS_OF_HOUR = 3600.0


class TimeLimitError(LipForcingError):
    """A flow took longer than its request allows."""

    exit_code = 6


class _TimeIsUp(BaseException):
    """Raised in the thread of the flow; no handler of errors in between can take it for one of its own."""


class Limited(Protocol):
    """The part of a request that sets the limit."""

    @property
    def timeout_h(self) -> float | None: ...


Q = TypeVar("Q", bound=Limited)
S = TypeVar("S")


def limited(function: Callable[[Q], S]) -> Callable[[Q], S]:
    """A flow that is ended after the ``timeout_h`` of its request; it raises ``TimeLimitError`` then.

    Its signature holds the types themselves, since Prefect would look for their names in this module.
    """

    @wraps(function)
    def run(request: Q) -> S:
        with time_limit(function.__name__, request.timeout_h):
            return function(request)

    run.__signature__ = inspect.signature(function, eval_str=True)  # type: ignore[attr-defined]
    return run


@contextmanager
def time_limit(name: str, timeout_h: float | None) -> Iterator[None]:
    """End the block after so many hours, if any: it may clean up behind itself, and ``TimeLimitError`` is raised.

    In the main thread a signal interrupts whatever the block waits for; in another one the block is ended as soon as it
    runs Python again.
    """
    if timeout_h is None:
        yield
        return
    in_main_thread, rung = threading.current_thread() is threading.main_thread(), threading.Event()
    try:
        with _alarm(timeout_h, rung) if in_main_thread else _watched(timeout_h, rung):
            yield
    except BaseException as error:
        if not rung.is_set():
            raise
        # Whatever a library made of the interruption: some raise an error of their own for it.
        raise TimeLimitError(
            f"{name} took longer than the {timeout_h:g} h that `timeout_h` allows; finished steps are kept, run again "
            "to go on"
        ) from error


@contextmanager
def _alarm(hours: float, rung: threading.Event) -> Iterator[None]:
    def ring(_number: int, _frame: object) -> None:
        rung.set()
        raise _TimeIsUp

    before, started = signal.signal(signal.SIGALRM, ring), time.monotonic()
    delay, interval = signal.setitimer(signal.ITIMER_REAL, hours * SECONDS_OF_HOUR)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        if delay:  # somebody else's, who gets what is left of it
            signal.setitimer(signal.ITIMER_REAL, max(1e-3, delay - (time.monotonic() - started)), interval)


@contextmanager
def _watched(hours: float, rung: threading.Event) -> Iterator[None]:
    thread, lock, ended = threading.get_ident(), threading.Lock(), False

    def ring() -> None:
        with lock:
            if not ended:
                rung.set()
                ctypes.pythonapi.PyThreadState_SetAsyncExc(
                    ctypes.c_ulong(thread), ctypes.py_object(_TimeIsUp)
                )

    timer = threading.Timer(hours * SECONDS_OF_HOUR, ring)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        with lock:
            ended = True
