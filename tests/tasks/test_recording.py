"""Flows and tasks without a server, and what a failed run says with one."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
from prefect.exceptions import ParameterTypeError
from prefect.states import Failed

from flows.benchmark import benchmark
from flows.request_models import BenchmarkRequest
from lipforcing_core.base.errors import BadInputError, WarehouseError
from tasks import warehousing
from tasks.recording import of_the_outside, recorded, say_what_to_do, sentence_for, server_is_named, step_task
from tasks.warehousing import load_if_possible
from tasks.workspace import Workspace


@step_task(retries=3)
def add(a: int, b: int) -> int:
    """Add."""
    return a + b


def test_a_task_outside_a_recorded_run_is_the_function_that_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def not_called(*_args: Any, **_kwargs: Any) -> None:
        raise AssertionError("Prefect was asked")

    monkeypatch.setattr(add, "recorded", not_called)
    assert not recorded()
    assert add(1, b=2) == add.fn(1, 2) == 3
    assert add.__doc__ == "Add."


def test_a_server_is_named_by_its_variable_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    assert not server_is_named()
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:4200/api")
    assert server_is_named()


def test_a_mistake_is_told_as_it_is() -> None:
    error = BadInputError("a.mp4: there is no such file")
    assert sentence_for("curate", error, "Flow run encountered ...") == "a.mp4: there is no such file"


def test_a_request_that_is_none_names_the_field() -> None:
    with pytest.raises(ParameterTypeError) as caught:
        benchmark.validate_parameters({"request": {"repeats": "many"}})
    sentence = sentence_for("benchmark", caught.value, None)
    assert sentence.startswith("benchmark: the request cannot be used (")
    assert "request.repeats" in sentence
    assert "\n" not in sentence
    assert sentence_for("benchmark", caught.value, None, BenchmarkRequest) == (
        "benchmark: the request cannot be used (request.repeats: should be a whole number (got 'many')): "
        "correct it and run again"
    )


def test_a_failed_run_gets_the_sentence_and_what_to_do_from_one_reading_of_its_result(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(ParameterTypeError) as caught:
        benchmark.validate_parameters({"request": {"repeats": "many"}})
    state, client, artifact = MagicMock(message=None), MagicMock(), MagicMock()
    state.result.return_value = caught.value
    client.__enter__.return_value = client
    monkeypatch.setattr("prefect.client.orchestration.get_client", lambda **_options: client)
    monkeypatch.setattr("prefect.artifacts.create_markdown_artifact", artifact)
    say_what_to_do(benchmark, MagicMock(), state)
    state.result.assert_called_once_with(raise_on_failure=False)
    words = client.set_flow_run_state.call_args.args[1].message
    assert "request.repeats: should be a whole number (got 'many')" in words
    assert words in artifact.call_args.kwargs["markdown"]
    assert "Correct the request and run it again" in artifact.call_args.kwargs["markdown"]


def test_a_defect_says_where_to_look() -> None:
    message = "Flow run encountered an exception: RuntimeError: oh"
    assert "RuntimeError: oh: a defect, it seems; the logs" in sentence_for(
        "curate", RuntimeError("oh"), message
    )
    assert sentence_for("curate", RuntimeError(), None).startswith("RuntimeError: a defect")


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (BadInputError("no"), False),
        (WarehouseError("busy"), True),
        (OSError("stale handle"), True),
        (RuntimeError("?"), True),
    ],
)
def test_only_what_may_pass_is_tried_again(error: Exception, again: bool) -> None:
    assert of_the_outside(None, None, Failed(data=error)) is again


def test_scores_do_not_depend_on_the_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def locked(*_args: Any, **_kwargs: Any) -> None:
        raise WarehouseError("warehouse.duckdb: locked by process 7")

    workspace = Workspace(tmp_path)
    monkeypatch.setattr(warehousing, "load", locked)
    problem = load_if_possible(workspace)
    assert problem is not None
    assert problem.startswith("warehouse.duckdb: locked by process 7")
    assert "`lipforcing warehouse rebuild` loads them" in problem
    monkeypatch.undo()
    assert load_if_possible(workspace) is None
