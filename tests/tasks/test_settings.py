"""Settings of curation as a request gives them: the workspace's weights are found, and all that is missing is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from lipforcing_core.base.errors import BadInputError, MissingWeightsError
from lipforcing_core.curation.settings import CurationSettings
from lipforcing_core.weights.registry import find_weight
from tasks.settings import curation_settings
from tasks.workspace import Workspace


def test_files_of_the_workspace_and_of_the_settings_are_missed_together(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    with pytest.raises(MissingWeightsError) as caught:
        curation_settings(workspace, {"detector": "scrfd", "quality": "hyperiqa"})
    model = find_weight("scrfd-500m").path(workspace.weights)
    message = str(caught.value)
    assert message.startswith(f"2 checkpoints are needed and not here: {model} (scrfd-500m, ")
    assert "give its path as quality_weights in the [curation] table of --settings" in message
    assert "Get those with an address with `lipforcing weights fetch hyperiqa" in message
    assert f"scrfd-500m has no direct address: get {model.name} " in message
    assert f"put it into {model.parent}" in message


def test_a_detector_gets_its_file_from_the_workspace(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    path = find_weight("scrfd-500m").path(workspace.weights)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"no model")
    with pytest.raises(BadInputError, match=path.name):
        curation_settings(workspace, {"detector": "scrfd"})


def test_settings_extend_a_file_and_mistakes_are_told_by_the_users_names(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text("[curation]\nclip_crf = 20\ndetect_stride = 7\n")
    expected = CurationSettings(clip_crf=20, detect_stride=3)
    assert curation_settings(Workspace(tmp_path), {"extends": str(path), "detect_stride": 3}) == expected
    assert curation_settings(Workspace(tmp_path), str(path)) == CurationSettings(clip_crf=20, detect_stride=7)
    with pytest.raises(BadInputError, match=r"curate: --crf: "):
        curation_settings(Workspace(tmp_path), {"clip_crf": 99}, names={"clip_crf": "--crf"})
