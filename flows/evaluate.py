"""The evaluation flow: predictions of any system, listed in a manifest, scored under one protocol."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from prefect import flow
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lipforcing_core.base.csv_file import read_csv
from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.products import content_key, file_sha256, write_json
from lipforcing_core.metrics.few_samples import few_samples_note
from lipforcing_core.metrics.manifest import EvalItem, PredictionRecord, read_predictions
from lipforcing_core.metrics.measures.catalogue import MEASURES
from lipforcing_core.metrics.protocol import Protocol, gt_box_aligned
from lipforcing_core.metrics.suite import Evaluation, check_window
from tasks.artifacts import publish_scores
from tasks.environment import orchestration
from tasks.evaluation import Scorers, evaluate_all, find_files, load_scorers
from tasks.progress import run_log, step
from tasks.warehousing import HeldOutSet, RunInfo, RunRows, System, load_warehouse
from tasks.workspace import Workspace, latest_link, one_run
from warehouse.inbox import check_name

console = Console(highlight=False)

REQUIRED = ("clip_id", "identity", "truth_video", "driving_audio")
OPTIONAL = ("source_video", "unrelated_audio")


@flow(name="evaluate", validate_parameters=False)
def evaluate(
    workspace: Workspace,
    items: list[EvalItem],
    predictions: list[PredictionRecord],
    protocol: Protocol,
    scorers: Scorers,
    dataset: HeldOutSet,
    run: RunInfo,
) -> Evaluation:
    """Score item by item, put the set together, load the warehouse."""
    labels = sorted({record.label for record in predictions})
    pairs = [(a, b) for i, a in enumerate(labels) for b in labels[i + 1 :]]
    with step(f"score {len(predictions)} predictions on {len(items)} clips") as advance:
        evaluation = evaluate_all(
            items, predictions, protocol, workspace.store, scorers=scorers, pairs=pairs, advance=advance
        )
    rows = RunRows(workspace, run)
    systems = [System(system=label, label=label, kind="peer", description="") for label in labels]
    rows.put_evaluation(evaluation, dataset, systems)
    rows.put_run()
    load_warehouse(workspace)
    publish_scores(evaluation)
    return evaluation


def run_evaluate(
    workspace: Workspace,
    predictions_file: Path,
    items_file: Path,
    *,
    name: str,
    scorers: Scorers,
    num_frames: int | None,
) -> None:
    """Run the flow for the command line; print set-level scores and what is missing or could not be measured."""
    check_name("the name of the run", name)
    check_window(num_frames)
    find_files(scorers)
    items, predictions = read_items(items_file), read_predictions(predictions_file)
    truths = [(item.clip_id, file_sha256(item.truth_video)) for item in items]
    dataset = HeldOutSet(
        name=items_file.stem,
        version=content_key(truths),
        num_clips=len(items),
        description=f"items listed in {items_file.name}",
    )
    backends = load_scorers(scorers)
    protocol = gt_box_aligned(detector_id=backends.ids["detector"], num_frames=num_frames)
    config: dict[str, Any] = {
        "protocol": protocol,
        "items": truths,
        "predictions": [(p.label, p.clip_id, p.sha256) for p in predictions],
    }
    if scorers.networks != "embedded" or scorers.sync_expert:  # runs of the embedded set keep their ids
        config["backends"] = backends.ids
    run = RunInfo(run_id=f"{name}-{content_key(config)}", flow="evaluate", config=config)
    folder = workspace.run_folder("evaluate", run.run_id)
    write_json(folder / "config.json", config)
    with one_run(folder), run_log(folder / "run.log"), orchestration(workspace):
        evaluation = evaluate(workspace, items, predictions, protocol, scorers, dataset, run)
    latest_link(folder)
    console.print(scores_table(evaluation))
    for note in few_samples(evaluation):
        console.print(f"[yellow]few samples[/yellow] {escape(note)}", soft_wrap=True)
    for reason, count in Counter((u.system, u.clip_id, u.because) for u in evaluation.unavailable).items():
        system, clip_id, because = reason
        where = "the set" if clip_id is None else clip_id
        words = escape(f"{count} metrics of {system} on {where}: {because}")
        console.print(f"[yellow]unavailable[/yellow] {words}", soft_wrap=True)
    for system, clip_id in evaluation.missing:
        words = escape(f"{system} has no prediction for {clip_id}")
        console.print(f"[yellow]missing[/yellow] {words}", soft_wrap=True)
    if all(value.clip_id is not None for value in evaluation.values):
        raise BadInputError("nothing could be measured for the whole set; the reasons are listed above")
    console.print(
        f"lipforcing sql \"select * from leaderboard where run_id = '{run.run_id}'\"", soft_wrap=True
    )


def scores_table(evaluation: Evaluation) -> Table:
    """Set-level values: metrics down, systems across."""
    whole = [value for value in evaluation.values if value.clip_id is None]
    systems = sorted({value.system for value in whole})
    scores = {(value.metric, value.system): value for value in whole}
    table = Table("metric", "n", *systems)
    for measure in MEASURES:
        found = [scores.get((measure.name, system)) for system in systems]
        if any(found):
            n = next(value.n for value in found if value)
            cells = ["-" if value is None else f"{value.value:z.4g}" for value in found]
            table.add_row(measure.label, str(n), *cells)
    return table


def few_samples(evaluation: Evaluation) -> list[str]:
    """A sentence for each Frechet distance that rests on too few samples; equal ones of several systems count once."""
    values = [value for value in evaluation.values if value.clip_id is None]
    notes = (few_samples_note(value.metric, value.num_vectors, value.backend) for value in values)
    return list(dict.fromkeys(note for note in notes if note))


def read_items(path: Path) -> list[EvalItem]:
    """Items from a CSV; paths are relative to its folder and stay in it. Raises ``BadInputError`` naming the row."""
    if not path.is_file():
        raise BadInputError(f"items file {path} does not exist")
    rows = read_csv(path, REQUIRED)
    if not rows:
        raise BadInputError(f"{path} lists no items")
    return [_item(row, path, number) for number, row in enumerate(rows, start=1)]


def _item(row: dict[str, str], origin: Path, number: int) -> EvalItem:
    if missing := [name for name in REQUIRED if not row.get(name)]:
        raise BadInputError(f"{origin}, row {number}: {', '.join(missing)} missing")
    root = origin.parent.resolve()
    named = ("truth_video", "driving_audio", *OPTIONAL)
    paths = {name: (root / row[name]).resolve() for name in named if row.get(name)}
    for name, path in paths.items():
        if not path.is_relative_to(root):
            raise BadInputError(f"{origin}, row {number}: {name} {row[name]} leaves {root}")
        if not path.is_file():
            raise BadInputError(f"{origin}, row {number}: {name} {path} does not exist")
    return EvalItem(clip_id=row["clip_id"], identity=row["identity"], **paths)
