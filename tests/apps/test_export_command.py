"""``lipforcing export`` as a user meets it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from apps.cli.main import app
from lipforcing_core.base.errors import BadInputError, MissingWeightsError
from lipforcing_core.base.products import StepStore, read_json, write_json
from lipforcing_core.curation.assemble import assemble_manifest
from tests.export.conftest import SETTINGS, make_outcome


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a curation run with one clip of 2 s."""
    folder = tmp_path_factory.mktemp("run")
    store = StepStore(folder / "store")
    store.root.mkdir()
    assemble_manifest([make_outcome(store.root, 0)], folder / "run", SETTINGS, store=store)
    return folder / "run"


def invoke(*arguments: object) -> list[str]:
    done = CliRunner().invoke(app, ["export", *map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return [line.strip() for line in done.stdout.splitlines()]


def test_it_writes_and_then_reuses(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "talks"
    lines = invoke(run / "manifest.parquet", "--to", "webdataset", "-o", out)
    assert lines[0].startswith("1 clip (2.0 s) in 4 files, 0.1 MB")
    assert lines[1] == "1 identity, 1 licence, commercial use: yes"
    assert lines[2] == f"card: {out / 'README.md'}"
    assert read_json(out / "export.json")["name"] == "talks"
    assert invoke(run, "-o", out)[0].endswith("(it was there already)")


def test_the_name_of_the_data_set_is_that_of_its_curation(run: Path, tmp_path: Path) -> None:
    named = Path(shutil.copytree(run, tmp_path / "named"))
    funnel = read_json(named / "funnel.json")
    write_json(named / "funnel.json", funnel | {"name": "talks-v2"})
    invoke(named, "-o", tmp_path / "out")
    assert read_json(tmp_path / "out" / "export.json")["name"] == "talks-v2"
    invoke(named / "manifest.parquet", "--name", "other", "-o", tmp_path / "out2")
    assert read_json(tmp_path / "out2" / "export.json")["name"] == "other"


def test_options_reach_the_card(run: Path, tmp_path: Path) -> None:
    words = [
        "--name",
        "Our talks",
        "--creator",
        "A lab",
        "--url",
        "https://example.org",
        "--published",
        "2026-11-29",
    ]
    invoke(run, "--to", "croissant", "-o", tmp_path / "out", *words)
    told = read_json(tmp_path / "out" / "croissant.json")
    assert (told["name"], told["creator"]["name"]) == ("Our talks", "A lab")
    assert (told["url"], told["datePublished"]) == ("https://example.org", "2026-11-29")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--to", "tar"], "unknown export form 'tar'; known: webdataset, huggingface, croissant"),
        (["--published", "today"], "published: 'today' is no date YYYY-MM-DD"),
    ],
)
def test_mistakes(arguments: list[str], words: str, run: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=words):
        invoke(run, "-o", tmp_path / "out", *arguments)
    assert not (tmp_path / "out").exists()


def test_the_export_of_a_broken_contract_says_which_checks_fail(run: Path, tmp_path: Path) -> None:
    broken = Path(shutil.copytree(run, tmp_path / "broken"))
    contract = read_json(broken / "contract.json")
    (leak,) = [check for check in contract["checks"] if check["table"] == "people"]
    leak |= {"success": False, "num_unexpected": 1, "examples": ["dora is in test and train"]}
    write_json(broken / "contract.json", contract | {"success": False, "num_failed": 1})
    for repeated in (False, True):
        *_, warning, check = invoke(broken, "-o", tmp_path / "out")
        assert warning.startswith(
            f"warning the contract of this data set is broken ({broken / 'data_docs.html'})"
        )
        assert check == (
            "broken people: expect_column_values_to_be_null of leak (a person is in more than one split; 1 time): dora "
            "is in test and train"
        ), repeated
    write_json(broken / "contract.json", {"success": False, "num_failed": 1, "checks": [{"old": 1}]})
    assert invoke(broken, "-o", tmp_path / "out2")[-1] == "broken its checks are in contract.json"
    assert not any(line.startswith(("warning", "broken")) for line in invoke(run, "-o", tmp_path / "out3"))


def test_a_preset_goes_with_latents_alone(run: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="--preset: an export as webdataset holds no latents"):
        invoke(run / "manifest.parquet", "--to", "webdataset", "--preset", "nano", "-o", tmp_path / "x")
    with pytest.raises(MissingWeightsError, match=r"lipforcing weights fetch wan2\.1-vae"):
        invoke(run / "manifest.parquet", "--to", "latents", "--preset", "14b", "-o", tmp_path / "x")
    assert not (tmp_path / "x").exists()
