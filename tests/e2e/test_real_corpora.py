"""``lipforcing train-eval`` on a folder of videos and on a manifest, each with a list of items and without one.

The videos happen to be puppets, since those are small and known; nothing that is told of the runs may say so.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from flows.catalogue import run_flow
from lipforcing_core.base.errors import BadInputError
from lipforcing_core.curation.manifest import read_manifest
from lipforcing_core.media.probe import probe
from lipforcing_core.puppets.portraits import portrait_names
from lipforcing_core.puppets.recording import ClipPlan, Shot, render_clip
from lipforcing_core.puppets.rig import PuppetScript
from warehouse.query import fetch

pytestmark = [pytest.mark.flow, pytest.mark.ray, pytest.mark.timeout(900)]

REPOSITORY = Path(__file__).resolve().parents[2]
TRAINED, HELD_OUT = "bert", "anna"  # at val_fraction 0.5 the hash of a name puts them there
NUM_FRAMES = 80
EXPERIMENT = """
name = "{name}"
[corpus]
{corpus}
[curation]
val_fraction = 0.5
min_segment_s = 3.0
[preset]
extends = "nano"
[preset.schedule]
num_steps = 4
sync_window_start = 1
sync_window_stop = 3
[preset.lora]
steps = 2
batch_size = 2
checkpoint_every = 1
[preset.diffusion_forcing]
steps = 2
batch_size = 2
checkpoint_every = 1
[preset.distill]
critic_per_student = 1
[preset.distill.student]
steps = 1
batch_size = 2
checkpoint_every = 1
"""
VIDEOS, MANIFEST = (
    'kind = "videos"\nsource = "talks"\n',
    'kind = "manifest"\nmanifest = "data/manifest.parquet"\n',
)
ITEMS = 'items = "items/items.csv"\n'


@dataclass(frozen=True)
class Ran:
    """A run of an experiment: what was printed, its folder, and its rows."""

    printed: str
    folder: Path

    @property
    def report(self) -> str:
        return (self.folder / "report.html").read_text(encoding="utf-8")

    @property
    def run_id(self) -> str:
        return self.folder.resolve().name

    def rows(self, query: str) -> list[Any]:
        snapshot = self.folder.parents[2] / "state" / "warehouse" / "warehouse.duckdb"
        return fetch(snapshot, query.format(run=f"'{self.run_id}'"))[1]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with videos of two people, a table that says who they are, and files that are no videos."""
    folder = tmp_path_factory.mktemp("real")
    talks = folder / "talks"
    talks.mkdir()
    for seed, name in enumerate((TRAINED, HELD_OUT)):
        script = PuppetScript.varied(
            portrait=portrait_names()[seed], seed=seed, num_frames=NUM_FRAMES, size=256
        )
        plan = ClipPlan(kind="reel", seed=seed, shots=(Shot(script=script, speech_seed=seed),))
        render_clip(talks / f"{name}.mp4", plan)
        (talks / f"{name}.json").unlink()
    rows = [f"{name}.mp4,{name},CC-BY-4.0" for name in (TRAINED, HELD_OUT)]
    (talks / "sources.csv").write_text(
        "\n".join(["path,identity,licence", *rows, "gone.mp4,cleo,CC-BY-4.0\n"])
    )
    (talks / "notes.txt").write_text("not a video")
    return folder


def train_eval(place: Path, name: str, corpus: str) -> Ran:
    (place / f"{name}.toml").write_text(EXPERIMENT.format(name=name, corpus=corpus))
    command = [sys.executable, "-m", "apps.cli.main", "train-eval", f"{name}.toml"]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "COLUMNS": "200"}
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return Ran(printed=" ".join(done.stdout.split()), folder=place / "runs" / name / "latest")


@pytest.fixture(scope="module")
def of_videos(place: Path) -> Ran:
    return train_eval(place, "talks", VIDEOS)


@pytest.fixture(scope="module")
def of_manifest(place: Path, of_videos: Ran) -> Ran:
    """A manifest that was moved with its clips, and a list that drives the held-out face with another's speech."""
    shutil.copytree(of_videos.folder / "curation", place / "data")
    items = place / "items"
    items.mkdir()
    for name in (TRAINED, HELD_OUT):
        shutil.copy(place / "talks" / f"{name}.mp4", items)
    (items / "items.csv").write_text(
        "clip_id,identity,truth_video,driving_audio,unrelated_audio\n"
        f"first,{HELD_OUT},{HELD_OUT}.mp4,{HELD_OUT}.mp4,{TRAINED}.mp4\n"
    )
    return train_eval(place, "listed", MANIFEST + ITEMS)


def check(ran: Ran, systems: set[str]) -> None:
    """A run that came to its end: rows, a page with what it says, and videos that play.

    The truth is in sync with its own sound, which shows that its face was cut where it is.
    """
    assert ran.rows("select status, preset from runs where run_id = {run}") == [("completed", "nano")]
    scored = "select distinct system from metric_values where run_id = {run} and metric = 'ssim' and clip_id is null"
    assert {system for (system,) in ran.rows(scored)} == systems
    of_truth = (
        "select value from metric_values where run_id = {run} and system = 'truth' and clip_id is null and "
        "metric in ('sync_c', 'av_offset_frames') order by metric"
    )
    (offset,), (confidence,) = ran.rows(of_truth)
    assert offset == 0.0
    assert confidence > 7
    stages = "select distinct stage from training_steps where run_id = {run} order by 1"
    assert [stage for (stage,) in ran.rows(stages)] == ["diffusion_forcing", "distill", "lora"]
    for system in ("teacher", "pretrained", "distilled"):
        assert (ran.folder / "models" / system / "model.safetensors").is_file()
    assert ran.report.count("<video ") == 1
    assert not re.search(r"""(src|href)=["']https?://""", ran.report)
    assert f"--model runs/{ran.folder.parent.name}/" in ran.printed
    assert re.search(rf"--model \S*runs/{ran.folder.parent.name}/", ran.report)
    request = json.loads((ran.folder / "request.json").read_text())
    assert request["name"] == ran.folder.parent.name
    for told in (ran.printed, told_of_the_run(ran.report)):
        assert not re.search(r"puppet|portrait|no system has heard|new audio \(", told, re.IGNORECASE), told


def told_of_the_run(report: str) -> str:
    """The page without pictures and without the table of what can be chosen, which describes a network of puppets."""
    before, _, rest = report.partition('<section id="embedded">')
    return re.sub(r'="data:[^"]*"', "", before + rest.partition("</section>")[2])


def test_a_folder_of_videos_without_a_list(of_videos: Ran) -> None:
    """The validation split, each clip driven by its own speech, so there is no control that could be heard."""
    check(of_videos, {"truth", "teacher", "pretrained", "distilled"})
    assert "2 sources: 2 accepted" in of_videos.printed
    assert (
        "1 held-out clips: aligned clips of the validation split, each driven by its own speech"
        in of_videos.printed
    )
    assert "The videos of a folder were curated" in of_videos.report
    assert "held out of training, each to its own speech" in of_videos.report
    assert "This run did not measure whether the lips follow new audio." in of_videos.report
    assert of_videos.rows("select distinct identity, split from clips order by 1") == [
        (HELD_OUT, "val"),
        (TRAINED, "train"),
    ]
    (clip,) = (
        c for c in read_manifest(of_videos.folder / "curation" / "manifest.parquet") if c.split == "val"
    )
    named = of_videos.rows(
        "select distinct clip_id from metric_values where run_id = {run} and clip_id is not null"
    )
    assert named == [(clip.clip_id,)]


def test_what_lies_beside_the_videos_is_told_as_by_curate(of_videos: Ran) -> None:
    page = (of_videos.folder / "curation" / "data_docs.html").read_text()
    assert "ignored: 1 .txt" in of_videos.printed
    assert "Ignored: 1 .txt" in page
    for told in (of_videos.printed, page):
        assert "gone.mp4" in told


def test_a_manifest_with_a_list(of_manifest: Ran) -> None:
    """A list may name speech of others, which is the control that the page needs."""
    check(of_manifest, {"truth", "teacher", "pretrained", "distilled", "distilled+unrelated_audio"})
    assert "1 held-out clips: items listed in items.csv" in of_manifest.printed
    assert "which an earlier run curated" in of_manifest.report
    assert "1 clips of items.csv, each to the speech that the list names" in of_manifest.report
    assert of_manifest.rows("select count(*) from curation_decisions where run_id = {run}") == [(0,)]
    assert "sources:" not in of_manifest.printed
    assert "data_docs" not in of_manifest.report


@pytest.mark.slow
def test_the_other_two_ways_reuse_the_models(place: Path, of_videos: Ran, of_manifest: Ran) -> None:
    """Equal clips and an equal preset are equal training, wherever the clips come from."""
    trained = sorted((place / "state" / "steps").glob("train-*/*/result.json"))
    check(
        train_eval(place, "talks_listed", VIDEOS + ITEMS),
        {"truth", "teacher", "pretrained", "distilled", "distilled+unrelated_audio"},
    )
    check(train_eval(place, "plain", MANIFEST), {"truth", "teacher", "pretrained", "distilled"})
    assert sorted((place / "state" / "steps").glob("train-*/*/result.json")) == trained


def test_the_model_of_a_run_makes_a_video(of_videos: Ran, place: Path) -> None:
    output = place / "synced.mp4"
    request = {
        "workspace": str(place),
        "video": str(place / "talks" / f"{HELD_OUT}.mp4"),
        "audio": str(place / "talks" / f"{TRAINED}.mp4"),
        "output": str(output),
        "model": str(of_videos.folder / "models" / "distilled"),
    }
    made: Any = run_flow("generate", request)
    assert probe(output).num_frames == made.num_frames == NUM_FRAMES


def request(place: Path, **corpus: str) -> dict[str, Any]:
    return {
        "workspace": str(place / "ws"),
        "corpus": corpus,
        "curation": {"val_fraction": 0.5, "min_segment_s": 3.0},
        "preset": "nano",
    }


def refused(request: dict[str, Any], words: str) -> None:
    """A mistake that is told before any work: nothing is left in the workspace."""
    with pytest.raises(BadInputError, match=words):
        run_flow("train_eval", request)
    folder = Path(request["workspace"])
    assert not (folder / "state" / "steps").exists()
    assert not (folder / "runs").exists()


def test_bad_input_is_said_before_any_work(place: Path, of_manifest: Ran, tmp_path: Path) -> None:
    from lipforcing_core.curation.manifest import write_manifest

    clips = {clip.split: clip for clip in read_manifest(place / "data" / "manifest.parquet")}
    for split, words in (
        ("val", "no accepted clip in the training split"),
        ("train", "no clip in the validation"),
    ):
        manifest = tmp_path / split / "manifest.parquet"
        shutil.copytree(place / "data", manifest.parent)
        write_manifest(manifest, [clips[split]])
        refused(request(tmp_path, kind="manifest", manifest=str(manifest)), words)
    shutil.rmtree(tmp_path / "train" / "clips")
    listed = {"kind": "manifest", "manifest": str(manifest), "items": str(place / "items" / "items.csv")}
    refused(request(tmp_path, **listed), r"clips/\S+ and 1 more of the files that it lists are not there")

    items = tmp_path / "items.csv"
    items.write_text("clip_id,identity,truth_video,driving_audio\na,b,none.mp4,none.wav\n")
    videos = {"kind": "videos", "source": str(place / "talks")}
    refused(request(tmp_path, **videos, items=str(items)), r"row 1: truth_video \S+none.mp4 does not exist")
    refused(request(tmp_path, **videos, items=str(tmp_path / "no.csv")), "items file .* does not exist")
    nothing_held_out = request(tmp_path, **videos) | {"curation": {"val_fraction": 0.0}}
    refused(nothing_held_out, "val_fraction = 0 in the curation settings holds nothing out")
    (tmp_path / "empty").mkdir()
    refused(request(tmp_path, kind="videos", source=str(tmp_path / "empty")), "no videos here")
    refused(
        request(tmp_path, kind="videos", source=str(tmp_path / "none")), "there is no such file or folder"
    )
    refused(
        request(tmp_path, kind="manifest", manifest=str(tmp_path / "m.parquet")), "m.parquet does not exist"
    )


def test_a_corpus_that_curation_turns_away_says_why_before_any_training(place: Path, of_videos: Ran) -> None:
    """As the embedded sync expert does with real people."""
    strict = request(place.parent, kind="videos", source=str(place / "talks")) | {"workspace": str(place)}
    strict["curation"] |= {"sync_confidence_min": 99.0}
    trained = sorted((place / "state" / "steps").glob("train*"))
    with pytest.raises(BadInputError) as error:
        run_flow("train_eval", strict | {"name": "strict"})
    told = str(error.value)
    assert "no accepted clip in the training split" in told
    assert "Curation turned away: sync_confidence_low (2 pieces, 6.4 s)" in told
    assert "data_docs.html lists it" in told
    assert "for real people give syncnet-v2" in told
    assert sorted((place / "state" / "steps").glob("train*")) == trained
    unheld = strict | {"name": "unheld", "curation": {"val_fraction": 0.01, "min_segment_s": 3.0}}
    with pytest.raises(
        BadInputError, match=r"no clip in the validation split .* Curation turned away: nothing;"
    ):
        run_flow("train_eval", unheld)
