"""Variables that the libraries read when they are imported; set before anything heavy is."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from lipforcing_core.base.errors import LipForcingError
from tasks.workspace import Workspace

MIN_FREE_BYTES = 32 * 10**6
INTERRUPTED = 130

QUIET_AND_OFFLINE = {
    "DO_NOT_TRACK": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "HF_HUB_OFFLINE": "1",
    "OMP_WAIT_POLICY": "PASSIVE",  # threads that spin starve each other on a busy machine
    "PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY": "false",
    "PREFECT_LOGGING_LEVEL": "CRITICAL",  # of an error the command line says one sentence, once
    "PREFECT_INTERNAL_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    "PREFECT_TELEMETRY_ENABLE_RESOURCE_METRICS": "false",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "TQDM_DISABLE": "1",
}


def configure(workspace_root: Path) -> None:
    """Set defaults: no telemetry, no hub look-ups, the state of Prefect and Ray inside the workspace.

    What the user has set already is kept.
    """
    for name, value in QUIET_AND_OFFLINE.items():
        os.environ.setdefault(name, value)
    state = (workspace_root / "state").resolve()
    os.environ.setdefault("PREFECT_HOME", str(state / "prefect"))
    if "RAY_ADDRESS" not in os.environ:  # a cluster has its own rules; a local Ray is guarded by a secret
        os.environ.setdefault("RAY_AUTH_MODE", "token")
        os.environ.setdefault("RAY_AUTH_TOKEN_PATH", str(state / "ray_token"))


def make_prefect_home() -> None:
    """Create Prefect's folder; to be called before a flow module, and with it Prefect, is imported.

    A flow that was killed leaves its private server behind as an orphan; those of this folder are stopped.
    A server that somebody started on purpose is left alone.
    """
    home = os.environ["PREFECT_HOME"]
    Path(home).mkdir(parents=True, exist_ok=True)
    for process in _orphaned_servers(home):
        with suppress(psutil.Error):
            process.terminate()


def _orphaned_servers(prefect_home: str) -> Iterator[psutil.Process]:
    for process in psutil.process_iter(["ppid", "cmdline"]):
        command = " ".join(process.info["cmdline"] or [])
        if process.info["ppid"] == 1 and "uvicorn" in command and "prefect" in command:
            with suppress(psutil.Error):
                variables = process.environ()
                private = variables.get("PREFECT__SERVER_EPHEMERAL") == "1"
                if private and variables.get("PREFECT_HOME") == prefect_home:
                    yield process


@contextmanager
def orchestration(workspace: Workspace) -> Iterator[None]:
    """Run a flow inside this: it clears away what killed runs left, and stops a local Ray afterwards.

    Raises ``LipForcingError`` where the disk is full, at the start or when anything fails for it: Prefect, Ray, codecs
    and databases each have words of their own for that.
    """
    from tasks.dispatch import disconnect

    require_space(workspace)
    workspace.store.sweep()
    previous = signal.signal(signal.SIGINT, _interrupted)
    try:
        yield
    except LipForcingError:
        raise
    except Exception:
        require_space(workspace)
        raise
    finally:
        signal.signal(signal.SIGINT, previous)
        disconnect()


def _interrupted(_signal: int, _frame: object) -> None:
    """End at once, as after ``kill -9``, which costs nothing but the steps in flight.

    A terminal interrupts Prefect's private server too, and Prefect would try to reach it for more than a minute.
    """
    sys.stderr.write("\nerror: interrupted; start the same command again to continue\n")
    sys.stderr.flush()
    os._exit(INTERRUPTED)


def require_space(workspace: Workspace) -> None:
    """Raise ``LipForcingError`` if next to nothing can be written into the workspace any more."""
    root = workspace.root.absolute()
    free = shutil.disk_usage(root).free
    if free < MIN_FREE_BYTES:
        raise LipForcingError(
            f"the disk of {root} is full ({free / 1e6:.1f} MB free); finished steps are kept, and nothing "
            "half-written counts: free some space and run the command again to go on"
        )
