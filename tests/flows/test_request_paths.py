"""Requests carry paths of any bytes through JSON."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from flows.catalogue import FLOWS, parse_request
from flows.request_models import CurateRequest, GenerateRequest, TrainEvalRequest
from lipforcing_core.base.errors import BadInputError


@pytest.mark.parametrize(
    "name", [b"caf\xe9.mp4", b"two\nlines.mp4", b"a\\xe9.mp4", "übung.mp4".encode(), b"-a%d.mp4"]
)
@pytest.mark.parametrize("exists", [True, False])
def test_a_path_survives_json(name: bytes, exists: bool, tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
    if exists:
        path.touch()
    request = CurateRequest(source=path, workspace=path)
    assert (request.source, request.workspace) == (path, path) or not exists
    if exists or b"\\" not in name:
        assert CurateRequest.model_validate_json(request.model_dump_json()) == request
        assert (
            CurateRequest.model_validate(json.loads(json.dumps(request.model_dump(mode="json")))) == request
        )
    generate = GenerateRequest(video=path, audio=path, output=tmp_path / "o.mp4")
    assert "output" in json.loads(generate.model_dump_json())


def test_the_path_of_a_corpus_survives_json(tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    folder.mkdir()
    request = TrainEvalRequest.model_validate({"corpus": {"kind": "videos", "source": folder}})
    assert TrainEvalRequest.model_validate_json(request.model_dump_json()) == request


@pytest.mark.parametrize(
    ("flow", "request_", "field"),
    [
        ("curate", {"source": ""}, "source"),
        ("curate", {"source": "talks", "workspace": ""}, "workspace"),
        ("train_eval", {"videos": ""}, "videos"),
        ("train_eval", {"corpus": {"kind": "videos", "source": ""}}, "source"),
    ],
)
def test_an_empty_path_is_no_folder(flow: str, request_: dict[str, object], field: str) -> None:
    with pytest.raises(BadInputError, match=rf"{field}.*must not be empty"):
        parse_request(FLOWS[flow], request_)
