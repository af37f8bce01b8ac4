"""What a run costs: CPU time of the whole tree of processes, accelerators, and the machine."""

from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from tasks import cost
from tasks.cost import Usage, cost_since, machine, process_tree_cpu_s, read_meters

BURN = "import time\nend = time.process_time() + {seconds}\nwhile time.process_time() < end: pass\n"


def test_time_of_children_counts_while_they_run_and_after_they_ended() -> None:
    before = process_tree_cpu_s()
    child = subprocess.Popen(
        [sys.executable, "-c", BURN.format(seconds=0.4) + "print('burnt', flush=True)\ninput()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "burnt\n"
    running = process_tree_cpu_s() - before
    child.communicate("\n")
    assert running >= 0.4
    assert process_tree_cpu_s() - before >= running - 0.05


def test_a_run_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "_accelerators", list)
    monkeypatch.setattr(cost, "_accelerators_of_workers", lambda: None)
    start = read_meters()
    subprocess.run([sys.executable, "-c", BURN.format(seconds=0.2)], check=True)
    row = cost_since(start)
    assert (row["device"], row["device_count"], row["gpu_seconds"]) == ("cpu", 0, 0.0)
    assert 0.2 <= row["cpu_seconds"] < 60
    assert cost_since(Usage(clock_s=start.clock_s, cpu_s=1e9))["cpu_seconds"] == 0.0


def test_accelerators_that_hold_memory_are_billed_by_the_wall_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = SimpleNamespace(
        is_available=lambda: True,
        is_initialized=lambda: True,
        device_count=lambda: 3,
        max_memory_reserved=lambda index: (1024, 0, 2048)[index],
        get_device_name=lambda index: f"NVIDIA {index}",
    )
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    now = read_meters()
    row = cost_since(Usage(clock_s=now.clock_s - 100.0, cpu_s=now.cpu_s))
    assert (row["device"], row["device_count"]) == ("NVIDIA 0, NVIDIA 2", 2)
    assert row["gpu_seconds"] == pytest.approx(200, abs=60)
    cuda.is_initialized = lambda: False
    assert cost._accelerators() == []


def test_accelerators_of_workers_are_named_and_their_time_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "_accelerators", list)
    for gpus, expected in ((2.0, ("accelerators of Ray workers", None, None)), (0.0, ("cpu", 0, 0.0))):
        ray = SimpleNamespace(is_initialized=lambda: True, cluster_resources=lambda gpus=gpus: {"GPU": gpus})
        monkeypatch.setitem(sys.modules, "ray", ray)
        row = cost_since(read_meters())
        assert (row["device"], row["device_count"], row["gpu_seconds"]) == expected


def test_the_machine_is_described() -> None:
    row = machine()
    assert row["cpu_count"] == len(os.sched_getaffinity(0))
    assert row["memory_bytes"] > 100_000_000
    assert row["python_version"] in row["host"]
