"""Deployments served from this process, and a Prefect server for them on the loopback interface."""

from __future__ import annotations

import ctypes
import os
import secrets
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from lipforcing_core.base.errors import BadInputError, LipForcingError
from lipforcing_core.base.products import atomic_path
from lipforcing_core.base.value_words import complaint
from tasks.progress import step
from tasks.workspace import Workspace

LOOPBACK = "127.0.0.1"
USER = "lipforcing"
READY_S = 300.0
DATABASE_TIMEOUT_S = 60.0
NUM_RUNS_AT_ONCE = 2
PR_SET_PDEATHSIG = 1  # prctl(2)


class Served(Protocol):
    """What is served: a flow with a name, a schedule and a request."""

    @property
    def name(self) -> str: ...
    @property
    def about(self) -> str: ...
    @property
    def cron(self) -> str | None: ...
    @property
    def request(self) -> Mapping[str, Any]: ...
    @property
    def at_once(self) -> int: ...
    @property
    def tags(self) -> tuple[str, ...]: ...
    def flow_of(self) -> Any: ...


@dataclass(frozen=True, kw_only=True)
class Server:
    """A Prefect server: the address of its page, and the file of the password that it asks for, if it is ours."""

    url: str
    password_file: Path | None


@contextmanager
def prefect_server(workspace: Workspace, port: int) -> Iterator[Server]:
    """The server of ``PREFECT_API_URL``, or one of our own on the loopback interface while the block runs.

    Ours keeps its runs in the workspace and asks for a password, which is made once. To be called before Prefect is
    imported. Raises ``LipForcingError`` where the server does not start.
    """
    os.environ["PREFECT_LOGGING_LEVEL"] = "INFO"  # the page of a run shows its progress
    if url := os.environ.get("PREFECT_API_URL"):
        yield Server(url=url.removesuffix("/api"), password_file=None)
        return
    home = (workspace.state / "prefect").absolute()
    home.mkdir(parents=True, exist_ok=True)
    password_file = home / "password"
    credentials = f"{USER}:{_password(password_file)}"
    api = f"http://{LOOPBACK}:{port}/api"
    variables = {
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": api,
        "PREFECT_API_AUTH_STRING": credentials,
    }
    os.environ.update(variables)
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", LOOPBACK, "--port", str(port)]
    log = home / "server.log"
    with open(log, "w") as stream:
        process = subprocess.Popen(
            command,
            env=os.environ | variables_of_server(credentials, api),
            stdout=stream,
            stderr=stream,
            preexec_fn=_end_with_parent,
        )
    try:
        with step(f"start a Prefect server on {LOOPBACK}:{port}"):
            _wait_for(api, process, log)
        yield Server(url=f"http://{LOOPBACK}:{port}", password_file=password_file)
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()


def variables_of_server(credentials: str, api: str) -> dict[str, str]:
    """What our server is told by its environment, beside what its clients are told.

    Its database is one SQLite file, which one writer holds at a time: on a busy machine an answer waits longer than
    the ten seconds that Prefect allows it.
    """
    return {
        "PREFECT_SERVER_API_AUTH_STRING": credentials,
        "PREFECT_SERVER_UI_API_URL": api,
        "PREFECT_SERVER_DATABASE_TIMEOUT": f"{DATABASE_TIMEOUT_S:g}",
    }


def serve_deployments(deployments: Sequence[Served]) -> None:
    """Serve until this process is told to end; each run is a process of its own.

    Raises ``BadInputError`` for a schedule that Prefect does not take.
    """
    from prefect import serve
    from pydantic import ValidationError

    try:
        served = [runner_deployment(deployment) for deployment in deployments]
    except ValidationError as error:
        raise BadInputError(f"this schedule cannot be used: {complaint(error.errors()[0])}") from error
    serve(
        *served,
        limit=NUM_RUNS_AT_ONCE,
        print_starting_message=False,
    )


def runner_deployment(deployment: Served) -> Any:
    """A deployment as Prefect serves it; its scheduled runs take the request as their parameter."""
    from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
    from prefect.deployments.runner import EntrypointType

    return deployment.flow_of().to_deployment(
        name=deployment.name,
        description=deployment.about,
        cron=deployment.cron,
        concurrency_limit=ConcurrencyLimitConfig(
            limit=deployment.at_once, collision_strategy=ConcurrencyLimitStrategy.ENQUEUE
        ),
        parameters={"request": dict(deployment.request)},
        tags=list(deployment.tags),
        entrypoint_type=EntrypointType.MODULE_PATH,
    )


def _end_with_parent() -> None:
    """Let the kernel end this process when the one that started it ends, however that happens (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _password(path: Path) -> str:
    """The password of our server, made once and readable by its owner alone."""
    if not path.exists():
        with atomic_path(path) as temporary:
            temporary.touch(mode=0o600)
            temporary.write_text(secrets.token_urlsafe(24))
    return path.read_text()


def _wait_for(api: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise LipForcingError(
                f"the Prefect server ended with status {process.returncode}; {log} says why. If the port is taken, "
                "choose another with --port"
            )
        try:
            with urllib.request.urlopen(f"{api}/health", timeout=2):
                return
        except urllib.error.HTTPError:
            return  # it answers, and asks for the password
        except OSError:
            time.sleep(0.2)
    raise LipForcingError(f"the Prefect server did not answer within {READY_S:.0f} s; {log} says why")
