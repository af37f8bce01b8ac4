"""What an experiment is, by its run id: everything that decides the outcome, and nothing that does not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lipforcing_core.base.products import content_key, file_sha256
from lipforcing_core.curation.settings import CurationSettings
from lipforcing_core.presets import load_preset
from tasks.corpora import PuppetCorpus, VideoCorpus
from tasks.evaluation import Scorers
from tasks.experiment import Experiment, plan
from tasks.settings import curation_settings
from tasks.workspace import Workspace


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    folder = tmp_path / "videos"
    folder.mkdir()
    for name in ("a.mp4", "b.mp4"):
        (folder / name).write_bytes(b"not looked into" + name.encode())
    return folder


def planned(tmp_path: Path, corpus: Any, **other: Any) -> Experiment:
    workspace = Workspace(tmp_path / "ws")
    values: dict[str, Any] = {"curation": {}, "preset": "nano", "device": "cpu", "seed": 0, "videos": None}
    scorers = Scorers(weights=workspace.weights)
    return plan(workspace, name="talks", corpus=corpus, scorers=scorers, **values | other)


def config(tmp_path: Path, **corpus: Any) -> dict[str, Any]:
    """The configuration of a run as it was before side information took part in it."""
    settings = curation_settings(Workspace(tmp_path / "ws"), {})
    assert settings == CurationSettings()
    return {"seed": 0, "preset": load_preset("nano"), "curation": settings.deciding()} | corpus


def listing(folder: Path) -> list[tuple[str, str]]:
    return [(name, file_sha256(folder / name)) for name in ("a.mp4", "b.mp4")]


def test_runs_without_side_information_keep_their_ids(tmp_path: Path, videos: Path) -> None:
    of_videos = config(tmp_path, corpus=listing(videos), items=[])
    assert planned(tmp_path, VideoCorpus(source=videos)).run.run_id == f"talks-{content_key(of_videos)}"
    size = {"num_reels": 2, "num_pairs": 1, "side": 256}
    for given, listed in ((None, []), (videos, listing(videos))):
        of_puppets = config(tmp_path, corpus=size, user_videos=listed)
        experiment = planned(tmp_path, PuppetCorpus(**size), videos=given)
        assert experiment.run.run_id == f"talks-{content_key(of_puppets)}"


@pytest.mark.parametrize("kind", ["videos", "puppets"])
def test_side_information_is_a_part_of_the_run(kind: str, tmp_path: Path, videos: Path) -> None:
    def run_id() -> str:
        if kind == "videos":
            return planned(tmp_path, VideoCorpus(source=videos)).run.run_id
        return planned(tmp_path, PuppetCorpus(), videos=videos).run.run_id

    table, sidecar = videos / "sources.csv", videos / "b.mp4.meta.json"
    ids = [run_id()]
    table.write_text("path,identity,licence\na.mp4,anna,CC-BY-4.0\n")
    ids.append(run_id())
    table.write_text("path,identity,licence\na.mp4,anna,CC-BY-NC-4.0\n")
    ids.append(run_id())
    sidecar.write_text(json.dumps({"identity": "bert"}))
    ids.append(run_id())
    sidecar.write_text(json.dumps({"identity": "cleo"}))
    ids.append(run_id())
    assert len(set(ids)) == 5
    sidecar.unlink()
    assert run_id() == ids[2], "what is taken back is as it was"
    table.write_text("path,identity\nnowhere.mp4,anna\n")
    (videos / "notes.txt").write_text("ignored")
    assert run_id() == ids[0], "a row without effect changes nothing"


def test_what_lies_beside_the_videos_is_found(tmp_path: Path, videos: Path) -> None:
    (videos / "notes.txt").write_text("ignored")
    (videos / "sources.csv").write_text("path,identity\nnowhere.mp4,anna\n")
    for experiment in (
        planned(tmp_path, VideoCorpus(source=videos)),
        planned(tmp_path, PuppetCorpus(), videos=videos),
    ):
        assert experiment.found is not None
        assert [(kind.kind, kind.num_files) for kind in experiment.found.ignored] == [(".txt", 1)]
        assert "nowhere.mp4" in experiment.found.warnings[0]


def test_every_file_of_an_item_is_a_part_of_the_run(tmp_path: Path, videos: Path) -> None:
    columns = ["truth_video", "driving_audio", "source_video", "unrelated_audio"]
    for column in columns:
        (tmp_path / column).write_bytes(column.encode())
    items = tmp_path / "items.csv"

    def run_id(identity: str = "anna") -> str:
        items.write_text(
            ",".join(["clip_id", "identity", *columns]) + f"\nfirst,{identity},{','.join(columns)}\n"
        )
        return planned(tmp_path, VideoCorpus(source=videos, items=items)).run.run_id

    ids = {run_id(), run_id("bert")}
    for column in columns:
        (tmp_path / column).write_bytes(b"another " + column.encode())
        ids.add(run_id())
    assert len(ids) == 2 + len(columns)


def test_a_device_is_a_part_of_the_run_unless_it_is_the_cpu(
    tmp_path: Path, videos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "far:6379")
    ids = [planned(tmp_path, VideoCorpus(source=videos), device=name).run.run_id for name in ("cpu", "cuda")]
    assert ids[0] == planned(tmp_path, VideoCorpus(source=videos)).run.run_id != ids[1]
