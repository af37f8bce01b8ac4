"""Variables that the libraries read when they are imported; set before anything heavy is. And signals of a command."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from lipforcing_core.base.process_environment import FAST_PROCESS
from tasks.scratch import claim_scratch, release_scratch

INTERRUPTED = 130
TERMINATED = 143

RAY_LISTENS_ELSEWHERE = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""Where this is 0, Ray takes the loopback address for that of its node, on Linux too, and its servers listen on nothing
else. Any other address that it is given, 127.0.0.1 included, it replaces by one that can be reached from elsewhere."""

QUIET_AND_OFFLINE = {
    "DO_NOT_TRACK": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "HF_HUB_OFFLINE": "1",
    **FAST_PROCESS,
    "PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY": "false",
    "PREFECT_LOGGING_LEVEL": "CRITICAL",  # of an error the command line says one sentence, once
    "PREFECT_INTERNAL_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",  # no private server behind the user's back
    "PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_TELEMETRY_ENABLE_RESOURCE_METRICS": "false",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "TQDM_DISABLE": "1",
}


def configure(workspace_root: Path) -> None:
    """Set defaults: no telemetry, no hub look-ups, temporary files in the scratch folder of this process.

    What the user has set already is kept.
    """
    scratch = claim_scratch()
    for name, value in QUIET_AND_OFFLINE.items():
        os.environ.setdefault(name, value)
    state = (workspace_root / "state").resolve()
    os.environ.setdefault(
        "PREFECT_HOME", str(scratch / "prefect")
    )  # what a client keeps is worth nothing later
    if "RAY_ADDRESS" not in os.environ:  # a cluster has its own rules; a local Ray is for this machine alone
        os.environ.setdefault(RAY_LISTENS_ELSEWHERE, "0")
        os.environ.setdefault("RAY_AUTH_MODE", "token")
        os.environ.setdefault("RAY_AUTH_TOKEN_PATH", str(state / "ray_token"))


def end_on_signals() -> None:
    """Let Ctrl-C and SIGTERM end this command at once, in one sentence, with exit codes 130 and 143.

    To be called again after ``ray.init``, which puts a handler of its own in the place of this one.
    """
    signal.signal(signal.SIGINT, _end)
    signal.signal(signal.SIGTERM, _end)


def end_by_exceptions() -> None:
    """Let both signals raise instead, for a command that has to stop what it started."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(TERMINATED))


def ends_on_signals() -> bool:
    """Whether ``end_on_signals`` was called in this process."""
    return signal.getsignal(signal.SIGINT) is _end


def _end(number: int, _frame: object) -> None:
    """End as after ``kill -9``, which costs nothing but the steps in flight; only the scratch folder is cleared.

    Libraries would take their time: Ray waits for workers, and some abort with a stack trace of their own.
    """
    terminated = number == signal.SIGTERM
    words = "terminated" if terminated else "interrupted"
    sys.stderr.write(f"\nerror: {words}; start the same command again to continue\n")
    sys.stderr.flush()
    release_scratch()
    os._exit(TERMINATED if terminated else INTERRUPTED)
