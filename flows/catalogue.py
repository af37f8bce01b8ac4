"""The flows by name: what each is for, its request, and where it is; nothing heavy is imported before it is run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from flows import request_models
from flows.summaries import Summary
from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.settings_mistakes import mistakes
from lipforcing_core.base.suggestions import unknown
from lipforcing_core.base.user_file import read_json_object, read_toml


@dataclass(frozen=True, kw_only=True)
class FlowEntry:
    """A flow: ``module`` of this package and the name in it."""

    name: str
    request: type[request_models.Request]
    module: str

    @property
    def about(self) -> str:
        """One sentence for people."""
        return (self.request.__doc__ or "").strip()

    @property
    def entrypoint(self) -> str:
        """Where Prefect finds the flow, relative to the project: ``flows/curate.py:curate``."""
        return f"flows/{self.module}.py:{self.name}"

    def load(self) -> Any:
        """The flow itself; imports Prefect."""
        return getattr(import_module(f"{__package__}.{self.module}"), self.name)


FLOWS = {
    entry.name: entry
    for entry in (
        FlowEntry(name="curate", request=request_models.CurateRequest, module="curate"),
        FlowEntry(name="train_teacher", request=request_models.TrainTeacherRequest, module="train"),
        FlowEntry(name="pretrain_student", request=request_models.PretrainStudentRequest, module="train"),
        FlowEntry(name="distill_student", request=request_models.DistillStudentRequest, module="train"),
        FlowEntry(name="generate", request=request_models.GenerateRequest, module="generate"),
        FlowEntry(name="evaluate", request=request_models.EvaluateRequest, module="evaluate"),
        FlowEntry(name="train_eval", request=request_models.TrainEvalRequest, module="train_eval"),
        FlowEntry(name="ablate", request=request_models.AblateRequest, module="ablate"),
        FlowEntry(name="benchmark", request=request_models.BenchmarkRequest, module="benchmark"),
    )
}


def flow_entry(name: str) -> FlowEntry:
    """The flow of this name, with dashes or underscores; raises ``BadInputError`` listing the known ones."""
    found = FLOWS.get(name.replace("-", "_"))
    if found is None:
        raise BadInputError(unknown("flow", name, FLOWS))
    return found


def parse_request(
    entry: FlowEntry, values: Mapping[str, Any], *, names: Mapping[str, str] | None = None
) -> request_models.Request:
    """Check the values of a request; raises ``BadInputError`` with a line for each mistake, naming the field.

    ``names``: what the user calls a field, where that is something else.
    """
    try:
        return entry.request.model_validate(dict(values))
    except ValidationError as error:
        lines = mistakes(error, entry.request, names=names)
        raise BadInputError("\n".join(f"{entry.name}: {line}" for line in lines)) from error


def run_flow(name: str, request: request_models.Request | Mapping[str, Any]) -> Summary:
    """Run a flow: recorded where ``PREFECT_API_URL`` names a Prefect server, as a plain function elsewhere.

    Raises what the flow raises, and ``BadInputError`` for values that are no request of it.
    """
    from tasks.recording import call_flow

    entry = flow_entry(name)
    checked = request if isinstance(request, request_models.Request) else parse_request(entry, request)
    summary: Summary = call_flow(entry.load(), checked)
    return summary


def read_request_file(path: Path) -> Mapping[str, Any]:
    """The values of a request in a JSON or TOML file; raises ``BadInputError`` for one that cannot be read."""
    return read_toml(path) if path.suffix.lower() == ".toml" else read_json_object(path)
