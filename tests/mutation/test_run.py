"""The runner on a package of two functions, one of which is tested badly."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

SUMS = """START = 0


def plus(a, b):
    return a + b


def minus(a, b):
    return a - b


def unused(a):
    return a * 2
"""
TESTS = """from sums import START, minus, plus


def test_plus():
    assert plus(2, 3) == 5


def test_minus():
    assert minus(0, 0) == 0


def test_start():
    assert START == 0
"""


def test_noticed_survived_and_unreached_faults_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "sums.py").write_text(SUMS)
    (tmp_path / "test_sums.py").write_text(TESTS)
    run = subprocess.run(
        [sys.executable, "-m", "tests.mutation", "sums.py", "--tests", "test_sums.py", "--workers", "1"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{tmp_path}"},
        capture_output=True,
        text=True,
        check=True,
    )
    lines = run.stdout.splitlines()
    assert "sums.py:9 minus: a - b -> (a + b)  [survived]" in lines
    assert "sums.py:13 unused: a * 2 -> (a / 2)  [no test reaches the line]" in lines
    assert not any(" plus:" in line for line in lines)
    assert not any(" module:" in line for line in lines), "a constant is read by a test that runs no line"
    assert lines[-1].split()[:2] == ["40.0%", "5"]
    assert (tmp_path / "sums.py").read_text() == SUMS
