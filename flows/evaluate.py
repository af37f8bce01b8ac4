"""The evaluation flow: predictions of any system, listed in a manifest, scored under one protocol."""

from __future__ import annotations

from prefect import flow

from flows.request_models import EvaluateRequest
from flows.summaries import EvaluateSummary
from lipforcing_core import __version__
from lipforcing_core.metrics.manifest import read_predictions
from lipforcing_core.metrics.suite import check_request
from tasks.artifacts import publish_scores
from tasks.evaluation import Scorers, evaluate_all, find_files
from tasks.evaluation_runs import all_pairs, evaluation_run, peers
from tasks.items import held_out_set, read_items
from tasks.progress import step
from tasks.recording import say_what_to_do
from tasks.session import orchestration, run_folder
from tasks.time_limit import limited
from tasks.warehousing import RunRows, load_if_possible
from tasks.workspace import Workspace, latest_link
from warehouse.inbox import check_name


@flow(name="evaluate", version=__version__, description=EvaluateRequest.__doc__, on_failure=[say_what_to_do])
@limited
def evaluate(request: EvaluateRequest) -> EvaluateSummary:
    """Score item by item, put the set together, load the warehouse.

    Raises ``BadInputError`` for lists that cannot be used, or where nothing could be measured for the whole set.
    """
    workspace = Workspace(request.workspace)
    scorers = Scorers.of(request, workspace)
    check_name("the name of the run", request.name)
    find_files(scorers)
    items, predictions = read_items(request.items), read_predictions(request.predictions)
    dataset = held_out_set(request.items.stem, items, f"items listed in {request.items.name}")
    run, protocol = evaluation_run(request.name, items, predictions, scorers, request.num_frames)
    check_request(items, predictions, protocol)
    with orchestration(workspace, request.resources), run_folder(workspace, run) as folder:
        with step(f"score {len(predictions)} predictions on {len(items)} clips", "clips") as advance:
            evaluation = evaluate_all(
                items,
                predictions,
                protocol,
                workspace.store,
                scorers=scorers,
                pairs=all_pairs(predictions),
                advance=advance,
            )
        rows = RunRows(workspace, run)
        rows.put_evaluation(evaluation, dataset, peers(predictions))
        rows.put_run()
        problem = load_if_possible(workspace)
        publish_scores(evaluation)
        latest_link(folder)
        return EvaluateSummary.of(run.run_id, folder, evaluation, problem)
