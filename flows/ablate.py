"""The paper's ablations in one flow: a grid of variants and repetitions that share corpus, teacher and student."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from prefect import flow

from flows.request_models import AblateRequest
from flows.summaries import AblateSummary
from lipforcing_core import __version__
from lipforcing_core.base.products import write_json
from tasks.ablation import Cell, Grid, Pace, is_finished, plan_grid, run_cell
from tasks.ablation_tables import read_tables, write_markdown
from tasks.artifacts import publish_ablation
from tasks.curating import require_contract
from tasks.evaluation import Scorers
from tasks.experiment import curated_clips, find_corpus, held_out, plan, require_clips, train_parents
from tasks.experiment_report import REQUEST_FILE
from tasks.progress import Stopwatch, note
from tasks.recording import say_what_to_do
from tasks.session import orchestration, run_folder
from tasks.time_limit import limited
from tasks.warehousing import RunRows, load_if_possible
from tasks.workspace import Workspace, latest_link
from warehouse.inbox import check_name

TABLES_FILE = "tables.md"


@flow(name="ablate", version=__version__, description=AblateRequest.__doc__, on_failure=[say_what_to_do])
@limited
def ablate(request: AblateRequest) -> AblateSummary:
    """Plan the grid, make what its cells share, run the cells that are not finished, lay the tables out.

    Raises as ``train_eval`` does, and ``BadInputError`` before any work for a preset that a variant cannot be made of.
    """
    workspace = Workspace(request.workspace)
    check_name("the name of the grid", request.name)
    base = plan(
        workspace,
        name=request.name,
        corpus=request.corpus,
        curation=request.curation,
        preset=request.preset,
        device=request.device,
        seed=request.seed,
        videos=None,
        scorers=Scorers.of(request, workspace),
    )
    grid = plan_grid(base, request.tables, request.seeds)
    with orchestration(workspace, request.resources), run_folder(workspace, base.run) as folder:
        write_json(folder / REQUEST_FILE, request)
        todo = [cell for cell in grid.cells if not is_finished(workspace, cell)]
        finished_before = len(grid.cells) - len(todo)
        note(f"{len(grid.cells)} cells, {finished_before} of them finished before")
        if todo:
            _run(workspace, grid, todo, folder)
        problem = load_if_possible(workspace)
        tables = markdown = None
        if problem is None:
            tables = read_tables(workspace.warehouse, grid.name, base.preset.name, request.tables)
            markdown = folder / TABLES_FILE
            write_markdown(tables, markdown)
            publish_ablation(tables)
        latest_link(folder)
        return AblateSummary.of(
            grid,
            folder,
            num_finished_before=finished_before,
            tables=tables,
            markdown=markdown,
            problem=problem,
        )


def _run(workspace: Workspace, grid: Grid, todo: Sequence[Cell], folder: Path) -> None:
    """What the cells share, with rows of its own, then cell by cell; the rows of each are written when it is done."""
    base, watch = grid.base, Stopwatch()
    with watch.stage("find the corpus"):
        corpus = find_corpus(workspace, base)
    with watch.stage("curate"):
        manifest, curated = curated_clips(workspace, base, corpus, folder / "curation")
        require_clips(base, corpus, manifest, curated)
        if curated is not None:
            require_contract(curated.report)
    items, dataset = held_out(base, corpus, manifest)
    parents = {}
    for number in sorted({cell.repetition for cell in todo}):
        note(f"what the cells of repetition {number} share")
        with watch.stage(f"train what repetition {number} shares"):
            parents[number] = train_parents(workspace, grid.parents_of(number), corpus, manifest)
    rows = RunRows(workspace, base.run)
    if curated is not None:
        rows.put_curation(curated.report, base.run.flow)
        rows.put_step_costs("curate", curated.costs)
    rows.put("stage_timings", watch.rows())
    rows.put_run()
    pace = Pace(len(todo))
    for cell in todo:
        pace.begin(cell)
        run_cell(workspace, cell, parents[cell.repetition], items, dataset)
        load_if_possible(
            workspace
        )  # so that the tables grow while the grid runs; told at the end if it fails
        pace.end()
