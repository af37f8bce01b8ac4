"""Every example runs as its first lines say, and prints what it promises."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"


def run_example(name: str, *arguments: str, workspace: Path) -> str:
    run = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *arguments],
        cwd=workspace,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "LIPFORCING_WORKSPACE": str(workspace),
            "MPLBACKEND": "Agg",
        },
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    return run.stdout


@pytest.mark.timeout(900)
def test_curate_folder(tmp_path: Path) -> None:
    printed = run_example("curate_folder.py", str(tmp_path), workspace=tmp_path)
    assert "2 sources, " in printed
    assert "source_name blurred.mp4, decision rejected, reason quality_low" in printed
    assert "source_name good.mp4, decision accepted" in printed


@pytest.mark.timeout(900)
def test_run_experiment(tmp_path: Path) -> None:
    printed = run_example("run_experiment.py", str(tmp_path), workspace=tmp_path)
    assert {line.split()[0] for line in printed.splitlines()[:-1]} >= {"teacher", "pretrained", "distilled"}
    assert Path(printed.splitlines()[-1].removeprefix("report: ")).is_file()


def test_ask_warehouse(tmp_path: Path) -> None:
    printed = run_example("ask_warehouse.py", str(tmp_path), workspace=tmp_path)
    sync, frontier, own = printed.strip().split("\n\n")
    assert sync.splitlines()[2].split()[:3] == ["OmniAvatar-LS", "14B", "8.98"], (
        "the best Sync-C that is printed"
    )
    assert {"Wav2Lip", "Lip Forcing 1.3B"} <= {
        line.rsplit(maxsplit=2)[0].strip() for line in frontier.splitlines()
    }
    assert own.endswith("(nothing yet)"), "no run has been here"


def test_analyst_notebook(tmp_path: Path) -> None:
    pytest.importorskip(
        "marimo", reason="marimo is not installed: pip install 'lipforcing-factory[notebooks]'"
    )
    run_example("analyst_notebook.py", workspace=tmp_path)
    assert (tmp_path / "state" / "warehouse" / "warehouse.duckdb").is_file()


def test_every_example_is_listed_and_tested() -> None:
    names = {path.name for path in EXAMPLES.glob("*.py")}
    listed = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    tested = Path(__file__).read_text(encoding="utf-8")
    assert all(f"`{name}`" in listed and f'"{name}"' in tested for name in names)
