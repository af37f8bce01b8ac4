"""The Ray that work is sent to: the cluster of ``RAY_ADDRESS``, or a private one of this machine."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import socket
import sys
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from pathlib import Path

from lipforcing_core.base.errors import BadInputError, LipForcingError
from lipforcing_core.base.names import shown_name
from lipforcing_core.base.products import atomic_path
from tasks.environment import end_on_signals, ends_on_signals
from tasks.progress import note
from tasks.resources import Need, Work
from tasks.scratch import socket_folder

LEAST_CPUS = 2
START_ATTEMPTS = 10
OBJECT_STORE_BYTES = 128 * 2**20
CONNECT_S = 10.0
AUTO = "auto"
ABOUT_AUTHENTICATION = ("AuthenticationError", "InvalidAuthToken", "Unauthenticated")
"""How Ray 2.60 calls a token that is missing or wrong: by the class of its error, or in the text of what caused it."""

OUR_FOLDER = Path(__file__).parents[1]
"""Ray puts the folder in which it is started first on the import path of its workers: with any other folder, a user's
own ``tasks/`` or ``flows/`` there would hide ours."""


def connect() -> None:
    """Connect to the cluster of ``RAY_ADDRESS``, or start a local Ray; does nothing if already connected.

    Raises ``BadInputError`` where no cluster answers, or one that wants a token that was not given.
    """
    import ray

    if ray.is_initialized():
        return
    on_signals = ends_on_signals()
    if address := os.environ.get("RAY_ADDRESS"):
        _connect_to_cluster(address)
    else:
        _start_local()
    if on_signals:
        end_on_signals()


def _connect_to_cluster(address: str) -> None:
    import ray

    _require_listener(_found_here() if address == AUTO else address, address)
    try:
        with chdir(OUR_FOLDER), _plain_job_name():
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except ValueError as error:
        raise BadInputError(
            f"RAY_ADDRESS={address}: is no address of a Ray cluster (HOST:PORT, ray://HOST:PORT or auto): {error}"
        ) from error
    except Exception as error:
        if wants_token(error):
            raise BadInputError(
                f"RAY_ADDRESS={address}: this Ray cluster wants a token. Set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN "
                "or RAY_AUTH_TOKEN_PATH to the token of the cluster (`ray start` writes it to ~/.ray/auth_token)"
            ) from error
        if isinstance(error, ConnectionError):
            raise _no_cluster(address) from error
        raise


def _found_here() -> str:
    """The address that Ray takes ``auto`` for: the cluster that was last started on this machine, or any there."""
    from ray._private.services import get_ray_address_from_environment

    try:
        return str(get_ray_address_from_environment(AUTO, None))
    except ConnectionError as error:
        raise _no_cluster(AUTO) from error


def _require_listener(place: str, address: str) -> None:
    """Say at once that nobody listens at HOST:PORT or ray://HOST:PORT, which Ray itself tries for minutes."""
    host, _, port = place.removeprefix("ray://").rpartition(":")
    if not host or "/" in host or not port.isdigit():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_S).close()
    except (OSError, OverflowError) as error:
        raise _no_cluster(address) from error


def _no_cluster(address: str) -> BadInputError:
    if address == AUTO:
        return BadInputError(
            "RAY_ADDRESS=auto: no Ray cluster runs on this machine; start one with `ray start --head`, or unset the "
            "variable for a private one"
        )
    return BadInputError(
        f"RAY_ADDRESS={address}: no Ray cluster answers there; start it, or unset the variable for a local one"
    )


@contextmanager
def _plain_job_name() -> Iterator[None]:
    """Ray calls its job after the command line of this process, and cannot hold one that is not UTF-8."""
    from ray._private import utils

    joined = utils.list2cmdline
    utils.list2cmdline = lambda seq: shown_name(joined(seq))
    try:
        yield
    finally:
        utils.list2cmdline = joined


def wants_token(error: BaseException) -> bool:
    """Whether a failure to connect is about authentication; Ray often tells that only in what caused its error."""
    chain: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in chain:
        chain.append(cause)
        cause = cause.__cause__ or cause.__context__
    return any(word in f"{type(link).__name__} {link}" for link in chain for word in ABOUT_AUTHENTICATION)


def _start_local() -> None:
    """A Ray of this machine alone: it exports no metrics, and listens on loopback only (see ``tasks.environment``).

    Ray gives its own processes 30 seconds to start, too little on a busy machine: it is given several attempts. Raises
    ``LipForcingError`` where none succeeds.
    """
    import ray

    _ensure_token()
    for attempt in range(1, START_ATTEMPTS + 1):
        try:
            with chdir(OUR_FOLDER), _plain_job_name():
                ray.init(
                    num_cpus=max(LEAST_CPUS, os.cpu_count() or 1),
                    include_dashboard=False,
                    object_store_memory=OBJECT_STORE_BYTES,
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                    _temp_dir=str(socket_folder()),
                    _system_config={"enable_metrics_collection": False},
                )
            return
        except Exception as error:
            if "timed out during startup" not in str(error):
                raise
            ray.shutdown()
            shutil.rmtree(socket_folder(), ignore_errors=True)
            if attempt == START_ATTEMPTS:
                raise LipForcingError(
                    f"a local Ray did not start in {START_ATTEMPTS} attempts: this machine is too busy. Finished steps "
                    "are kept: run the command again when it is quieter"
                ) from error


def disconnect() -> None:
    """Leave the cluster; stops a local Ray, with workers that are stuck, and removes its session folder."""
    if "ray" not in sys.modules:  # nothing was dispatched
        return
    import ray

    if ray.is_initialized():
        local = is_local()
        ray.shutdown()
        if local:
            shutil.rmtree(socket_folder(), ignore_errors=True)


def is_local() -> bool:
    """Whether the Ray that work is sent to is a private one of this machine."""
    return "RAY_ADDRESS" not in os.environ


def check_room(need: Need, work: Work, *, pieces: int = 1) -> None:
    """Say what would otherwise wait for ever: work that no machine is large enough for.

    pieces: how many have to be done side by side. Raises ``BadInputError`` where this machine is all there is.
    """
    if num_slots(need) >= pieces:
        return
    largest = (
        ", ".join(f"{m.get('CPU', 0):g} CPUs and {m.get('GPU', 0):g} GPUs" for m in _machines()) or "none"
    )
    words = (
        f"resources.{work.value} of the request asks for {need.cpus:g} CPUs and {need.gpus:g} GPUs for "
        f"{'one piece of work' if pieces == 1 else f'each of {pieces} workers'}; machines here: {largest}"
    )
    if is_local():
        raise BadInputError(f"{words}. Ask for less, or set RAY_ADDRESS to a cluster that has them")
    note(f"{words}. Waiting for the cluster to grow")


def num_slots(need: Need) -> int:
    """How many pieces of such work the machines of the cluster can do side by side."""
    return sum(_slots(machine, need) for machine in _machines())


def has_gpu() -> bool:
    """Whether a machine of the cluster has a GPU; connects to it first."""
    connect()
    return any(machine.get("GPU", 0) > 0 for machine in _machines())


def _machines() -> list[dict[str, float]]:
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def _slots(machine: dict[str, float], need: Need) -> int:
    wanted = {"CPU": need.cpus, "GPU": need.gpus}
    fits = [int(machine.get(kind, 0) / amount) for kind, amount in wanted.items() if amount > 0]
    return min(fits, default=1)


def _ensure_token() -> None:
    """Make the secret that guards a local Ray from other users of this machine."""
    path = os.environ.get("RAY_AUTH_TOKEN_PATH")
    if path and not Path(path).exists():
        with atomic_path(path) as temporary:
            temporary.touch(mode=0o600)
            temporary.write_text(secrets.token_hex(32))
