"""Mistakes on the command line are told in its own words: an option, and not the field of a request."""

from __future__ import annotations

from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from apps.cli.flow_commands import SETTINGS_OF_CURATE, names_of
from apps.cli.main import app
from flows.catalogue import FLOWS, parse_request
from lipforcing_core.base.errors import BadInputError
from lipforcing_core.curation.settings import CurationSettings
from tests.flows.test_requests import NEEDED

NAMES: dict[str, tuple[list[str], dict[str, str]]] = {
    "curate": (["curate"], SETTINGS_OF_CURATE),
    "train_teacher": (["train", "teacher"], {}),
    "pretrain_student": (["train", "student"], {}),
    "distill_student": (["train", "distill"], {}),
    "generate": (["generate"], {}),
    "evaluate": (["evaluate"], {"frames": "num_frames"}),
}
OF_FILES = {"train_eval", "benchmark"}
"""Flows whose commands take a file, in which the user writes the fields themselves."""


def command(words: list[str]) -> Any:
    found: Any = get_command(app)
    for word in words:
        found = found.commands[word]
    return found


def named() -> list[Any]:
    return [
        pytest.param(flow, field, typed, id=f"{flow}-{field}")
        for flow, (words, renamed) in NAMES.items()
        for field, typed in names_of(command(words), renamed).items()
    ]


def test_every_flow_has_a_command_here() -> None:
    assert set(NAMES) | OF_FILES == set(FLOWS)


@pytest.mark.parametrize(("flow", "field", "typed"), named())
def test_a_bad_value_names_what_was_typed(flow: str, field: str, typed: str) -> None:
    """Every parameter of a command is a field, and its name is what a mistake in that field is told with."""
    words, renamed = NAMES[flow]
    names = names_of(command(words), renamed)
    assert typed.startswith("--") or typed.isupper()
    if flow == "curate" and field in CurationSettings.model_fields:
        with pytest.raises(BadInputError) as error:
            CurationSettings.from_mapping({field: object()}, flow, names=names)
    else:
        assert field in FLOWS[flow].request.model_fields
        with pytest.raises(BadInputError) as error:
            parse_request(FLOWS[flow], NEEDED[flow] | {field: object()}, names=names)
    assert str(error.value).startswith(f"{flow}: {typed}")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["evaluate", "p.csv", "--items", "i.csv", "--frames", "3"], "evaluate: --frames: should be greater"),
        (["evaluate", "p.csv", "--items", "i.csv", "--networks", "none"], "evaluate: --networks: unknown"),
        (
            ["curate", "docs", "--min-seconds", "20"],
            "curate: --min-seconds (20.0) is larger than max_segment_s",
        ),
        (["curate", "docs", "--set", "min_segment_s=20"], "curate: min_segment_s (20.0) is larger than"),
        (["generate", "v", "a", "-o", "o.mp4", "--detector", "none"], "generate: --detector: unknown"),
        (["train", "teacher", "m", "-o", "o", "--set", "lora.steps=0"], "lora.steps"),
    ],
)
def test_as_it_is_typed(arguments: list[str], words: str) -> None:
    with pytest.raises(BadInputError) as error:
        CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert words in str(error.value)
    assert "num_frames" not in str(error.value)
