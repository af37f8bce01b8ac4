"""``lipforcing presets`` and ``lipforcing settings`` as a user types them."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from apps.cli.main import app
from lipforcing_core.base.errors import BadInputError
from lipforcing_core.curation.settings import CurationSettings
from lipforcing_core.models.codecs.catalogue import CODECS
from lipforcing_core.presets import load_preset


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), catch_exceptions=False)


def test_list() -> None:
    output = run("presets", "list").output
    assert output.index("nano") < output.index("14b")
    assert "needs nothing beyond the package" in output
    assert "needs wan2.1-vae, taew2.1, wav2vec2-base-960h, umt5-xxl" in output


def test_show() -> None:
    output = run("presets", "show", "nano", "--set", "distill.reward_beta=0.25").output
    assert "distill.reward_beta = 0.25\n" in output
    assert "video.size = 128  pixels\n" in output
    assert "Side of the aligned" not in output
    full = run("presets", "show", "14b", "--full").output
    assert (
        "Side of the aligned face crop that the model sees. (whole number, 64 or more, 4096 or less, a multiple of 16)"
        in full
    )
    assert "codec.num_channels is not set" in full
    assert f"({CODECS.choices})" in full


@pytest.mark.parametrize("base", ["nano", "14b"])
def test_new_writes_a_file_that_changes_nothing_yet(base: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    assert f"wrote {path}" in run("presets", "new", str(path), "--extends", base).output.replace("\n", "")
    mine, theirs = load_preset(path), load_preset(base)
    assert mine.name == "mine"
    assert mine.model_copy(update={"name": theirs.name, "summary": theirs.summary}) == theirs
    changed = path.read_text().replace("# reward_beta = ", "reward_beta = 7.5 # ")
    path.write_text(changed)
    assert load_preset(path).distill.reward_beta == 7.5
    again = tmp_path / "again.toml"
    run("presets", "new", str(again), "--extends", str(path))
    assert load_preset(again).distill.reward_beta == 7.5


def test_new_and_what_it_extends_can_move_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lab" / "ablations").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    run("presets", "new", "lab/house.toml", "--extends", "nano")
    run("presets", "new", "lab/ablations/mine.toml", "--extends", "lab/house.toml")
    assert 'extends = "../house.toml"' in (tmp_path / "lab/ablations/mine.toml").read_text()
    (tmp_path / "lab").rename(tmp_path / "moved")
    assert load_preset(tmp_path / "moved/ablations/mine.toml").name == "mine"


def test_new_replaces_nothing(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("precious")
    with pytest.raises(BadInputError, match="exists and is not replaced"):
        run("presets", "new", str(path))
    with pytest.raises(BadInputError, match=r"ends in \.toml"):
        run("presets", "new", str(tmp_path / "mine"))
    with pytest.raises(BadInputError, match="unknown preset 'nanno'"):
        run("presets", "new", str(tmp_path / "b.toml"), "--extends", "nanno")
    assert path.read_text() == "precious"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mine.toml"]


def test_curation_settings_in_words() -> None:
    output = run("settings", "curation").output
    for name, field in CurationSettings.model_fields.items():
        assert f"{name} = " in output
        assert (field.description or "?").split()[0] in output
    assert "min_segment_s = 5.0  seconds" in output
    assert "sync_weights = not set" in output


def test_curation_settings_to_start_from(tmp_path: Path) -> None:
    output = run("settings", "curation", "--toml").output
    path = tmp_path / "curation.toml"
    path.write_text(output)
    assert CurationSettings.from_toml(path) == CurationSettings()
    path.write_text(output.replace("# min_segment_s = 5.0", "min_segment_s = 4.0"))
    assert CurationSettings.from_toml(path).min_segment_s == 4.0
    assert tomllib.loads(output) == {"curation": {}}


def test_they_import_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import sys; from typer.testing import CliRunner; from apps.cli.main import app; "
        "result = CliRunner().invoke(app, sys.argv[1:]); assert result.exit_code == 0, result.output; "
        "print(sorted({'torch', 'prefect', 'ray', 'duckdb', 'cv2', 'transformers'} & set(sys.modules)))"
    )
    for command in (["presets", "show", "nano"], ["settings", "curation"]):
        done = subprocess.run(
            [sys.executable, "-c", code, *command],
            capture_output=True,
            text=True,
            check=True,
            env=dict(os.environ),
        )
        assert done.stdout.strip().splitlines()[-1] == "[]", command
