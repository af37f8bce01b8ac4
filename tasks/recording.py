"""Flow runs that a Prefect server records, and the same functions without a server.

A command that no Prefect server was named for (``PREFECT_API_URL``) calls flows and tasks as the plain functions that
they are: Prefect would otherwise start a private server for every command, which costs 6 to 12 seconds, listens on a
port and has to be stopped.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import update_wrapper
from typing import Any, Generic, ParamSpec, TypeVar, get_type_hints

from prefect import Flow, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import FlowRun
from prefect.context import FlowRunContext
from prefect.exceptions import ParameterTypeError
from prefect.states import Failed, State
from pydantic import BaseModel, ValidationError, create_model

from lipforcing_core.base.errors import BadInputError, LipForcingError, WarehouseError
from lipforcing_core.base.settings_mistakes import mistakes

P = ParamSpec("P")
R = TypeVar("R")


def recorded() -> bool:
    """Whether this code runs inside a flow run that a Prefect server knows of."""
    return FlowRunContext.get() is not None


def server_is_named() -> bool:
    """Whether flows are to be recorded by a Prefect server."""
    return bool(os.environ.get("PREFECT_API_URL"))


class StepTask(Generic[P, R]):
    """A task of Prefect inside a recorded flow run, and the plain function elsewhere; ``fn`` is always the latter."""

    def __init__(self, function: Callable[P, R], **options: Any) -> None:
        self.fn = function
        self.recorded = task(cache_policy=NO_CACHE, **options)(function)
        update_wrapper(self, function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        if not recorded():
            return self.fn(*args, **kwargs)
        result: R = self.recorded(*args, **kwargs)
        return result


def step_task(**options: Any) -> Callable[[Callable[P, R]], StepTask[P, R]]:
    """Make a function a ``StepTask``; the options are those of ``prefect.task``."""
    return lambda function: StepTask(function, **options)


def of_the_outside(_task: Any, _run: Any, state: State[Any]) -> bool:
    """Whether a task failed for something that may pass: a busy warehouse, a file system; not for a user's mistake."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, OSError | WarehouseError) or not isinstance(error, LipForcingError)


def say_what_to_do(flow: Flow[Any, Any], flow_run: FlowRun, state: State[Any]) -> None:
    """On the page of a failed flow run: our one sentence as the state's message, and an artifact that repeats it."""
    from prefect.artifacts import create_markdown_artifact
    from prefect.client.orchestration import get_client

    error = state.result(raise_on_failure=False)
    sentence = sentence_for(flow.name, error, state.message, get_type_hints(flow.fn).get("request"))
    wrong = isinstance(error, BadInputError | ParameterTypeError)
    again = "Correct the request and run it again" if wrong else "Run the same request again to go on"
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(flow_run.id, Failed(message=sentence), force=True)
    create_markdown_artifact(
        key="what-to-do",
        markdown=f"**What to do**\n\n{sentence}\n\n{again}: finished steps are kept.",
        description="Why this run failed, and what to do",
    )


def sentence_for(
    flow: str, error: object, message: str | None, request: type[BaseModel] | None = None
) -> str:
    """What went wrong, in words for the person who made the request.

    error: what the flow raised. message: what Prefect says of it. request: what the flow takes, for mistakes in it.
    """
    if isinstance(error, LipForcingError):
        return str(error)
    if isinstance(error, ParameterTypeError):
        return f"{flow}: the request cannot be used ({'; '.join(_mistakes(error, request))}): correct it and run again"
    words = message or type(error).__name__
    return f"{words}: a defect, it seems; the logs of the run have the traceback"


def _mistakes(error: ParameterTypeError, request: type[BaseModel] | None) -> list[str]:
    """One clause for each field that is wrong; in Prefect's words where it does not say what pydantic found."""
    found = error.__cause__ or error.__context__
    if request is None or not isinstance(found, ValidationError):
        return [line.removeprefix(" - ") for line in str(error).splitlines()[1:]]
    return mistakes(found, create_model("Parameters", request=(request, ...)))


def call_flow(flow: Flow[..., Any], request: Any) -> Any:
    """Call a flow with its request: recorded where a server is named, else as the function that it is."""
    if not server_is_named():
        return flow.fn(request)
    return flow(request)
