"""``predictions.json`` of a stranger: one sentence for wrong types, deep brackets, NUL and endless numbers."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.metrics.manifest import read_predictions

ROW = {"clip_id": "a", "system": "s", "path": "a.mp4", "sha256": "0" * 64}


def refused(path: Path) -> str:
    with pytest.raises(BadInputError) as caught:
        read_predictions(path)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 400
    assert message.isprintable()
    return message


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[" * 100_000,
        b'[{"clip_id": ' + b"1" * 5_000 + b"}]",
        b"\0",
        b"\xff",
        b'{"clip_id": "a"}',
        b"[1]",
        b"[[]]",
        b"null",
        b'[{"clip_id": "\\ud800", "system": "s", "path": "p", "sha256": "0"}]',
    ],
)
def test_json_that_is_no_list_of_rows(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "predictions.json"
    path.write_bytes(content)
    assert refused(path).startswith(str(path))


@pytest.mark.parametrize("key", [*ROW, "driven_by"])
@pytest.mark.parametrize("value", [3, ["a"], {"a": 1}, True, "a\0b", 10**400])
def test_values_of_another_kind_name_row_and_field(key: str, value: Any, tmp_path: Path) -> None:
    path = tmp_path / "predictions.json"
    path.write_text(json.dumps([ROW, ROW | {"clip_id": "b"} | {key: value}]))
    assert f"predictions.json, row 2: {key} must be a text" in refused(path)


def test_a_null_or_absent_driver_is_the_default(tmp_path: Path) -> None:
    path = tmp_path / "predictions.json"
    path.write_text(json.dumps([ROW | {"driven_by": None}, ROW | {"clip_id": "b"}]))
    first, second = read_predictions(path)
    assert first.driven_by == second.driven_by


def test_nul_in_a_csv_path(tmp_path: Path) -> None:
    path = tmp_path / "predictions.csv"
    path.write_bytes(b"clip_id,system,path,sha256\na,s,b\0.mp4," + b"0" * 64 + b"\n")
    assert "predictions.csv" in refused(path)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    for name in ("predictions.json", "predictions.csv"):
        os.mkfifo(tmp_path / name)
        refused(tmp_path / name)
