"""Models in a run folder: complete in themselves, so that a run folder can be taken elsewhere."""

from __future__ import annotations

import shutil
from pathlib import Path

from tasks.models import place_models
from tasks.training import TrainedModel


def trained(folder: Path, weights: bytes) -> TrainedModel:
    (folder / "parts").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(weights)
    (folder / "parts" / "preset.json").write_text("{}")
    return TrainedModel(bundle=folder, metrics=[], reused=False)


def test_a_copied_run_folder_has_its_models(tmp_path: Path) -> None:
    model = trained(tmp_path / "state" / "bundle", b"weights")
    run = tmp_path / "runs" / "demo" / "one"
    place_models({"distilled": model}, run)
    shutil.copytree(run, tmp_path / "elsewhere", symlinks=True)
    shutil.rmtree(tmp_path / "state")
    copied = tmp_path / "elsewhere" / "models" / "distilled"
    assert (copied / "model.safetensors").read_bytes() == b"weights"
    assert (copied / "parts" / "preset.json").read_text() == "{}"
    assert not any(path.is_symlink() for path in (tmp_path / "elsewhere").rglob("*"))


def test_models_are_replaced_and_so_are_the_links_of_earlier_versions(tmp_path: Path) -> None:
    old = trained(tmp_path / "old", b"old")
    run = tmp_path / "run"
    (run / "models").mkdir(parents=True)
    (run / "models" / "teacher").symlink_to(old.bundle, target_is_directory=True)
    place_models({"teacher": trained(tmp_path / "new", b"new")}, run)
    assert (run / "models" / "teacher" / "model.safetensors").read_bytes() == b"new"
    assert (old.bundle / "model.safetensors").read_bytes() == b"old"
    place_models({"teacher": trained(tmp_path / "newer", b"newer")}, run)
    assert (run / "models" / "teacher" / "model.safetensors").read_bytes() == b"newer"
    assert [path.name for path in (run / "models").iterdir()] == ["teacher"]
