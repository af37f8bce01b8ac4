"""Runs as a researcher compares them: what each was told, how its curves went, and what it scored."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.names import shown_name
from lipforcing_core.base.suggestions import did_you_mean
from warehouse.connection import read_rows

LATEST = "latest"
ABSENT = "-"
"""What stands for a setting that a run does not have."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One row of ``runs``. config: the resolved settings, as stored."""

    run_id: str
    flow: str
    preset: str | None
    seed: int | None
    code_version: str | None
    started_at: datetime | None
    finished_at: datetime | None
    device: str | None
    cpu_seconds: float | None
    gpu_seconds: float | None
    config: Mapping[str, Any]

    @property
    def wall_s(self) -> float | None:
        """Seconds from start to end; None where one is not known."""
        if self.started_at is None or self.finished_at is None:
            return None
        return (self.finished_at - self.started_at).total_seconds()


@dataclass(frozen=True, kw_only=True)
class Curve:
    """What one logged quantity did in one stage: its first and last values, and the smallest and largest between."""

    run_id: str
    stage: str
    name: str
    steps: int
    first: float
    last: float
    smallest: float
    largest: float


@dataclass(frozen=True, kw_only=True)
class Score:
    """A score over a whole set, with its 95 % interval where there is one."""

    run_id: str
    dataset_id: str
    system: str
    metric: str
    protocol_id: str
    backend: str
    value: float
    ci_low: float | None
    ci_high: float | None
    n: int | None

    @property
    def what(self) -> tuple[str, str, str, str, str]:
        """What two scores must share to be comparable."""
        return self.dataset_id, self.protocol_id, self.backend, self.system, self.metric


@dataclass(frozen=True, kw_only=True)
class Changed:
    """A setting that differs between runs: its path in the configuration, and its value in each."""

    setting: str
    values: tuple[str, ...]


def list_runs(warehouse: Path, *, flow: str | None = None) -> list[Run]:
    """All runs, or those of one flow, the newest first.

    Raises ``BadInputError`` for a flow of which there is no run, and as ``open_snapshot`` does.
    """
    runs = _runs(warehouse)
    known = sorted({run.flow for run in runs})
    if flow is not None and flow not in known:
        raise BadInputError(
            f"no run of {shown_name(flow)} in {warehouse}{did_you_mean(flow, known)}; there are runs of "
            f"{', '.join(known) or 'nothing yet'}"
        )
    return [run for run in runs if flow in (None, run.flow)]


def find_runs(warehouse: Path, names: Sequence[str]) -> list[Run]:
    """The runs that somebody names, each by its id, by an unambiguous beginning of one, or as ``latest``.

    Raises ``BadInputError`` with the run that was probably meant, and as ``open_snapshot`` does.
    """
    runs = _runs(warehouse)
    if not runs:
        raise BadInputError(f"{warehouse} holds no run yet; every flow leaves one when it ends")
    return [_find(runs, name) for name in names]


def curves_of(warehouse: Path, runs: Sequence[Run]) -> list[Curve]:
    """The training curves of these runs, by stage and name; none for runs that trained nothing."""
    query = """
        select run_id, stage, name, count(*) steps, arg_min(value, step) as "first", arg_max(value, step) as "last",
               min(value) smallest, max(value) largest
        from training_steps where list_contains($1, run_id) group by all order by stage, name, run_id
    """
    return [Curve(**row) for row in read_rows(warehouse, query, [[run.run_id for run in runs]])]


def scores_of(warehouse: Path, runs: Sequence[Run]) -> list[Score]:
    """The set-level scores of these runs, by data set, system and metric."""
    query = """
        select run_id, dataset_id, system, metric, protocol_id, backend, value, ci_low, ci_high, n
        from set_scores where list_contains($1, run_id) order by dataset_id, system, metric, protocol_id, run_id
    """
    return [Score(**row) for row in read_rows(warehouse, query, [[run.run_id for run in runs]])]


def changed_settings(runs: Sequence[Run]) -> list[Changed]:
    """The settings that are not the same in all runs, by their paths; what a run does not have is ``ABSENT``."""
    flat = [dict(_flat(run.config)) for run in runs]
    paths = sorted(set().union(*flat))
    rows = [(path, tuple(values.get(path, ABSENT) for values in flat)) for path in paths]
    return [Changed(setting=path, values=values) for path, values in rows if len(set(values)) > 1]


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every leaf with its path; a list is one leaf, since its items have no names."""
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _flat(inner, f"{path}.{key}" if path else str(key))
    else:
        yield path, json.dumps(value, ensure_ascii=False, sort_keys=True)


def _find(runs: Sequence[Run], name: str) -> Run:
    if name == LATEST:
        return runs[0]
    exact = [run for run in runs if run.run_id == name]
    fitting = exact or [run for run in runs if name and run.run_id.startswith(name)]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise BadInputError(f"{name!r} may be any of these runs: {', '.join(r.run_id for r in fitting)}")
    ids = [run.run_id for run in runs]
    raise BadInputError(f"no run {name!r}{did_you_mean(name, ids)}; `lipforcing runs list` lists them")


def _runs(warehouse: Path) -> list[Run]:
    columns = ", ".join(name for name in Run.__dataclass_fields__ if name != "config")
    query = f"select {columns}, config_json from runs order by started_at desc nulls last, run_id"
    found = []
    for row in read_rows(warehouse, query):
        config = json.loads(row.pop("config_json") or "{}")
        found.append(Run(config=config if isinstance(config, dict) else {"config": config}, **row))
    return found
