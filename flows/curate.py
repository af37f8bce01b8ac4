"""The curation flow: a folder of videos to aligned clips, a manifest, a contract and warehouse rows."""

from __future__ import annotations

from prefect import flow

from flows.request_models import CurateRequest
from flows.summaries import CurateSummary
from lipforcing_core import __version__
from lipforcing_core.base.products import content_key
from lipforcing_core.sync.experts.catalogue import advice_for_people
from tasks.artifacts import publish_curation
from tasks.curating import curate_corpus, discover, require_contract, survey
from tasks.datasets import DataSet, earlier_run, remember_run
from tasks.finished import find_summary, keep_summary
from tasks.outcomes import by_content, model_hashes
from tasks.recording import say_what_to_do
from tasks.remote import here, publish
from tasks.session import orchestration, run_folder
from tasks.settings import curation_settings
from tasks.time_limit import limited
from tasks.together import LARGE
from tasks.warehousing import RunInfo, RunRows, load_if_possible
from tasks.workspace import Workspace, latest_link


@flow(name="curate", version=__version__, description=CurateRequest.__doc__, on_failure=[say_what_to_do])
@limited
def curate(request: CurateRequest) -> CurateSummary:
    """Curate a folder; a run that changes nothing answers from what the last one left.

    Raises ``BadInputError`` for settings or files that cannot be used, and ``ContractError`` if the manifest breaks its
    contract, after everything has been written.
    """
    workspace = Workspace(request.workspace)
    settings = curation_settings(workspace, request.settings)
    source = here(request.source, workspace)
    dataset = DataSet.of(request.name, source, request.against, settings)
    found = discover(source, request.corpus, request.test_list)
    with orchestration(workspace, request.resources):
        corpus = survey(workspace, found.sources, settings, found.facts)
        config = {"settings": settings, "sources": corpus.listing()} | found.identity() | dataset.identity()
        config |= {"models": models} if (models := model_hashes(settings)) else {}
        key = content_key(config | {"settings": by_content(settings)})
        run = RunInfo(run_id=f"curate-{key}", flow="curate", config=config)
        state = (*corpus.keys, found.told())
        if earlier := find_summary(workspace.runs / "curate" / run.run_id, state, CurateSummary):
            load_if_possible(workspace)
            remember_run(workspace, dataset.name, run.run_id)
            latest_link(workspace.runs / "curate" / run.run_id)
            if request.publish:
                publish(workspace.runs / "curate" / run.run_id, request.publish, workspace)
            return earlier.model_copy(update={"sources_reused": len(found.sources)})
        with run_folder(workspace, run) as folder:
            before = earlier_run(workspace, dataset.name, run.run_id)
            curated = curate_corpus(workspace, corpus, settings, folder, found, dataset, before)
            rows = RunRows(workspace, run)
            rows.put_curation(curated.report, dataset.name)
            rows.put_step_costs("curate", curated.costs)
            rows.put_run()
            problem = load_if_possible(workspace, by_itself=len(found.sources) >= LARGE)
            publish_curation(curated.report)
            latest_link(folder)
            summary = CurateSummary.of(
                run.run_id, folder, curated, problem, sync_advice=advice_for_people(settings.sync_expert)
            )
            require_contract(curated.report, summary)
            if request.publish:
                publish(folder, request.publish, workspace)
            remember_run(workspace, dataset.name, run.run_id)
            if curated.is_settled:
                keep_summary(folder, state, summary, curated.report)
            return summary
