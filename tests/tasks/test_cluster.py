"""A real Ray cluster on the loopback interface, started as its users start it: by address, by ``ray job submit``."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tasks.scratch import socket_folder

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(1800)]

REPOSITORY = Path(__file__).resolve().parents[2]
RAY = str(Path(sys.executable).parent / "ray")
READY_S = 300.0
ATTEMPTS = 6
WORKER_PORTS = ["--min-worker-port=0", "--max-worker-port=0"]


@dataclass
class Cluster:
    """A head that wants a token, and the environment of a client that has it."""

    address: str
    dashboard: str
    environment: dict[str, str]


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for taken in sockets:
        taken.bind(("127.0.0.1", 0))
    ports = [int(taken.getsockname()[1]) for taken in sockets]
    for taken in sockets:
        taken.close()
    return ports


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("head")
    token = folder / "token"
    token.touch(mode=0o600)
    token.write_text(secrets.token_hex(32))
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "PREFECT_"))
    }
    environment |= {"PYTHONPATH": str(REPOSITORY), "RAY_USAGE_STATS_ENABLED": "0", "PYTHONUNBUFFERED": "1"}
    environment |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}
    for attempt in range(1, ATTEMPTS + 1):
        port, dashboard, client = free_ports(3)
        command = [RAY, "start", "--head", "--block", "--node-ip-address=127.0.0.1", f"--port={port}"]
        command += ["--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}", "--num-cpus=2"]
        command += [f"--ray-client-server-port={client}", *WORKER_PORTS, "--object-store-memory=100000000"]
        command += [f"--temp-dir={socket_folder().with_name(f'head{attempt}')}"]
        with open(folder / "head.log", "w") as log:
            head = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=folder)
        made = Cluster(f"127.0.0.1:{port}", f"http://127.0.0.1:{dashboard}", environment)
        if is_up(made, head, token.read_text()):
            break
        head.terminate()
        head.wait(timeout=120)
    else:  # Ray gives its own processes 30 seconds, and no option to change that
        words = (folder / "head.log").read_text()
        assert "timed out during startup" in words, words[-2000:]
        pytest.skip(f"no Ray head started in {ATTEMPTS} attempts: this machine is too busy")
    try:
        yield made
    finally:
        head.send_signal(signal.SIGTERM)
        head.wait(timeout=120)


def is_up(cluster: Cluster, head: subprocess.Popen[bytes], token: str) -> bool:
    request = urllib.request.Request(
        f"{cluster.dashboard}/api/jobs/", headers={"Authorization": f"Bearer {token}"}
    )
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline and head.poll() is None:
        try:
            with urllib.request.urlopen(request, timeout=10):
                return True
        except OSError:
            time.sleep(1)
    return False


@pytest.fixture
def request_file(tmp_path: Path) -> Path:
    videos = tmp_path / "videos"
    videos.mkdir()
    (videos / "junk.mp4").write_bytes(b"not a video")
    request = {
        "workspace": str(tmp_path / "ws"),
        "source": str(videos),
        "resources": {"clips": {"cpus": 0.5}},
    }
    path = tmp_path / "request.json"
    path.write_text(json.dumps(request))
    return path


def run_flow(cluster: Cluster, request: Path, **changes: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "apps.cli.main", "run", "curate", "--request", str(request), "--json"]
    environment = cluster.environment | {"RAY_ADDRESS": cluster.address} | changes
    return subprocess.run(
        command, env=environment, cwd=request.parent, capture_output=True, text=True, check=False
    )


def test_a_flow_on_the_cluster_of_ray_address(cluster: Cluster, request_file: Path) -> None:
    done = run_flow(cluster, request_file)
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert (summary["sources_in"], summary["sources_quarantined"]) == (1, 1)
    assert Path(summary["manifest"]).is_file()


def test_a_cluster_that_wants_a_token_says_so(cluster: Cluster, request_file: Path, tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path), "RAY_AUTH_TOKEN_PATH": str(tmp_path / "none")}
    for changes in ({"RAY_AUTH_MODE": "token"}, {"RAY_AUTH_MODE": "disabled"}):
        done = run_flow(cluster, request_file, **home, **changes)
        assert done.returncode == 2, done.stderr
        assert f"RAY_ADDRESS={cluster.address}: this Ray cluster wants a token" in done.stderr
        assert "Traceback" not in done.stderr


def test_a_flow_as_a_submitted_job(cluster: Cluster, request_file: Path) -> None:
    command = [RAY, "job", "submit", "--address", cluster.dashboard, "--"]
    command += [sys.executable, "-m", "apps.cli.main", "run", "curate", "--request", str(request_file)]
    done = subprocess.run(
        command, env=cluster.environment, cwd=request_file.parent, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "1 sources: 0 accepted" in done.stdout
    assert (request_file.parent / "ws" / "runs" / "curate" / "latest" / "manifest.parquet").is_file()


def test_work_that_no_machine_is_large_enough_for_is_said_for_a_local_ray(request_file: Path) -> None:
    values = json.loads(request_file.read_text()) | {"resources": {"clips": {"cpus": 4096}}}
    request_file.write_text(json.dumps(values))
    command = [sys.executable, "-m", "apps.cli.main", "run", "curate", "--request", str(request_file)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert "resources.clips of the request asks for 4096 CPUs" in done.stderr
