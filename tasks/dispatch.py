"""Work sent to Ray: many small items fanned out, or one long job watched while it runs.

With no ``RAY_ADDRESS`` a local Ray is started on first use; with one, the same code goes to that cluster.
Models are loaded once per Ray worker, since workers are reused and the loaders are cached.
"""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Callable, Sequence
from contextlib import chdir
from pathlib import Path
from typing import Any, TypeVar

from lipforcing_core.base.errors import BadInputError, LipForcingError
from lipforcing_core.base.products import atomic_path
from tasks.progress import Advance

T = TypeVar("T")
R = TypeVar("R")

JOB_CPUS = 2
OBJECT_STORE_BYTES = 128 * 2**20
POLL_S = 0.5
LOCAL_LOGS = "/tmp/ray/session_latest/logs/worker-*.err"
OUR_FOLDER = Path(__file__).parents[1]
"""Ray puts the folder in which it is started first on the import path of its workers: with any other folder, a user's
own ``tasks/`` or ``flows/`` there would hide ours."""


def connect() -> None:
    """Connect to the cluster of ``RAY_ADDRESS``, or start a local Ray; does nothing if already connected."""
    import ray

    if ray.is_initialized():
        return
    if address := os.environ.get("RAY_ADDRESS"):
        try:
            with chdir(OUR_FOLDER):
                ray.init(address=address, log_to_driver=False)
        except ConnectionError as error:
            raise BadInputError(
                f"RAY_ADDRESS={address}: no Ray cluster answers there; start it, or unset the variable for a local one"
            ) from error
        return
    _ensure_token()
    with chdir(OUR_FOLDER):
        ray.init(
            num_cpus=max(JOB_CPUS, os.cpu_count() or 1),
            include_dashboard=False,
            object_store_memory=OBJECT_STORE_BYTES,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )


def disconnect() -> None:
    """Leave the cluster; stops a local Ray."""
    import ray

    if ray.is_initialized():
        ray.shutdown()


def fan_out(
    function: Callable[[T], R],
    items: Sequence[T],
    *,
    name: str,
    num_cpus: float = 1,
    advance: Advance | None = None,
) -> list[R]:
    """``[function(item) for item in items]`` on Ray workers; results in the order of the items.

    Raises the first error of an item, after cancelling the rest; ``LipForcingError`` where a worker died.
    """
    if not items:
        return []
    import ray

    connect()
    remote = ray.remote(num_cpus=num_cpus, max_retries=1)(_here(function))
    waiting = [remote.options(name=name).remote(item) for item in items]
    position = {reference: index for index, reference in enumerate(waiting)}
    results: list[Any] = [None] * len(items)
    try:
        while waiting:
            ready, waiting = ray.wait(waiting, num_returns=1)
            for reference in ready:
                results[position[reference]] = ray.get(reference)
            if advance:
                advance(len(items) - len(waiting), len(items))
    except ray.exceptions.RayError as error:
        raise _user_error(error, name) from error
    finally:  # after an error; nothing is left otherwise
        for reference in waiting:
            ray.cancel(reference, force=True)
    return results


def run_job(
    function: Callable[..., R],
    *args: Any,
    name: str,
    num_cpus: float = JOB_CPUS,
    watch: Callable[[], None] | None = None,
) -> R:
    """Run one long job on Ray, calling ``watch`` now and then and once more at the end.

    The job must be resumable: if its worker dies it is started again with the same arguments.
    """
    import ray

    connect()
    reference = ray.remote(num_cpus=num_cpus, max_retries=2)(_here(function)).options(name=name).remote(*args)
    try:
        while not ray.wait([reference], timeout=POLL_S)[0]:
            if watch:
                watch()
        result: R = ray.get(reference)
        if watch:
            watch()
        return result
    except ray.exceptions.RayError as error:
        raise _user_error(error, name) from error


def _here(function: Callable[..., R]) -> Callable[..., R]:
    """``function`` in the folder this process runs in, so that relative paths mean the same on a worker.

    A plain function whatever ``function`` is, since Ray takes no partial objects.
    """
    folder = os.getcwd()

    def run(*args: Any) -> R:
        os.chdir(folder)
        return function(*args)

    return run


def _ensure_token() -> None:
    """Make the secret that guards a local Ray, whose ports listen on every network interface."""
    path = os.environ.get("RAY_AUTH_TOKEN_PATH")
    if path and not Path(path).exists():
        with atomic_path(path) as temporary:
            temporary.touch(mode=0o600)
            temporary.write_text(secrets.token_hex(32))


def _user_error(error: Any, name: str) -> BaseException:
    """The error that the function raised, without Ray's wrapping; one sentence where its worker died."""
    import ray

    if isinstance(error, ray.exceptions.RayTaskError):
        cause: BaseException = error.cause or error
        return cause
    reason = str(error).strip().split("\n", 1)[0]
    return LipForcingError(
        f"a worker of {name} died ({type(error).__name__}: {reason}). Its last words are in Ray's logs "
        f"(of a local Ray: {LOCAL_LOGS}). Finished steps are kept: free memory if that ran out, and run the command "
        "again to go on"
    )
