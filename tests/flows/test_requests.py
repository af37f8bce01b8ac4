"""Requests: they survive JSON, name the field of a mistake, and their forms have words for every field."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flows.catalogue import FLOWS, flow_entry, parse_request, read_request_file
from flows.request_models import demo_request
from lipforcing_core.base.errors import BadInputError

NEEDED: dict[str, dict[str, Any]] = {
    "curate": {"source": "talks"},
    "train_teacher": {"manifest": "m.parquet", "output": "out"},
    "pretrain_student": {"manifest": "m.parquet", "teacher": "t", "output": "out"},
    "distill_student": {"manifest": "m.parquet", "teacher": "t", "student": "s", "output": "out"},
    "generate": {"video": "v.mp4", "audio": "a.wav", "output": "o.mp4"},
    "evaluate": {"predictions": "p.csv", "items": "i.csv"},
    "train_eval": {},
    "ablate": {},
    "benchmark": {},
}


def test_every_flow_has_its_values_here() -> None:
    assert set(NEEDED) == set(FLOWS)


@pytest.mark.parametrize("name", FLOWS)
def test_a_request_survives_json(name: str) -> None:
    entry = FLOWS[name]
    request = parse_request(
        entry,
        NEEDED[name]
        | {
            "workspace": "/data/größe",
            "resources": {"train": {"cpus": 8, "gpus": 0.5}, "clips": {"cpus": 2}},
        },
    )
    again = entry.request.model_validate(json.loads(request.model_dump_json()))
    assert again == request
    assert again.workspace == Path("/data/größe")
    assert again.resources.train.gpus == 0.5


@pytest.mark.parametrize(
    "corpus",
    [
        {"kind": "puppets", "num_reels": 2, "num_pairs": 1, "side": 256},
        {"kind": "videos", "source": "talks", "items": "items.csv"},
        {"kind": "manifest", "manifest": "m.parquet"},
    ],
    ids=lambda corpus: corpus["kind"],
)
def test_every_kind_of_corpus_survives_json(corpus: dict[str, Any]) -> None:
    entry = FLOWS["train_eval"]
    request = parse_request(entry, {"corpus": corpus})
    again = entry.request.model_validate_json(request.model_dump_json())
    assert again == request
    assert (
        json.loads(again.model_dump_json())["corpus"] | corpus
        == json.loads(again.model_dump_json())["corpus"]
    )


@pytest.mark.parametrize("name", FLOWS)
def test_a_form_has_words_for_every_field_and_a_schema_for_prefect(name: str) -> None:
    schema = FLOWS[name].request.model_json_schema()
    assert schema["description"]
    for field, facts in schema["properties"].items():
        assert facts.get("description"), f"{name}.{field}"
    assert set(schema.get("required", [])) == set(NEEDED[name])


@pytest.mark.parametrize("name", FLOWS)
def test_a_missing_and_an_unknown_field_are_named(name: str) -> None:
    entry = FLOWS[name]
    with pytest.raises(BadInputError, match=rf"{name}: unknown key 'workspce' \(did you mean 'workspace'"):
        parse_request(entry, NEEDED[name] | {"workspce": "x"})
    for field in NEEDED[name]:
        rest = {key: value for key, value in NEEDED[name].items() if key != field}
        with pytest.raises(BadInputError, match=f"{name}: missing key '{field}'"):
            parse_request(entry, rest)


@pytest.mark.parametrize(
    ("name", "values", "words"),
    [
        ("evaluate", {"num_frames": 3}, "num_frames: should be greater than or equal to 25"),
        (
            "generate",
            {"device": "tpu"},
            "device: should be 'auto', 'cpu' or 'cuda' (did you mean 'cpu'?) (got 'tpu')",
        ),
        (
            "benchmark",
            {"device": "cdua"},
            "device: should be 'cpu' or 'cuda' (did you mean 'cuda'?) (got 'cdua')",
        ),
        (
            "train_teacher",
            {"device": "cdua"},
            "device: unknown training strategy 'cdua' (did you mean 'cuda'?); known: auto, cpu, cuda, sharded, "
            "sharded-cpu",
        ),
        ("curate", {"resources": {"train": {"cpus": -1}}}, "resources.train.cpus: should be greater than"),
        (
            "train_eval",
            {"corpus": {"kind": "pupets"}},
            "corpus.kind: unknown kind 'pupets' (did you mean 'puppets'?); known: puppets, videos, manifest",
        ),
        (
            "train_eval",
            {"corpus": {"kind": "puppets", "num_rels": 3}},
            "unknown key 'corpus.num_rels' (did you mean 'corpus.num_reels'?); known keys: kind, num_pairs, ",
        ),
        (
            "train_eval",
            {"detector": "scrdf"},
            "unknown face detector 'scrdf' (did you mean 'scrfd'?); known: lbp,",
        ),
        (
            "curate",
            {"corpus": "hdft"},
            "unknown corpus 'hdft' (did you mean 'hdtf'?); known: folder, manifest, hdtf,",
        ),
        ("curate", {"timeout_h": "inf"}, "timeout_h: should be less than or equal to 8760"),
        ("curate", {"source": 5}, "curate: source: should be a path, written as a text (got 5)"),
        ("curate", {"settings": [1]}, "curate: settings: should be a text or a table (got [1])"),
        ("benchmark", {"repeats": 0}, "repeats: should be greater than or equal to 1"),
    ],
)
def test_a_bad_value_is_named(name: str, values: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInputError) as error:
        parse_request(FLOWS[name], NEEDED[name] | values)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_the_demo_is_an_experiment_on_puppets() -> None:
    request = demo_request(Path("ws"), seed=3)
    assert request.corpus.kind == "puppets"
    assert request.name == "demo"
    assert request.preset == "nano"


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("a.json", "{", "is not readable JSON"),
        ("a.toml", "= 3", "is not valid TOML"),
        ("a.json", "[1]", r"must hold an object \{\.\.\.\}, and holds a list"),
        ("a.json", "null", r"must hold an object \{\.\.\.\}, and holds null"),
        ("a.json", "[" * 100_000, "is not readable JSON"),
    ],
)
def test_request_files_that_cannot_be_read_say_so(tmp_path: Path, file: str, text: str, words: str) -> None:
    (tmp_path / file).write_text(text)
    with pytest.raises(BadInputError, match=words):
        read_request_file(tmp_path / file)


def test_toml_and_json_say_the_same(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('name = "mine"\n[corpus]\nkind = "puppets"\nnum_reels = 3\n')
    (tmp_path / "a.json").write_text('{"name": "mine", "corpus": {"kind": "puppets", "num_reels": 3}}')
    assert read_request_file(tmp_path / "a.toml") == read_request_file(tmp_path / "a.json")


def test_unknown_flows_and_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(
        BadInputError, match=r"unknown flow 'curtae' \(did you mean 'curate'\?\); known: curate, "
    ):
        flow_entry("curtae")
    assert flow_entry("train-eval") is FLOWS["train_eval"]
    with pytest.raises(BadInputError, match=r"none\.json: there is no such file"):
        read_request_file(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("given", "face"), [(None, None), ("2", "2"), (2, "2"), (" 640, 210.5 ", "640,210.5"), ("1", "1")]
)
def test_a_request_names_a_face_by_number_or_point(given: Any, face: str | None) -> None:
    request: Any = parse_request(FLOWS["generate"], NEEDED["generate"] | {"face": given})
    assert request.face == face
    assert FLOWS["generate"].request.model_validate_json(request.model_dump_json()) == request


@pytest.mark.parametrize("given", ["left", "0", 0, -1, "1,2,3", True, 1.5])
def test_a_request_that_names_no_face_says_so_before_anything_runs(given: Any) -> None:
    with pytest.raises(BadInputError, match="generate: face"):
        parse_request(FLOWS["generate"], NEEDED["generate"] | {"face": given})
