"""The deployments of the house: which flows are served, when, and with which requests.

``lipforcing serve`` serves them from one process; ``infra/prefect.yaml`` names the same for a work pool.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from flows.catalogue import flow_entry
from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.suggestions import unknown


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """A flow with a name, a schedule (None: on demand) and the request that a scheduled run is given.

    timeout_h: the limit of that request, which the page of Prefect shows and lets people change. at_once: how many of
    its runs are at work at a time; others wait.
    """

    name: str
    flow: str
    about: str
    timeout_h: float
    at_once: int = 1
    cron: str | None = None
    request: Mapping[str, Any] = field(default_factory=dict)
    tags: tuple[str, ...] = ()

    def flow_of(self) -> Any:
        """The flow; imports Prefect."""
        return flow_entry(self.flow).load()


NUM_CRON_FIELDS = 5
CRON_FIELD = re.compile(r"[\d*,/\-]+|[\d*,/\-A-Za-z]{3,}")
NIGHTLY = "nightly-curation"

DEPLOYMENTS = (
    Deployment(
        name=NIGHTLY,
        flow="curate",
        about="Curate what has arrived in the folder of videos.",
        timeout_h=20,
        cron="0 2 * * *",
        tags=("curation", "nightly"),
    ),
    Deployment(
        name="train-eval",
        flow="train_eval",
        about="A whole experiment: train, distil, generate, evaluate, report.",
        timeout_h=72,
        tags=("training",),
    ),
    Deployment(
        name="weekly-benchmark",
        flow="benchmark",
        about="How fast the student and the teacher are on this machine.",
        timeout_h=2,
        cron="0 6 * * 1",
        request={"preset": "nano"},
        tags=("benchmark", "weekly"),
    ),
    Deployment(
        name="evaluate",
        flow="evaluate",
        about="Score listed predictions of any system.",
        timeout_h=12,
        at_once=4,
        tags=("evaluation",),
    ),
    Deployment(
        name="generate",
        flow="generate",
        about="Re-sync a video to a speech track.",
        timeout_h=6,
        at_once=4,
        tags=("generation",),
    ),
)


def chosen(
    workspace: Path, *, only: Sequence[str], cron: str | None, source: Path | str | None
) -> list[Deployment]:
    """The deployments to serve in a workspace; the nightly curation needs a ``source``, a folder or a URI.

    ``cron`` takes the place of the schedule of the one deployment that ``only`` names. Raises ``BadInputError`` for an
    unknown name, a schedule that cannot be read, and a choice that leaves nothing to serve.
    """
    known = {deployment.name: deployment for deployment in DEPLOYMENTS}
    if strange := [name for name in only if name not in known]:
        raise BadInputError(f"--only: {unknown('deployment', strange[0], known)}")
    if cron is not None:
        if len(only) != 1:
            raise BadInputError("--cron is for one deployment: name it with --only")
        check_cron(cron)
        known[only[0]] = replace(known[only[0]], cron=cron)
    if source is None and NIGHTLY in only:
        raise BadInputError(f"{NIGHTLY} needs a folder of videos: give it with --source")
    if isinstance(source, Path) and not source.exists():
        raise BadInputError(f"--source {source}: there is no such file or folder")
    served = []
    for name in only or known:
        deployment = known[name]
        request = {
            "workspace": str(workspace.absolute()),
            "timeout_h": deployment.timeout_h,
            **deployment.request,
        }
        if deployment.flow == "curate":
            if source is None:
                continue
            request["source"] = str(source.absolute()) if isinstance(source, Path) else source
        served.append(replace(deployment, request=request))
    return served


def check_cron(cron: str) -> None:
    """Raise ``BadInputError`` for a schedule that is no cron expression of five fields.

    Only its form is looked at, since Prefect may not be imported before its server is known; Prefect checks the rest.
    """
    fields = cron.split()
    if len(fields) != NUM_CRON_FIELDS or not all(CRON_FIELD.fullmatch(field) for field in fields):
        raise BadInputError(
            f"--cron {cron!r} is no cron schedule: five fields (minute, hour, day, month, weekday), such as '0 2 * * *'"
        )
