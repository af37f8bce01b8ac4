"""The whole factory on a corpus of a few clips: what it leaves, that it is done once, and that kills change nothing."""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lipforcing_core.base.products import file_sha256
from lipforcing_core.curation.manifest import read_decisions, read_manifest
from lipforcing_core.curation.reasons import RejectReason
from lipforcing_core.media.probe import probe
from lipforcing_core.puppets.corpus import reel_plan
from lipforcing_core.puppets.recording import render_clip
from lipforcing_core.puppets.truth import Outcome, read_truth
from lipforcing_core.runtime.bundle import load_bundle
from warehouse.digest import digest
from warehouse.query import fetch

pytestmark = [pytest.mark.flow, pytest.mark.ray, pytest.mark.timeout(900)]

SMALL_DEMO = [sys.executable, "-m", "tests.e2e.small_demo"]
REPOSITORY = Path(__file__).resolve().parents[2]
KILLED_AFTER_S = (10, 60)


def run_demo(workspace: Path, videos: Path) -> str:
    done = subprocess.run(
        [*SMALL_DEMO, str(workspace), str(videos)], capture_output=True, text=True, timeout=800, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a user might bring: a video with a face, a file that is none, and a link whose target is gone."""
    folder = tmp_path_factory.mktemp("mine")
    render_clip(folder / "größe.mp4", reel_plan(9, 0, size=256, num_shots=1))
    (folder / "junk.mp4").write_bytes(b"not a video")
    (folder / "gone.mp4").symlink_to("moved.mp4")
    return folder


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory, videos: Path) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    run_demo(folder, videos)
    return folder


def latest(workspace: Path) -> Path:
    return workspace / "runs" / "demo" / "latest"


def test_injected_truth_is_recovered(workspace: Path) -> None:
    (corpus,) = (workspace / "state" / "steps" / "puppets").glob("[!.]*")
    decisions = read_decisions(latest(workspace) / "curation" / "decisions.parquet")
    for clip in [*(corpus / "reels").glob("*.mp4"), *(corpus / "defects").glob("*.mp4")]:
        truth = read_truth(clip)
        own = [d for d in decisions if d.source.endswith(clip.name)]
        assert own, clip.name
        if truth.expected_outcome is Outcome.ACCEPT:
            assert {d.status.value for d in own} == {"accepted"}, (clip.name, own)
        else:
            assert {d.reason and d.reason.value for d in own} == {truth.expected_reason}, (clip.name, own)
        measured = {d.scores.av_offset_measured for d in own if d.scores.av_offset_measured is not None}
        is_silent = truth.expected_reason == RejectReason.SILENT_AUDIO  # silence goes with every offset alike
        assert is_silent or measured <= {truth.av_offset_frames}, clip.name
        starts = sorted(d.start_frame for d in own)
        cuts = [cut.frame_25 for cut in truth.cuts]
        assert all(min(abs(start - cut) for start in starts) <= 1 for cut in cuts), clip.name


def test_videos_of_the_user_are_curated_and_resynced_or_say_why_not(workspace: Path, videos: Path) -> None:
    decisions = read_decisions(latest(workspace) / "curation" / "decisions.parquet")
    outcome = {d.source: d.status.value for d in decisions}
    assert outcome["größe.mp4"] == "accepted"
    assert outcome["junk.mp4"] == outcome["gone.mp4"] == "quarantined"
    (made,) = (latest(workspace) / "your_videos").glob("*.mp4")
    assert probe(made).num_frames == 81
    printed = run_demo(workspace, videos)
    assert printed.count("not re-synced") == 2
    assert "not re-synced: a link to moved.mp4, which is not there" in printed


def test_clips_on_disk_are_those_of_the_manifest(workspace: Path) -> None:
    folder = latest(workspace) / "curation"
    clips = read_manifest(folder / "manifest.parquet")
    assert len(clips) >= 3
    for clip in clips:
        assert file_sha256(folder / clip.clip_path) == clip.clip_sha256
        assert file_sha256(folder / clip.audio_path) == clip.audio_sha256


def test_models_load_and_say_what_they_are(workspace: Path) -> None:
    ids = {
        name: load_bundle(latest(workspace) / "models" / name).model_id
        for name in ("teacher", "pretrained", "distilled")
    }
    assert ids["teacher"].startswith("teacher-")
    assert ids["pretrained"] != ids["distilled"]


def test_the_warehouse_has_scores_of_every_system(workspace: Path) -> None:
    snapshot = workspace / "state" / "warehouse" / "warehouse.duckdb"
    _, rows = fetch(
        snapshot,
        "select system, count(*) from metric_values where metric = 'sync_c' and clip_id is null group by 1",
    )
    assert {system for system, _ in rows} == {
        "copy",
        "truth",
        "teacher",
        "pretrained",
        "distilled",
        "distilled+unrelated_audio",
    }
    _, rows = fetch(snapshot, "select distinct stage from training_steps order by 1")
    assert [stage for (stage,) in rows] == ["diffusion_forcing", "distill", "lora"], "the base is shipped"
    _, rows = fetch(
        snapshot,
        "select value from metric_values where system = 'truth' and metric = 'ssim' and clip_id is null",
    )
    assert rows[0][0] == pytest.approx(1.0, abs=1e-6)


def test_the_report_is_one_file_that_loads_nothing(workspace: Path) -> None:
    html = (latest(workspace) / "report.html").read_text(encoding="utf-8")
    assert "Do the lips follow audio they have never heard?" in html
    assert "Distilled student" in html
    assert html.count("<video ") == 3, "two held-out clips and the one video of the user that has a face"
    assert not re.search(r"""(src|href)=["']https?://""", html)


def test_a_second_run_repeats_nothing(workspace: Path, videos: Path) -> None:
    before = digest(workspace / "state" / "warehouse" / "warehouse.duckdb")
    steps = sorted(workspace.glob("state/steps/*/*/result.json"))
    times = [path.stat().st_mtime_ns for path in steps]
    run_demo(workspace, videos)
    assert sorted(workspace.glob("state/steps/*/*/result.json")) == steps
    assert [path.stat().st_mtime_ns for path in steps] == times
    assert digest(workspace / "state" / "warehouse" / "warehouse.duckdb") == before


def test_any_system_can_be_scored_from_a_manifest(workspace: Path, tmp_path: Path) -> None:
    (corpus,) = (workspace / "state" / "steps" / "puppets").glob("[!.]*")
    items, predictions = ["clip_id,identity,truth_video,driving_audio"], ["clip_id,system,path,sha256"]
    for pair in sorted((corpus / "heldout").glob("pair_*")):
        shutil.copytree(pair, tmp_path / pair.name)
        items.append(f"{pair.name},{pair.name},{pair.name}/truth.mp4,{pair.name}/driving.wav")
        predictions.append(f"{pair.name},still,{pair.name}/source.mp4,{file_sha256(pair / 'source.mp4')}")
    (tmp_path / "items.csv").write_text("\n".join(items))
    (tmp_path / "predictions.csv").write_text("\n".join(predictions))
    arguments = ["evaluate", "predictions.csv", "--items", "items.csv", "--name", "mine", "--frames", "40"]
    command = [sys.executable, "-m", "apps.cli.main", "--workspace", str(tmp_path / "ws"), *arguments]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    snapshot = tmp_path / "ws" / "state" / "warehouse" / "warehouse.duckdb"
    _, rows = fetch(snapshot, "select system, n from leaderboard where metric = 'sync_c'")
    assert rows == [("still", 2)]


def test_generating_writes_nothing_into_the_workspace(workspace: Path, tmp_path: Path) -> None:
    """So that it works from a folder that cannot be written to."""
    (corpus,) = (workspace / "state" / "steps" / "puppets").glob("[!.]*")
    pair = sorted((corpus / "heldout").glob("pair_*"))[0]
    empty, output = tmp_path / "empty", tmp_path / "out" / "synced.mp4"
    empty.mkdir()
    output.parent.mkdir()
    arguments = ["generate", str(pair / "source.mp4"), str(pair / "driving.wav"), "-o", str(output)]
    arguments += ["--model", str(latest(workspace) / "models" / "distilled")]
    command = [sys.executable, "-m", "apps.cli.main", "--workspace", str(empty), *arguments]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(command, cwd=empty, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert output.is_file()
    assert list(empty.iterdir()) == []


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_kills_at_any_moment_change_nothing(workspace: Path, videos: Path, tmp_path: Path) -> None:
    rng = random.Random(0)
    for _ in range(5):
        demo = subprocess.Popen(
            [*SMALL_DEMO, str(tmp_path), str(videos)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            demo.wait(timeout=rng.uniform(*KILLED_AFTER_S))
        except subprocess.TimeoutExpired:
            demo.kill()
            demo.wait()
    run_demo(tmp_path, videos)
    manifests = [file_sha256(latest(w) / "curation" / "manifest.parquet") for w in (workspace, tmp_path)]
    assert manifests[0] == manifests[1]
    digests = [digest(w / "state" / "warehouse" / "warehouse.duckdb") for w in (workspace, tmp_path)]
    assert digests[0] == digests[1]
