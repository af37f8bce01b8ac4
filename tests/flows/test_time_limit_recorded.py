"""A run that a Prefect server records and that takes too long: it has failed, and its page says what to do."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.flow, pytest.mark.timeout(600)]

REPOSITORY = Path(__file__).resolve().parents[2]
RECORDED = """
import json, os, signal, sys, time
from pathlib import Path
from tasks.environment import configure
workspace = Path(sys.argv[1])
configure(workspace)
from tasks.serving import prefect_server
from tasks.workspace import Workspace
with prefect_server(Workspace(workspace), int(sys.argv[2])):
    from flows.catalogue import run_flow
    from lipforcing_core.base.errors import LipForcingError
    from prefect.client.orchestration import get_client
    from tasks import curating
    from tasks.recording import step_task

    calls = []

    @step_task(retries=2)
    def shard(*arguments, **options):
        calls.append(1)
        os.kill(os.getpid(), signal.SIGALRM)  # the limit rings when the work is under way
        time.sleep(600)

    curating.curate_shard = shard
    try:
        run_flow("curate", {"workspace": str(workspace), "source": sys.argv[3], "timeout_h": 6})
        error = None
    except LipForcingError as caught:
        error = str(caught)
    with get_client(sync_client=True) as client:
        (run,) = client.read_flow_runs()
        (artifact,) = [a for a in client.read_artifacts() if a.key == "what-to-do"]
    told = {"error": error, "calls": len(calls), "type": run.state.type, "message": run.state.message}
    print(json.dumps(told | {"artifact": artifact.data}))
"""


def test_the_run_has_failed_and_says_what_to_do(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = int(taken.getsockname()[1])
    (tmp_path / "a.mp4").write_bytes(b"not a video")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "PREFECT_"))}
    done = subprocess.run(
        [sys.executable, "-c", RECORDED, str(tmp_path / "ws"), str(port), str(tmp_path / "a.mp4")],
        env=environment | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    sentence = (
        "curate took longer than the 6 h that `timeout_h` allows; finished steps are kept, run again to go on"
    )
    assert (told["type"], told["message"], told["error"]) == ("FAILED", sentence, sentence)
    assert told["calls"] == 1, "a task that the limit ended is not tried again"
    assert sentence in told["artifact"]
