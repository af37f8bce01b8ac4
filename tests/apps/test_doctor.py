"""What ``lipforcing doctor`` says of the machine: a small /dev/shm, as a container has it, with the flag that helps."""

from __future__ import annotations

import shutil
from collections import namedtuple
from pathlib import Path

import pytest
from typer.testing import CliRunner

from apps.cli import doctor
from apps.cli.doctor import Finding, Health, examine
from apps.cli.main import app
from tasks.workspace import Workspace

Usage = namedtuple("Usage", "total used free")
MIB = 2**20


def shared_memory(tmp_path: Path) -> Finding:
    (found,) = [finding for finding in examine(Workspace(tmp_path)) if finding.subject == "shared memory"]
    return found


@pytest.fixture
def shm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """A /dev/shm of as many bytes as the test says."""
    place, size = tmp_path / "shm", {"total": 64 * MIB}
    place.mkdir()
    real = shutil.disk_usage

    def usage(path: Path) -> object:
        return Usage(size["total"], 0, size["total"]) if Path(path) == place else real(path)

    monkeypatch.setattr(doctor, "SHARED_MEMORY", place)
    monkeypatch.setattr(shutil, "disk_usage", usage)
    return size


def test_the_64_mb_of_a_container_are_named_with_the_flag(tmp_path: Path, shm: dict[str, int]) -> None:
    found = shared_memory(tmp_path)
    assert found.health is Health.OPTIONAL, "Ray works with files, only slower"
    assert found.detail == f"64 MiB in {tmp_path / 'shm'}; Ray falls back to slow files"
    assert "docker run --shm-size=2g" in found.remedy
    printed = CliRunner(env={"COLUMNS": "300"}).invoke(app, ["-w", str(tmp_path), "doctor"])
    lines = printed.output.splitlines()
    (line,) = [number for number, text in enumerate(lines) if "shared memory" in text]
    assert lines[line].startswith("optional shared memory")
    assert "64 MiB" in lines[line]
    assert "-> start the container with `docker run --shm-size=2g ...`" in lines[line + 1]
    assert printed.exit_code == 0


@pytest.mark.parametrize(
    ("total", "health"), [(0, "optional"), (1023 * MIB, "optional"), (1024 * MIB, "ok"), (2048 * MIB, "ok")]
)
def test_a_gibibyte_is_enough(total: int, health: str, tmp_path: Path, shm: dict[str, int]) -> None:
    shm["total"] = total
    found = shared_memory(tmp_path)
    assert found.health == health
    assert bool(found.remedy) == (health == "optional")
    assert f"{total // MIB} MiB" in found.detail


def test_a_system_without_shared_memory_is_fine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "SHARED_MEMORY", tmp_path / "none")
    found = shared_memory(tmp_path)
    assert (found.health, found.remedy) == (Health.OK, "")
    assert "Ray uses files" in found.detail


def test_a_check_that_fails_is_a_finding(
    tmp_path: Path, shm: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_path: Path) -> None:
        raise OSError("stale handle")

    monkeypatch.setattr(shutil, "disk_usage", broken)
    found = shared_memory(tmp_path)
    assert found.health is Health.BROKEN
    assert "OSError: stale handle" in found.detail
