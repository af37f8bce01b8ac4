"""Curation that is killed at any moment and started again ends as if nobody had killed it."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest

from lipforcing_core.base.products import read_json
from lipforcing_core.curation.manifest import read_decisions, read_manifest
from tests.mutants.clips import KINDS, clip

pytestmark = pytest.mark.ray

REPOSITORY = Path(__file__).resolve().parents[2]
SETTINGS = """[curation]
min_segment_s = 0.8
max_segment_s = 1.2
min_face_height_px = 30
quality_threshold = 100
sync_confidence_min = -100
max_abs_offset_frames = 15
"""
LONGEST_RUN_S = 240.0
SETTLED_S = 2.5
"""So long after it was written a source file counts as unchanged, and its hash is remembered."""
AT_WORK = (["ray::read-source"], ["ray::measure-source"])
"""What Ray calls the processes that are at work on a source, after the stations of ``tasks.curation``."""
CLOCKS = {"started_at", "finished_at", "cpu_seconds", "gpu_seconds"}
TABLES = ("manifest.parquet", "decisions.parquet", "sources.parquet", "fingerprints.parquet", "funnel.json")


@dataclass
class Run:
    """One ``lipforcing curate`` as a process that leads a group of its own."""

    workspace: Path
    corpus: Path
    process: subprocess.Popen[bytes] = field(init=False)

    def __post_init__(self) -> None:
        self.workspace.mkdir(exist_ok=True)
        settings = self.corpus.with_suffix(".toml")
        words = ["--workspace", str(self.workspace), "curate", str(self.corpus), "--settings", str(settings)]
        with open(self.workspace.with_suffix(".txt"), "ab") as told:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "apps.cli.main", *words],
                cwd=REPOSITORY,
                stdout=told,
                stderr=told,
                start_new_session=True,
            )

    def ends_well(self) -> None:
        """Wait for its end, which must be a good one."""
        assert self.process.wait(LONGEST_RUN_S) == 0, self.workspace.with_suffix(".txt").read_text()

    def goes_on_for(self, num_products: int, then_s: float) -> bool:
        """Wait until so many further files are there, and a moment; False if it ended before that."""
        before, deadline = num_files(self.workspace), time.monotonic() + LONGEST_RUN_S
        while num_files(self.workspace) < before + num_products:
            assert time.monotonic() < deadline, "nothing is made any more"
            if self.process.poll() is not None:
                return False
            time.sleep(0.02)
        time.sleep(then_s)
        return self.process.poll() is None

    def kill(self, whom: str) -> bool:
        """SIGKILL for the driver alone, for all its processes, or for one that is at work on a source.

        False where nobody is at work on a source.
        """
        if whom == "worker":
            for worker in self.workers():
                worker.kill()
                return True
            return False
        with suppress(ProcessLookupError):
            (os.kill if whom == "driver" else os.killpg)(self.process.pid, signal.SIGKILL)
        self.process.wait()
        return True

    def workers(self) -> Iterator[psutil.Process]:
        for child in psutil.Process(self.process.pid).children(recursive=True):
            with suppress(psutil.Error):
                if child.cmdline()[:1] in AT_WORK:
                    yield child

    def sweep(self) -> None:
        """End what is left of it."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def num_files(workspace: Path) -> int:
    """Files that are made one after the other: of the store, of the run folder, of the inbox."""
    return sum(len(names) for _, _, names in os.walk(workspace))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six clips of puppets, a copy of one, one without sound, and one that is broken."""
    folder = tmp_path_factory.mktemp("kills") / "corpus"
    folder.mkdir()
    with_sound = [kind for kind in KINDS if kind.sound]
    for number, kind in enumerate(with_sound[:6]):
        (folder / f"{number}.{kind.container}").write_bytes(clip(kind, number + 1))
    first = folder / f"0.{with_sound[0].container}"
    (folder / "copy.mp4").write_bytes(first.read_bytes())
    (folder / "mute.mp4").write_bytes(clip(KINDS[2], 7))
    (folder / "broken.mp4").write_bytes(first.read_bytes()[: first.stat().st_size // 2])
    folder.with_suffix(".toml").write_text(SETTINGS)
    time.sleep(SETTLED_S)
    return folder


@pytest.fixture(scope="module")
def undisturbed(corpus: Path) -> Path:
    run = Run(corpus.parent / "undisturbed", corpus)
    run.ends_well()
    folder = run_folder(run.workspace)
    clips = read_manifest(folder / "manifest.parquet")
    decisions = read_decisions(folder / "decisions.parquet")
    assert len({clip.source for clip in clips}) == 6
    reasons = {d.source: d.reason and d.reason.value for d in decisions if d.level == "source"}
    assert reasons == {"broken.mp4": "truncated", "copy.mp4": "duplicate", "mute.mp4": "no_audio"}
    return run.workspace


def run_folder(workspace: Path) -> Path:
    (folder,) = [path for path in (workspace / "runs" / "curate").iterdir() if not path.is_symlink()]
    return folder


def step_results(workspace: Path) -> dict[str, object]:
    """The results of all finished steps by their place in the store."""
    store = workspace / "state" / "steps"
    return {str(path.relative_to(store)): read_json(path) for path in store.glob("*/[!.]*/result.json")}


def inbox_rows(workspace: Path) -> dict[str, list[dict[str, object]]]:
    """The rows of every file of the inbox, clocks and costs aside."""
    inbox = workspace / "state" / "warehouse" / "inbox"
    return {
        str(path.relative_to(inbox)): [
            {name: value for name, value in row.items() if name not in CLOCKS}
            for row in pq.read_table(path, partitioning=None).to_pylist()
        ]
        for path in inbox.rglob("*.parquet")
        if path.relative_to(inbox).parts[0] != "stage_timings"  # what killed runs had spent is lost
    }


def assert_same(workspace: Path, undisturbed: Path) -> None:
    """Products, steps and rows are those of a run that nobody killed, and nothing half-done is left."""
    found, expected = run_folder(workspace), run_folder(undisturbed)
    for name in TABLES:
        assert (found / name).read_bytes() == (expected / name).read_bytes(), name
    clips = {path.name: path.read_bytes() for path in (expected / "clips").iterdir()}
    assert {path.name: path.read_bytes() for path in (found / "clips").iterdir()} == clips
    assert step_results(workspace) == step_results(undisturbed)
    assert inbox_rows(workspace) == inbox_rows(undisturbed)
    left = [
        str(path.relative_to(workspace))
        for path in workspace.rglob(".*")
        if ".tmp" in path.name or ".old" in path.name or path.name.endswith(".partial")
    ]
    assert left == []


def disturbed(workspace: Path, corpus: Path, kills: list[str], rng: random.Random) -> list[str]:
    """Start a curation again and again, and kill it; the kills that are left when it came to its end by itself."""
    run = Run(workspace, corpus)
    try:
        while kills:
            if rng.random() < 0.15:
                alive = run.goes_on_for(0, rng.uniform(0, 8))  # amid its start
            else:
                alive = run.goes_on_for(rng.choice((1, 2, 3, 5, 8)), rng.uniform(0, 0.3))
            if not alive:
                break
            if not run.kill(kills[0]):
                continue  # a worker is killed at the next moment at which one is at work
            kills = kills[1:]
            if run.process.poll() is not None:
                run.sweep()
                run = Run(workspace, corpus)
        else:
            run.ends_well()
    finally:
        run.sweep()
    return kills


def kill_all(kills: list[str], corpus: Path, undisturbed: Path, folder: Path, seed: int) -> int:
    """Spend all kills, on as many workspaces as it takes, each of which must come to the same; their number."""
    rng, num_workspaces, most = random.Random(seed), 0, len(kills) + 2
    while kills:
        assert num_workspaces < most, f"{kills[0]} is to be killed and never found"
        workspace = folder / f"{num_workspaces}"
        share = kills[:8]
        kills = disturbed(workspace, corpus, share, rng) + kills[8:]
        run = Run(workspace, corpus)
        run.ends_well()
        assert_same(workspace, undisturbed)
        num_workspaces += 1
    return num_workspaces


@pytest.mark.timeout(600)
def test_three_kills_change_nothing(corpus: Path, undisturbed: Path, tmp_path: Path) -> None:
    kill_all(["worker", "driver", "group"], corpus, undisturbed, tmp_path, seed=3)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_thirty_kills_at_any_moment_change_nothing(corpus: Path, undisturbed: Path, tmp_path: Path) -> None:
    kills = random.Random(0).sample(["driver", "group", "worker"] * 11, 33)
    kill_all(kills, corpus, undisturbed, tmp_path, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_two_runs_at_once_in_one_workspace_are_one(corpus: Path, undisturbed: Path, tmp_path: Path) -> None:
    """The second waits for the first and finds its work done; a kill of the first hands the work over."""
    for number, killed in enumerate((False, True)):
        workspace = tmp_path / f"{number}"
        runs = [Run(workspace, corpus), Run(workspace, corpus)]
        try:
            if killed:
                runs[0].goes_on_for(6, 0.1)
                runs[0].kill("group")
            for run in runs[killed:]:
                run.ends_well()
        finally:
            for run in runs:
                run.sweep()
        if killed:
            Run(workspace, corpus).ends_well()
        assert_same(workspace, undisturbed)
