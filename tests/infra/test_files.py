"""The files of ``infra/``: what they name exists, and the requests in them are requests."""

from __future__ import annotations

import importlib
import json
import os
import shlex
import sys
import sysconfig
from collections.abc import Iterator
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from apps.cli.main import app
from flows.catalogue import FLOWS, flow_entry, parse_request
from flows.deployments import DEPLOYMENTS, NIGHTLY, check_cron, chosen
from lipforcing_core.base.errors import BadInputError
from tasks.environment import QUIET_AND_OFFLINE

INFRA = Path(__file__).resolve().parents[2] / "infra"
PREFECT: dict[str, Any] = yaml.safe_load((INFRA / "prefect.yaml").read_text())
RAY_DOCUMENTS: list[dict[str, Any]] = list(yaml.safe_load_all((INFRA / "rayjob.yaml").read_text()))


def deployments() -> Iterator[Any]:
    yield from (pytest.param(entry, id=entry["name"]) for entry in PREFECT["deployments"])


@pytest.mark.parametrize("deployment", deployments())
def test_entrypoints_are_flows_and_parameters_are_their_requests(deployment: dict[str, Any]) -> None:
    file, name = deployment["entrypoint"].split(":")
    flow = getattr(importlib.import_module(file.removesuffix(".py").replace("/", ".")), name)
    (entry,) = (entry for entry in FLOWS.values() if entry.entrypoint == deployment["entrypoint"])
    assert flow is entry.load()
    assert flow.should_validate_parameters
    parse_request(entry, deployment["parameters"]["request"])
    assert set(deployment["parameters"]) == {"request"}
    checked = flow.validate_parameters(deployment["parameters"])
    assert isinstance(checked["request"], entry.request)
    for schedule in deployment.get("schedules", []):
        check_cron(schedule["cron"])


def test_no_flow_hides_an_installed_package() -> None:
    """Prefect puts the folder of an entrypoint first on the import path: a ``requests.py`` there breaks every import
    of the package of that name, and `prefect deploy` with it."""
    ours = str(INFRA.parent)
    folders = {(INFRA.parent / d["entrypoint"].split(":")[0]).parent for d in PREFECT["deployments"]}
    elsewhere = [entry for entry in sys.path if not os.path.realpath(entry or ".").startswith(ours)]
    elsewhere.append(sysconfig.get_path("purelib"))
    names = {file.stem for folder in folders for file in folder.glob("*.py")} - {"__init__"}
    assert len(names) >= len(FLOWS)
    assert [name for name in sorted(names) if PathFinder.find_spec(name, elsewhere)] == []


def test_threads_of_a_worker_wait_as_those_of_the_command_line() -> None:
    (variables,) = {json.dumps(d["work_pool"]["job_variables"]["env"]) for d in PREFECT["deployments"]}
    assert json.loads(variables).items() <= QUIET_AND_OFFLINE.items()


@pytest.mark.parametrize("deployment", deployments())
def test_deployments_have_a_pool_tags_and_a_limit(deployment: dict[str, Any]) -> None:
    assert deployment["work_pool"]["name"] == "factory"
    assert deployment["tags"]
    assert deployment["concurrency_limit"]["limit"] >= 1


def test_a_laptop_serves_what_a_work_pool_runs() -> None:
    served = {
        d.name: (flow_entry(d.flow).entrypoint, d.cron, list(d.tags), d.about, d.timeout_h, d.at_once)
        for d in DEPLOYMENTS
    }
    pooled = {
        d["name"]: (
            d["entrypoint"],
            d["schedules"][0]["cron"] if d.get("schedules") else None,
            d["tags"],
            d["description"],
            d["parameters"]["request"]["timeout_h"],
            d["concurrency_limit"]["limit"],
        )
        for d in PREFECT["deployments"]
    }
    assert served == pooled


def test_a_ray_job_runs_the_command_line_with_a_request_that_is_one() -> None:
    (job,) = (document for document in RAY_DOCUMENTS if document["kind"] == "RayJob")
    (requests,) = (document for document in RAY_DOCUMENTS if document["kind"] == "ConfigMap")
    words = shlex.split(job["spec"]["entrypoint"])
    assert words[:3] == ["python", "-m", "apps.cli.main"]
    arguments = words[3:]
    at = arguments.index("run")
    result = CliRunner().invoke(app, [*arguments[: at + 1], "--help"])
    assert result.exit_code == 0
    request = json.loads(requests["data"][Path(arguments[arguments.index("--request") + 1]).name])
    parse_request(flow_entry(arguments[at + 1]), request)
    pods = [
        job["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"],
        *(group["template"]["spec"] for group in job["spec"]["rayClusterSpec"]["workerGroupSpecs"]),
    ]
    for pod in pods:
        assert pod["securityContext"]["runAsNonRoot"] is True
        names = {mount["name"] for container in pod["containers"] for mount in container["volumeMounts"]}
        assert names == {volume["name"] for volume in pod["volumes"]}
        shm = next(volume for volume in pod["volumes"] if volume["name"] == "shm")
        assert shm["emptyDir"]["medium"] == "Memory"


def test_the_image_copies_every_package_and_ends_as_an_ordinary_user() -> None:
    lines = (INFRA / "Dockerfile").read_text().splitlines()
    copied = {line.split()[1] for line in lines if line.startswith("COPY") and len(line.split()) == 3}
    root = INFRA.parent
    packages = {path.parent.name for path in root.glob("*/__init__.py")} - {"tests"}
    assert packages <= copied
    users = [line.split()[1] for line in lines if line.startswith("USER")]
    assert users
    assert users[-1] != "root"
    text = "\n".join(lines)
    assert "ARG VARIANT=cpu" in text
    assert {"AS base-cpu", "AS base-cuda"} <= {line[line.find("AS ") :] for line in lines if "AS " in line}
    assert "--shm-size" in text


def test_what_is_served_is_chosen_by_name_and_schedule(tmp_path: Path) -> None:
    names = [d.name for d in chosen(tmp_path, only=[], cron=None, source=None)]
    assert NIGHTLY not in names
    assert len(names) == len(DEPLOYMENTS) - 1
    (remote,) = chosen(tmp_path, only=[NIGHTLY], cron=None, source="s3://bucket/talks")
    assert remote.request["source"] == "s3://bucket/talks"
    (nightly,) = chosen(tmp_path, only=[NIGHTLY], cron="5 4 * * *", source=tmp_path)
    assert nightly.cron == "5 4 * * *"
    assert nightly.request == {"workspace": str(tmp_path), "source": str(tmp_path), "timeout_h": 20}
    for options, words in (
        ({"only": ["nightly"]}, r"--only: unknown deployment 'nightly'.* known: nightly-curation"),
        ({"only": [NIGHTLY]}, "give it with --source"),
        ({"only": [], "cron": "* * * * *"}, "name it with --only"),
        ({"only": ["generate"], "cron": "every day"}, "is no cron schedule"),
        ({"only": [], "source": tmp_path / "none"}, "there is no such file or folder"),
    ):
        with pytest.raises(BadInputError, match=words):
            chosen(tmp_path, **({"cron": None, "source": None, "only": []} | options))  # type: ignore[arg-type]
