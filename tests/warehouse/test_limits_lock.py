"""How much DuckDB may take of a machine, and one loader at a time."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from lipforcing_core.base.errors import WarehouseError
from warehouse import limits, loader
from warehouse.lock import loader_lock

GB = 1_000_000_000


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """Pretend to a machine: its memory, its container's, its cores, its free disk in bytes."""

    def is_one_with(memory: int, container: str | None, cores: int, disk: int) -> dict[str, str]:
        limit = tmp_path / "memory.max"
        limit.unlink(missing_ok=True)
        if container is not None:
            limit.write_text(container)
        monkeypatch.setattr(limits, "_CONTAINER_MEMORY", limit)
        monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=memory))
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)))
        monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=disk))
        limits.resource_config.cache_clear()
        return limits.resource_config()

    yield is_one_with
    monkeypatch.undo()
    limits.resource_config.cache_clear()


@pytest.mark.parametrize(
    ("memory", "container", "cores", "disk", "expected"),
    [
        (64 * GB, None, 16, 900 * GB, ("8000MB", "4", "16000MB")),
        (10 * GB, "max\n", 3, 10 * GB, ("5000MB", "3", "5000MB")),
        (10 * GB, f"{4 * GB}\n", 1, 3 * GB, ("2000MB", "1", "1500MB")),
        (2 * GB, f"{4 * GB}\n", 4, 2_000_003, ("1000MB", "4", "1MB")),
        (GB // 10, None, 5, 31 * GB, ("200MB", "4", "15500MB")),
        (17 * GB, "", 5, 33 * GB, ("8000MB", "4", "16000MB")),
    ],
)
def test_half_of_what_is_there_within_bounds(
    memory: int,
    container: str | None,
    cores: int,
    disk: int,
    expected: tuple[str, str, str],
    machine: object,
) -> None:
    found = machine(memory, container, cores, disk)  # type: ignore[operator]
    assert (found["memory_limit"], found["threads"], found["max_temp_directory_size"]) == expected
    assert found["temp_directory"] == limits.spill_folder(os.getpid())
    assert limits.resource_config() is found, "asked once in a process"
    assert Path(found["temp_directory"]).name.startswith("lipforcing-duckdb-")


SPILL = """
import os
import sys
from pathlib import Path
from warehouse.limits import spill_folder
folder = Path(spill_folder(os.getpid()))
assert spill_folder(os.getpid()) == str(folder)
(folder / "block").write_bytes(b"1")
child = os.fork()
if child == 0:
    sys.exit(0)
os.waitpid(child, 0)
assert (folder / "block").is_file(), "a child removes nothing of its parent"
print(folder)
if len(sys.argv) > 1:
    (folder / "block").unlink()
    folder.rmdir()
"""


@pytest.mark.parametrize("arguments", [[], ["gone already"]])
def test_the_spill_folder_goes_with_its_process(arguments: list[str], tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[2]
    run = subprocess.run(
        [sys.executable, "-c", SPILL, *arguments],
        env={**os.environ, "PYTHONPATH": str(root), "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stderr) == (0, "")
    assert Path(run.stdout.strip()).parent == tmp_path
    assert list(tmp_path.iterdir()) == []


class Clock:
    """A clock that only sleeping moves on; ``freed``: when another loader lets go of its lock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, holder: int, freed_s: float) -> None:
        self.now_s, self.sleeps = 0.0, 0
        self._holder, self._freed_s = holder, freed_s
        monkeypatch.setattr(time, "monotonic", lambda: self.now_s)
        monkeypatch.setattr(time, "sleep", self._sleep)

    def _sleep(self, pause_s: float) -> None:
        self.sleeps += 1
        self.now_s += pause_s
        assert self.sleeps < 1000
        if self.now_s >= self._freed_s:
            fcntl.flock(self._holder, fcntl.LOCK_UN)


@pytest.mark.parametrize(
    ("wait_s", "freed_s", "held", "sleeps"),
    [(0.0, 9.0, False, 0), (0.2, 9.0, False, 4), (0.2, 0.11, True, 3), (30.0, 0.5, True, 10)],
)
def test_a_loader_waits_for_another_as_long_as_it_is_told(
    wait_s: float, freed_s: float, held: bool, sleeps: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "loader.lock"
    with open(path, "w+", encoding="ascii") as other:
        other.write("a loader with a long name\n")
        other.flush()
        fcntl.flock(other, fcntl.LOCK_EX)
        clock = Clock(monkeypatch, other.fileno(), freed_s)
        if held:
            with loader_lock(path, wait_s=wait_s):
                assert path.read_text() == f"{os.getpid()}\n"
        else:
            words = "is being loaded by process a loader with a long name; try again when it has finished"
            with pytest.raises(WarehouseError, match=words) as caught, loader_lock(path, wait_s=wait_s):
                pass
            assert str(caught.value).startswith(f"{tmp_path}: ")
    assert clock.sleeps == pytest.approx(sleeps, abs=1 if sleeps > 4 else 0)


@pytest.mark.parametrize(("left", "holder"), [(b"", "unknown"), (b" \n", "unknown"), (b"\xe9\n", "\ufffd")])
def test_a_holder_that_left_no_number(left: bytes, holder: str, tmp_path: Path) -> None:
    path = tmp_path / "loader.lock"
    path.write_bytes(left)
    with open(path, "rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(WarehouseError, match=f"by process {holder};"), loader_lock(path, wait_s=0):
            pass


def test_the_lock_makes_its_folder_and_keeps_others_out(tmp_path: Path) -> None:
    path = tmp_path / "new" / "deep" / "loader.lock"
    for _ in range(2):
        with loader_lock(path, wait_s=0):
            assert path.read_text() == f"{os.getpid()}\n"
            with open(path, "rb") as other, pytest.raises(BlockingIOError):
                fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with open(path, "rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.parametrize("action", [loader.load, loader.rebuild])
def test_a_load_waits_half_a_minute_if_nothing_else_is_said(
    action: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited = []

    def lock(path: Path, *, wait_s: float) -> object:
        waited.append((path, wait_s))
        return loader_lock(path, wait_s=0)

    monkeypatch.setattr(loader, "loader_lock", lock)
    action(tmp_path / "inbox", tmp_path / "w.duckdb")  # type: ignore[operator]
    action(tmp_path / "inbox", tmp_path / "w.duckdb", wait_s=2.5)  # type: ignore[operator]
    assert waited == [(tmp_path / "loader.lock", 30.0), (tmp_path / "loader.lock", 2.5)]
