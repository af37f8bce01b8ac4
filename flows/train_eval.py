"""A whole experiment in one flow: corpus, teacher, student, distilled student, scores, warehouse, report."""

from __future__ import annotations

from prefect import flow

from flows.request_models import TrainEvalRequest
from flows.summaries import TrainEvalSummary
from lipforcing_core import __version__
from lipforcing_core.base.products import write_json
from tasks.artifacts import publish_curation, publish_report, publish_scores
from tasks.curating import require_contract
from tasks.evaluation import Scorers
from tasks.experiment import curated_clips, find_corpus, held_out, plan, require_clips, train_models
from tasks.experiment_report import REQUEST_FILE, write_report
from tasks.judging import judge
from tasks.models import num_parameters, place_models
from tasks.progress import Stopwatch
from tasks.recording import say_what_to_do
from tasks.session import orchestration, run_folder
from tasks.time_limit import limited
from tasks.user_videos import resync_user_videos
from tasks.warehousing import RunRows, load_warehouse
from tasks.workspace import Workspace, latest_link
from warehouse.inbox import check_name


@flow(
    name="train_eval", version=__version__, description=TrainEvalRequest.__doc__, on_failure=[say_what_to_do]
)
@limited
def train_eval(request: TrainEvalRequest) -> TrainEvalSummary:
    """Curate, train, distil, generate, evaluate, load the warehouse, report; the demo is this on puppets.

    Raises ``BadInputError`` before any work for a request that cannot be done, before any training where curation left
    nothing to train or to evaluate on, and ``ContractError`` at the end if the curated manifest breaks its contract.
    """
    workspace, watch = Workspace(request.workspace), Stopwatch()
    check_name("the name of the experiment", request.name)
    experiment = plan(
        workspace,
        name=request.name,
        corpus=request.corpus,
        curation=request.curation,
        preset=request.preset,
        device=request.device,
        seed=request.seed,
        videos=request.videos,
        scorers=Scorers.of(request, workspace),
    )
    run, preset = experiment.run, experiment.preset
    with orchestration(workspace, request.resources), run_folder(workspace, run) as folder:
        write_json(folder / REQUEST_FILE, request)
        with watch.stage("render puppets" if experiment.puppets else "find the corpus"):
            corpus = find_corpus(workspace, experiment)
        with watch.stage("curate"):
            manifest, curated = curated_clips(workspace, experiment, corpus, folder / "curation")
            require_clips(experiment, corpus, manifest, curated)
        with watch.stage("train"):
            models = train_models(workspace, experiment, corpus, manifest)
        with watch.stage("evaluate"):
            items, dataset = held_out(experiment, corpus, manifest)
            judged = judge(
                workspace,
                items,
                dataset,
                models,
                preset,
                scorers=experiment.scorers,
                seed=request.seed,
                aligned=experiment.evaluates_crops,
            )
        with watch.stage("your videos"):
            student = models["distilled"]
            videos = resync_user_videos(
                workspace, experiment.user_sources, corpus.speech, student.bundle, folder
            )
        with watch.stage("warehouse"):
            rows = RunRows(workspace, run)
            if curated is not None:
                rows.put_curation(curated.report, request.name)
                rows.put_step_costs("curate", curated.costs)
            rows.put("training_steps", [row for model in models.values() for row in model.metrics])
            rows.put_evaluation(judged.evaluation, judged.dataset, judged.systems)
            rows.put("stage_timings", watch.rows())
            rows.put_run()
            load_warehouse(workspace)
        place_models(models, folder)
        parameters = num_parameters(student)
        report = write_report(workspace, experiment, folder, judged, videos, parameters=parameters)
        if curated is not None:
            publish_curation(curated.report)
        publish_scores(judged.evaluation)
        publish_report(report)
        latest_link(folder)
        if curated is not None:
            require_contract(curated.report)
        return TrainEvalSummary.of(
            run.run_id, folder, curated, judged, videos, report, sync_advice=experiment.sync_advice
        )
