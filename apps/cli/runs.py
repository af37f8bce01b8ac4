"""``lipforcing runs``: what ran, what each run was told, how its curves went, what it scored."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from apps.cli.output import say

if TYPE_CHECKING:
    from warehouse.runs import Run

app = typer.Typer(help="List the runs in the warehouse, and compare their settings, curves and scores.")

Names = Annotated[
    list[str],
    typer.Argument(metavar="RUN...", help="Ids of runs, or the beginnings of ids; latest is the last one."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
MAX_VALUE = 60
"""Characters of a setting that a line shows; --json shows all."""


@app.command("list", epilog="Example: [bold]lipforcing runs list --flow distill_student[/bold]")
def list_(
    context: typer.Context,
    flow: Annotated[str | None, typer.Option(help="Only runs of this flow.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many are listed at most, the newest first.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List runs, the newest first: when, how long, on what, at which cost."""
    from warehouse.runs import list_runs

    runs = list_runs(context.obj.workspace.warehouse, flow=flow)
    if as_json:
        _print([_facts(run) for run in runs[:limit]])
        return
    rows = [
        [
            run.run_id,
            run.flow,
            run.preset,
            _time(run),
            _seconds(run.wall_s),
            run.device,
            _seconds(run.cpu_seconds),
        ]
        for run in runs[:limit]
    ]
    _table(["run", "flow", "preset", "started", "took", "device", "cpu"], rows)
    if len(runs) > limit:
        say(f"and {len(runs) - limit} older ones (--limit)")


@app.command(epilog="Example: [bold]lipforcing runs show latest[/bold]")
def show(
    context: typer.Context,
    run: Annotated[str, typer.Argument(help="Id of a run, the beginning of one, or latest.")] = "latest",
    as_json: AsJson = False,
) -> None:
    """Show one run: its settings, its curves and its scores."""
    from warehouse.runs import curves_of, find_runs, scores_of

    warehouse = context.obj.workspace.warehouse
    (found,) = find_runs(warehouse, [run])
    curves, scores = curves_of(warehouse, [found]), scores_of(warehouse, [found])
    if as_json:
        told = {"config": found.config, "curves": [asdict(c) for c in curves]}
        _print(_facts(found) | told | {"scores": [asdict(score) for score in scores]})
        return
    for name, value in _facts(found).items():
        if value is not None:
            say(f"{name:<13}{value}")
    say(
        "settings     "
        + _short(json.dumps(found.config, ensure_ascii=False), 2 * MAX_VALUE)
        + "  (--json: all)"
    )
    if curves:
        say("")
        rows = [[c.stage, c.name, c.steps, c.first, c.last, c.smallest, c.largest] for c in curves]
        _table(["stage", "curve", "steps", "first", "last", "smallest", "largest"], rows)
    if scores:
        say("")
        rows = [
            [s.dataset_id, s.system, s.metric, s.value, _interval(s.ci_low, s.ci_high), s.n] for s in scores
        ]
        _table(["data set", "system", "metric", "value", "95 %", "n"], rows)


@app.command(epilog="Example: [bold]lipforcing runs compare distill_student-4f2 latest[/bold]")
def compare(context: typer.Context, runs: Names, as_json: AsJson = False) -> None:
    """Compare how the curves of runs ended and what they scored, side by side.

    Scores stand in one row only where data set, protocol, backend and system are the same.
    """
    from warehouse.runs import curves_of, find_runs, scores_of

    warehouse = context.obj.workspace.warehouse
    found = find_runs(warehouse, _several(runs))
    ids = [run.run_id for run in found]
    curves, scores = curves_of(warehouse, found), scores_of(warehouse, found)
    last = _side_by_side([((c.stage, c.name), c.run_id, c.last) for c in curves], ids)
    scored = _side_by_side([(s.what, s.run_id, s.value) for s in scores], ids)
    if as_json:
        _print(
            {
                "runs": ids,
                "curves": [{"stage": key[0], "name": key[1], "last": values} for key, values in last],
                "scores": [
                    dict(zip(("dataset_id", "protocol_id", "backend", "system", "metric"), key, strict=True))
                    | {"values": values}
                    for key, values in scored
                ],
            }
        )
        return
    for number, run in enumerate(found, start=1):
        say(f"[{number}] {run.run_id}")
    columns = _numbers(found)
    if last:
        say("")
        _table(["stage", "curve (last value)", *columns], [[*key, *values] for key, values in last])
    if scored:
        say("")
        rows = [[key[0], key[3], key[4], *values] for key, values in scored]
        _table(["data set", "system", "metric", *columns], rows)
    if not last and not scored:
        say("none of them has curves or scores")


@app.command(epilog="Example: [bold]lipforcing runs diff distill_student-4f2 distill_student-9a0[/bold]")
def diff(context: typer.Context, runs: Names, as_json: AsJson = False) -> None:
    """Say which settings differ between runs."""
    from warehouse.runs import changed_settings, find_runs

    found = find_runs(context.obj.workspace.warehouse, _several(runs))
    changed = changed_settings(found)
    if as_json:
        _print({"runs": [run.run_id for run in found], "settings": [asdict(change) for change in changed]})
        return
    for number, run in enumerate(found, start=1):
        say(f"[{number}] {run.run_id}, {run.flow}, version {run.code_version}")
    if not changed:
        say("no setting differs")
        return
    say("")
    columns = _numbers(found)
    _table(["setting", *columns], [[c.setting, *(_short(v) for v in c.values)] for c in changed])


def _numbers(runs: Sequence[Run]) -> list[str]:
    """What stands for each run at the head of a column."""
    return [f"[{number}]" for number in range(1, len(runs) + 1)]


def _several(names: Sequence[str]) -> Sequence[str]:
    from lipforcing_core.base.errors import BadInputError

    if len(names) < 2:
        raise BadInputError(f"two runs at least can be compared, and {names[0]!r} is one; name another")
    return names


def _side_by_side(
    values: Sequence[tuple[tuple[str, ...], str, float]], run_ids: Sequence[str]
) -> list[tuple[tuple[str, ...], list[float | None]]]:
    """One row for each key in the order of keys, with the value of each run or None."""
    found: dict[tuple[str, ...], dict[str, float]] = {}
    for key, run_id, value in values:
        found.setdefault(key, {})[run_id] = value
    return [(key, [of_run.get(run_id) for run_id in run_ids]) for key, of_run in found.items()]


def _facts(run: Run) -> dict[str, Any]:
    return {
        "run": run.run_id,
        "flow": run.flow,
        "preset": run.preset,
        "seed": run.seed,
        "version": run.code_version,
        "started": _time(run),
        "seconds": None if run.wall_s is None else round(run.wall_s, 1),
        "device": run.device,
        "cpu_seconds": run.cpu_seconds,
        "gpu_seconds": run.gpu_seconds,
    }


def _table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    from warehouse.query import render

    typer.echo(render(columns, rows, full=True), nl=False)


def _print(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2, sort_keys=True, default=str))


def _time(run: Run) -> str | None:
    return None if run.started_at is None else f"{run.started_at:%Y-%m-%d %H:%M:%S}"


def _seconds(value: float | None) -> str | None:
    if value is None:
        return None
    minutes, seconds = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}"


def _interval(low: float | None, high: float | None) -> str | None:
    return None if low is None or high is None else f"{low:.4g} to {high:.4g}"


def _short(text: str, longest: int = MAX_VALUE) -> str:
    from lipforcing_core.base.names import shortened

    return shortened(text, longest)
