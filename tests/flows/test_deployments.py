"""Deployments on a real Prefect server of the loopback interface: schedules, JSON requests, and how runs end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from flows.deployments import DEPLOYMENTS, NIGHTLY
from warehouse.query import fetch

pytestmark = [pytest.mark.flow, pytest.mark.timeout(900)]

REPOSITORY = Path(__file__).resolve().parents[2]
WAIT_S = 400.0


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@dataclass
class Served:
    """``lipforcing serve`` at work, and a client of its server."""

    workspace: Path
    videos: Path
    client: httpx.Client
    process: subprocess.Popen[str]

    def until(self, what: str, look: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            assert self.process.poll() is None, "the server is gone"
            if found := look():
                return found
            time.sleep(0.5)
        raise AssertionError(f"no {what} within {WAIT_S} s")

    def ask(self, method: str, path: str, **body: Any) -> httpx.Response:
        """The server's answer; asked again while its database is busy, as every client of Prefect does."""

        def answered() -> httpx.Response | None:
            answer = self.client.request(method, path, **body)
            return None if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE else answer

        answer: httpx.Response = self.until(f"answer to {path}", answered)
        return answer

    def deployments(self) -> dict[str, Any]:
        found = self.ask("POST", "/deployments/filter", json={}).json()
        return {deployment["name"]: deployment for deployment in found}

    def start(self, name: str, request: dict[str, Any]) -> httpx.Response:
        deployment = self.deployments()[name]
        path = f"/deployments/{deployment['id']}/create_flow_run"
        return self.ask("POST", path, json={"parameters": {"request": request}})

    def run(self, run_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.ask("GET", f"/flow_runs/{run_id}").json()
        return found

    def ended(self, run_id: str) -> dict[str, Any]:
        def look() -> Any:
            run = self.run(run_id)
            return run if run["state_type"] in ("COMPLETED", "FAILED", "CRASHED") else None

        run: dict[str, Any] = self.until("end of the run", look)
        return run


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    workspace, videos = tmp_path_factory.mktemp("ws"), tmp_path_factory.mktemp("videos")
    (videos / "junk.mp4").write_bytes(b"not a video")
    port = free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    environment |= {"PYTHONPATH": str(REPOSITORY), "PREFECT_RUNNER_POLL_FREQUENCY": "1"}
    command = [sys.executable, "-m", "apps.cli.main", "-w", str(workspace), "serve"]
    command += ["--source", str(videos), "--port", str(port)]
    with open(workspace / "serve.log", "w") as log:
        process = subprocess.Popen(command, env=environment, cwd=videos, stdout=log, stderr=log, text=True)
    client = httpx.Client(base_url=f"http://127.0.0.1:{port}/api", timeout=60)
    made = Served(workspace, videos, client, process)
    try:
        password_file = workspace / "state" / "prefect" / "password"

        def all_are_there() -> bool:
            try:
                client.auth = ("lipforcing", password_file.read_text())
                return set(made.deployments()) == {d.name for d in DEPLOYMENTS}
            except (OSError, httpx.HTTPError, ValueError, TypeError):
                return False

        made.until("deployment", all_are_there)
        yield made
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=90)


def test_the_server_asks_for_the_password_and_is_on_the_loopback_interface(served: Served) -> None:
    bare = httpx.post(str(served.client.base_url.join("deployments/filter")), json={}, timeout=60)
    assert bare.status_code == 401
    assert (served.workspace / "state" / "prefect" / "password").stat().st_mode & 0o077 == 0


def test_schedules_tags_and_forms_are_those_of_the_house(served: Served) -> None:
    found = served.deployments()
    for deployment in DEPLOYMENTS:
        there = found[deployment.name]
        assert set(there["tags"]) == set(deployment.tags)
        assert there["global_concurrency_limit"]["limit"] == deployment.at_once
        assert there["concurrency_options"]["collision_strategy"] == "ENQUEUE"
        crons = [schedule["schedule"]["cron"] for schedule in there["schedules"]]
        assert crons == ([] if deployment.cron is None else [deployment.cron])
        form = there["parameter_openapi_schema"]
        assert form["properties"]["request"]
        (definition,) = (d for name, d in form["definitions"].items() if name.endswith("Request"))
        assert all(field.get("description") for field in definition["properties"].values())
    assert found[NIGHTLY]["parameters"] == {
        "request": {"workspace": str(served.workspace), "source": str(served.videos), "timeout_h": 20}
    }


def test_the_schedule_plans_runs_with_the_request(served: Served) -> None:
    wanted = {
        "flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}},
        "deployments": {"name": {"any_": [NIGHTLY]}},
    }
    runs = served.until("planned run", lambda: served.ask("POST", "/flow_runs/filter", json=wanted).json())
    assert all(run["auto_scheduled"] for run in runs)
    assert runs[0]["parameters"]["request"]["source"] == str(served.videos)


def test_a_run_with_json_parameters_ends_in_the_warehouse(served: Served) -> None:
    answer = served.start(
        "weekly-benchmark", {"workspace": str(served.workspace), "preset": "nano", "repeats": 1}
    )
    assert answer.status_code == 201, answer.text
    run = served.ended(answer.json()["id"])
    assert run["state_type"] == "COMPLETED", run["state"]
    snapshot = served.workspace / "state" / "warehouse" / "warehouse.duckdb"
    _, rows = fetch(snapshot, "select count(*), min(value) > 0 from benchmark_samples")
    assert rows[0][0] >= 4
    assert rows[0][1]


def test_a_request_that_is_none_is_refused_by_the_server(served: Served) -> None:
    answer = served.start("weekly-benchmark", {"repeats": "many"})
    assert answer.status_code in (409, 422)
    assert "repeats" in answer.text or "many" in answer.text


def test_a_run_that_fails_says_what_to_do(served: Served) -> None:
    missing = served.videos / "nowhere"
    answer = served.start(NIGHTLY, {"workspace": str(served.workspace), "source": str(missing)})
    run = served.ended(answer.json()["id"])
    assert run["state_type"] == "FAILED"
    sentence = f"{missing}: there is no such file or folder"
    served.until("message", lambda: served.run(run["id"])["state"]["message"] == sentence)
    wanted = {"artifacts": {"key": {"any_": ["what-to-do"]}}}
    artifacts = served.until("artifact", lambda: served.ask("POST", "/artifacts/filter", json=wanted).json())
    assert sentence in artifacts[0]["data"]
    assert artifacts[0]["flow_run_id"] == run["id"]
