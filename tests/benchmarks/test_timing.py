"""What the benchmarks share: arguments that explain themselves, honest samples, and a result that is kept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchmarks.timing import command_line, machine, publish, timed
from lipforcing_core.presets import preset_names


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--device", "tpu"], "'tpu' is no device"),
        (["--device", "meta"], "neither cpu nor cuda"),
        (["--device", "cuda:99"], "there is no cuda:99 here"),
        (["--preset", "nope"], f"unknown preset 'nope'; known: {', '.join(preset_names())}"),
        (["--repeats", "0"], "'0' is no whole number from 1"),
        (["--repeats", "-3"], "'-3' is no whole number from 1"),
    ],
)
def test_bad_arguments_end_with_a_sentence(
    arguments: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        command_line("about", preset="nano", device="cpu").parse_args(arguments)
    assert problem in capsys.readouterr().err


def test_samples_are_counted_without_the_first() -> None:
    calls = []
    assert len(timed(lambda: calls.append(1), 3, torch.device("cpu"))) == 3
    assert len(calls) == 4


def test_results_are_kept_whole_and_printed_without_samples(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = machine(torch.device("cpu")) | {"ms": 1.5, "samples_ms": {"a": [1.0, 2.0]}}
    publish(result, "name", tmp_path)
    (file,) = tmp_path.glob("name_*.json")
    assert json.loads(file.read_text()) == result
    printed = capsys.readouterr().out
    assert "1.5" in printed
    assert "samples" not in printed


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit, match=r"cannot be written into .*file"):
        publish({"ms": 1.0}, "name", tmp_path / "file")
