"""One more of everything: its file, its entry, ``make docs``, and the tests of the house pass.

A copy of the tree gets one more implementation of every seam, as a person would write it, and nothing else is edited.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lipforcing_core.seams.catalogues import all_seams
from tests.seams.growth import ADDITIONS, append_entry

ROOT = Path(__file__).resolve().parents[2]
LEFT_OUT = shutil.ignore_patterns(".*", "runs", "state", "shared", "build", "*.egg-info", "__pycache__")
DOCS = (
    ("lipforcing_core.seams.tiers", "README.md"),
    ("apps.cli.main", "warehouse", "dictionary", "-o", "docs/data_dictionary.md"),
)
"""The commands of ``make docs``, as modules."""

TESTS = (
    "tests/apps/test_doctor.py",
    "tests/apps/test_settings_commands.py",
    "tests/base/test_catalogue.py",
    "tests/base/test_describe.py",
    "tests/base/test_new_choices.py",
    "tests/base/test_suggestions.py",
    "tests/benchmarks/test_timing.py",
    "tests/curation/test_settings_sources.py",
    "tests/docs",
    "tests/faces/detectors/test_catalogue.py",
    "tests/flows/test_requests.py",
    "tests/metrics/measures/test_catalogue.py",
    "tests/metrics/measures/test_families.py",
    "tests/metrics/networks/test_catalogue.py",
    "tests/metrics/test_backends.py",
    "tests/models/test_bases.py",
    "tests/models/test_catalogues.py",
    "tests/presets",
    "tests/runtime/test_new_backends.py",
    "tests/seams/test_seams.py",
    "tests/sync/experts/test_catalogue.py",
    "tests/tasks/test_training_device.py",
    "tests/test_architecture.py",
    "tests/training/test_optimisation.py",
    "tests/warehouse/test_docs.py",
    "tests/weights/test_registry.py",
)
"""All that read a catalogue and say what is in it."""


def run(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python in the tree at ``root``, with the modules of that tree."""
    environment = os.environ | {"PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, cwd=root, env=environment, capture_output=True, text=True, encoding="utf-8", check=False
    )


def test_every_seam_has_an_addition() -> None:
    assert {addition.seam for addition in ADDITIONS} == {seam.name for seam in all_seams()}


def test_an_entry_is_appended_where_a_person_would_write_it(tmp_path: Path) -> None:
    path = tmp_path / "table.py"
    path.write_text("A = 1\n\nT = dict(\n    entries=(\n        A,\n    ),\n    b=(\n        A,\n    ),\n)\n")
    append_entry(path, "T", "def two():\n    return 2\n", "two()")
    assert path.read_text() == (
        "A = 1\n\ndef two():\n    return 2\n\n\nT = dict(\n    entries=(\n        A,\n        two(),\n    ),\n"
        "    b=(\n        A,\n    ),\n)\n"
    )


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_one_more_of_everything_costs_its_file_and_its_entry(tmp_path: Path) -> None:
    root = tmp_path / "tree"
    shutil.copytree(ROOT, root, ignore=LEFT_OUT)
    for addition in ADDITIONS:
        addition.write(root)
    for command in DOCS:
        done = run(root, "-m", *command)
        assert done.returncode == 0, done.stderr
    readme = (root / "README.md").read_text(encoding="utf-8")
    for name in ("quick", "20b", "trial", "trial-distance"):
        assert f"`{name}`" in readme
    assert "| greenness | Greenness |" in (root / "docs" / "data_dictionary.md").read_text(encoding="utf-8")
    done = run(root, "-m", "pytest", "-q", "-p", "no:cacheprovider", *TESTS)
    assert done.returncode == 0, done.stdout[-20_000:]
