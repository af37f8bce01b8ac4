"""The command line as a user meets it: help, light start, clear errors."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from apps.cli.main import app
from lipforcing_core.presets import load_preset

COMMANDS = [
    ["demo"],
    ["train-eval"],
    ["run"],
    ["flows"],
    ["serve"],
    ["doctor"],
    ["curate"],
    ["curate", "explain"],
    ["curate", "diff"],
    ["generate"],
    ["evaluate"],
    ["export"],
    ["sql"],
    ["train", "teacher"],
    ["train", "student"],
    ["train", "distill"],
    ["train", "sync"],
    ["presets", "list"],
    ["presets", "show"],
    ["presets", "new"],
    ["settings", "curation"],
    ["warehouse", "rebuild"],
    ["warehouse", "tables"],
    ["warehouse", "digest"],
    ["warehouse", "dictionary"],
    *(["weights", command] for command in ("list", "show", "fetch", "verify", "convert", "export")),
    ["puppets", "render"],
]
GENERATE = [
    "generate",
    "README.md",
    "LICENSE",
    "-o",
    "out.mp4",
]  # files that are there; they are not looked into
HEAVY = {
    "torch",
    "prefect",
    "ray",
    "duckdb",
    "pandas",
    "numpy",
    "pydantic",
    "great_expectations",
    "cv2",
    "av",
}


def lipforcing(workspace: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "apps.cli.main", "--workspace", str(workspace), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help_with_an_example(command: list[str]) -> None:
    result = CliRunner().invoke(app, [*command, "--help"])
    assert result.exit_code == 0
    assert f"lipforcing {' '.join(command)}" in result.output


def test_help_imports_nothing_heavy() -> None:
    code = f"import sys, apps.cli.main; print(sorted({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_core_knows_no_orchestration_and_no_database() -> None:
    code = (
        "import importlib, pkgutil, sys, lipforcing_core\n"
        "for module in pkgutil.walk_packages(lipforcing_core.__path__, 'lipforcing_core.'):\n"
        "    importlib.import_module(module.name)\n"
        "print(sorted({'prefect', 'ray', 'duckdb', 'flows', 'tasks', 'warehouse'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["curate", "no_such_folder"], "there is no such file or folder"),
        (["curate", "docs", "--min-seconds", "-3"], "curate: --min-seconds: should be greater than 0"),
        (["curate", "docs", "--min-seconds", "20"], "--min-seconds (20.0) is larger than max_segment_s of"),
        (["generate", "none.mp4", "none.wav", "-o", "out.mp4"], "no demo has run"),
        (
            [*GENERATE, "--model", "lipforcing-14b"],
            "weights fetch lipforcing-14b latentsync-mask wan2.1-vae taew2.1 wav2vec2",
        ),
        (
            [*GENERATE, "--model", "lipforcing-14b", "--detector", "buffalo_l"],
            "umt5-xxl insightface-buffalo-l --accept-licence`",
        ),
        (["curate", "docs", "--corpus", "hdft"], "unknown corpus 'hdft' (did you mean 'hdtf'?)"),
        (["curate", "docs", "--corpus", "hdtf"], "no annotation files of HDTF here; HDTF needs"),
        (["curate", "docs", "--test-list", "README.md"], "the corpus folder takes no list of test clips"),
        (["curate", "docs", "--detector", "mtcnn"], "unknown face detector 'mtcnn'; known: "),
        ([*GENERATE, "--model", "lipforcing-14b", "--detector", "mtcnn"], "unknown face detector 'mtcnn'"),
        (["evaluate", "p.csv", "--items", "i.csv", "--detector", "mtcnn"], "unknown face detector 'mtcnn'"),
        (
            [*GENERATE, "--model", "lipforcing-13b"],
            "nor a released student (did you mean 'lipforcing-14b'?) (known: lipforcing-14b)",
        ),
        ([*GENERATE, "--model", "docs"], "docs is not a model bundle"),
        (["sql", "select 1"], "there is no warehouse at"),
        (["warehouse", "digest"], "there is no warehouse at"),
        (["warehouse", "tables"], "warehouse.duckdb; `lipforcing warehouse rebuild` makes one"),
        (["weights", "verify", "no-such-weights"], "unknown weights"),
        (["weights", "verify", "wan2.1-vae"], "not usable: wan2.1-vae"),
        (["weights", "fetch", "arcface-r100"], "--accept-licence"),
        (["weights", "fetch", "yunet"], "no direct address"),
        (
            ["weights", "convert", "none.pth", "-o", "out.safetensors"],
            "neither a file or folder nor registered",
        ),
        (
            ["weights", "export", "wan2.1-t2v-1.3b", "omniavatar-1.3b", "-o", "o.safetensors"],
            "weights fetch wan2.1-t2v-1.3b omniavatar-1.3b`",
        ),
        (["train", "teacher", "manifest.parquet", "-o", "out", "--preset", "huge"], "nano"),
        (["train", "teacher", "manifest.parquet", "-o", "out", "--preset", "14b"], "downloaded weights"),
        (["train", "teacher", "manifest.parquet", "-o", "out"], "manifest.parquet"),
        (["train", "teacher", "manifest.parquet", "-o", "tests"], "exists and is not a model bundle"),
        (["evaluate", "p.csv", "--items", "i.csv", "--name", "../up"], "cannot be a file name"),
        (["train", "student", "manifest.parquet", "--teacher", "none", "-o", "out"], "not a model bundle"),
    ],
)
def test_a_mistake_is_one_sentence_and_a_failure(tmp_path: Path, arguments: list[str], words: str) -> None:
    done = lipforcing(tmp_path, *arguments)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("error:")
    assert words in last
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


def test_no_gpu_is_said_before_anything_is_loaded(tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    done = lipforcing(tmp_path, *GENERATE, "--model", "lipforcing-14b", "--device", "cuda")
    assert done.returncode == 2
    assert "no CUDA device" in done.stderr
    assert "Traceback" not in done.stderr


def test_bundles_on_downloaded_backends_generate_but_do_not_train(tmp_path: Path) -> None:
    bundle = tmp_path / "teacher"
    bundle.mkdir()
    facts = {"format": 1, "kind": "teacher", "stage": "teacher", "sha256": "0" * 64}
    (bundle / "bundle.json").write_text(json.dumps(facts))
    (bundle / "preset.json").write_text(load_preset("1.3b").model_dump_json())
    options = ["--teacher", str(bundle), "-o", str(tmp_path / "out")]
    done = lipforcing(tmp_path, "train", "student", "manifest.parquet", *options)
    assert done.returncode == 2
    assert "generates but does not train" in done.stderr


def test_a_missing_sync_expert_is_said_before_anything_is_encoded(tmp_path: Path) -> None:
    nano = load_preset("nano")
    preset = nano.model_copy(update={"backends": nano.backends.model_copy(update={"sync": "syncnet-v2"})})
    for kind in ("teacher", "student"):
        (tmp_path / kind).mkdir()
        facts = {"format": 1, "kind": kind, "stage": kind, "sha256": "0" * 64}
        (tmp_path / kind / "bundle.json").write_text(json.dumps(facts))
        (tmp_path / kind / "preset.json").write_text(preset.model_dump_json())
    options = ["--teacher", str(tmp_path / "teacher"), "--student", str(tmp_path / "student")]
    done = lipforcing(tmp_path, "train", "distill", "manifest.parquet", *options, "-o", str(tmp_path / "out"))
    assert done.returncode == 3
    assert "backends.sync = 'syncnet-v2' in preset nano: syncnet-v2 is needed" in done.stderr
    assert str(tmp_path / "weights" / "sync") in done.stderr


def test_all_files_that_curation_misses_are_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"not looked into")
    settings = tmp_path / "settings.toml"
    settings.write_text('[curation]\nsync_expert = "syncnet-v2"\n')
    options = ["--detector", "buffalo_l", "--settings", str(settings)]
    done = lipforcing(tmp_path / "workspace", "curate", str(tmp_path / "a.mp4"), *options)
    assert done.returncode == 3
    for words in (
        "2 checkpoints are needed and not here",
        "det_10g.onnx",
        "give its path as sync_weights in the [curation] table",
        "lipforcing weights fetch insightface-buffalo-l syncnet-v2 --accept-licence",
    ):
        assert words in done.stderr


def test_malformed_settings_name_the_file(tmp_path: Path) -> None:
    (tmp_path / "v").mkdir()
    (tmp_path / "v" / "clip.mp4").write_bytes(b"")
    settings = tmp_path / "bad.toml"
    settings.write_text("[curation\n")
    done = lipforcing(tmp_path / "ws", "curate", str(tmp_path / "v"), "--settings", str(settings))
    assert done.returncode == 2
    assert "bad.toml" in done.stderr
    settings.write_text("[curation]\nsync_confidence = 2\n")
    done = lipforcing(tmp_path / "ws", "curate", str(tmp_path / "v"), "--settings", str(settings))
    assert "unknown key 'sync_confidence'" in done.stderr


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    done = lipforcing(tmp_path, "--debug", "weights", "verify", "no-such-weights")
    assert "Traceback" in done.stderr


def test_an_analyst_can_ask_at_once(tmp_path: Path) -> None:
    assert lipforcing(tmp_path, "warehouse", "rebuild").returncode == 0
    done = lipforcing(
        tmp_path, "sql", "-f", "json", "select count(*) as n from published_results where metric = 'TTFF'"
    )
    assert json.loads(done.stdout)[0]["n"] > 10
    assert "leaderboard" in lipforcing(tmp_path, "warehouse", "tables").stdout
    bad = lipforcing(tmp_path, "sql", "select * from nothing")
    assert bad.returncode == 2
    assert "nothing" in bad.stderr
    write = lipforcing(tmp_path, "sql", "drop table runs")
    assert write.returncode == 2


def test_doctor_reports_and_succeeds_without_any_weights(tmp_path: Path) -> None:
    done = lipforcing(tmp_path, "doctor")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "missing" in done.stdout
    assert "ffmpeg" in done.stdout
