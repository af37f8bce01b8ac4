"""The processor, on systems that tell more of it and less."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import pytest

from lipforcing_core.base import machine


def test_the_name_is_that_of_the_first_core(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = tmp_path / "cpuinfo"
    facts.write_text("processor\t: 0\nmodel name\t: Fast: 9\nprocessor\t: 1\nmodel name\t: Slow 1\n")
    monkeypatch.setattr(machine, "CPU_FACTS", facts)
    assert machine.processor_name() == "Fast: 9"


@pytest.mark.parametrize(("said", "expected"), [("arm", "arm"), ("", None)])
def test_a_system_without_proc_is_asked_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, expected: str | None
) -> None:
    monkeypatch.setattr(machine, "CPU_FACTS", tmp_path / "absent")
    monkeypatch.setattr(platform, "processor", lambda: said)
    assert machine.processor_name() == expected


def test_cores_are_counted_where_the_system_knows_no_affinity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: {0, 5, 7}, raising=False)
    assert machine.usable_cpus() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 12)
    assert machine.usable_cpus() == 12
