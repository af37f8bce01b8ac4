"""A grid of variants and repetitions of one experiment: which runs it has, which are finished, and one of them run.

All cells of a repetition start from one teacher and one pre-trained student, those of the grid's own preset; a cell
differs from another in distillation and evaluation alone.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from lipforcing_core import __version__
from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.products import content_key
from lipforcing_core.metrics.manifest import EvalItem
from lipforcing_core.presets import Preset
from lipforcing_core.presets.ablations import Variant, repetition, variants_of
from tasks.experiment import Experiment, Parents, distil
from tasks.judging import STUDENT, judge
from tasks.progress import Stopwatch, in_words, note, remaining_s
from tasks.session import run_folder
from tasks.warehousing import HeldOutSet, RunInfo, RunRows
from tasks.workspace import Workspace
from warehouse.inbox import read_rows, rows_path
from warehouse.schema import inbox_tables


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A variant in one repetition. experiment: what is distilled and evaluated, a run of its own."""

    variant: Variant
    repetition: int
    experiment: Experiment

    @property
    def run_id(self) -> str:
        """The id of the run."""
        return self.experiment.run.run_id

    @property
    def words(self) -> str:
        """The cell for people."""
        return f"{self.variant.name} ({self.variant.label}), repetition {self.repetition}"


@dataclass(frozen=True, kw_only=True)
class Grid:
    """The cells of some ablations of an experiment, repetition by repetition.

    name: equal for all grids of equal settings, whichever ablations and however many repetitions they are asked for,
    so that their cells add up.
    """

    base: Experiment
    cells: tuple[Cell, ...]

    @property
    def name(self) -> str:
        """The id of the run that holds what the cells share."""
        return self.base.run.run_id

    def parents_of(self, number: int) -> Experiment:
        """The experiment whose teacher and pre-trained student the cells of a repetition start from."""
        return replace(self.base, preset=repetition(self.base.preset, number))


def plan_grid(base: Experiment, ablations: Sequence[str], repetitions: int) -> Grid:
    """The cells of these ablations; raises ``BadInputError`` for a preset that a variant cannot be made of."""
    presets = [repetition(base.preset, number) for number in range(repetitions)]
    variants = variants_of(ablations)
    cells = [
        _cell(base, variant, number, presets[number]) for number in range(repetitions) for variant in variants
    ]
    return Grid(base=base, cells=tuple(cells))


def is_finished(workspace: Workspace, cell: Cell) -> bool:
    """Whether this version of the project has run the cell: its row, which is written last, is in the inbox."""
    path = rows_path(workspace.inbox, "runs", cell.run_id, "rows")
    try:
        return read_rows(inbox_tables()["runs"], path).column("code_version").to_pylist() == [__version__]
    except BadInputError:
        return False


def run_cell(
    workspace: Workspace, cell: Cell, parents: Parents, items: Sequence[EvalItem], dataset: HeldOutSet
) -> None:
    """Distil and evaluate the student of a cell, and write its rows into the inbox."""
    experiment, watch = cell.experiment, Stopwatch()
    run = experiment.run.starting_now()
    with run_folder(workspace, run):
        with watch.stage("distil"):
            student = distil(workspace, experiment, parents)
        with watch.stage("evaluate"):
            judged = judge(
                workspace,
                items,
                dataset,
                {STUDENT: student},
                experiment.preset,
                scorers=experiment.scorers,
                seed=int(run.seed or 0),
                aligned=experiment.evaluates_crops,
                controls=False,
            )
        rows = RunRows(workspace, run)
        models = (parents.teacher, parents.pretrained, student)
        rows.put("training_steps", [row for model in models for row in model.metrics])
        rows.put_evaluation(judged.evaluation, judged.dataset, judged.systems)
        rows.put("stage_timings", watch.rows())
        rows.put_run()


class Pace:
    """Says before every cell which it is and how long the rest may take, at the pace of those run so far."""

    def __init__(self, num_cells: int) -> None:
        self._num_cells = num_cells
        self._done = 0
        self._started = time.monotonic()

    def begin(self, cell: Cell) -> None:
        """Tell that a cell is run now."""
        left = remaining_s(time.monotonic() - self._started, self._done, self._num_cells)
        about = "" if left is None else f"; about {in_words(left)} left"
        note(f"cell {self._done + 1} of {self._num_cells}: {cell.words}{about}")

    def end(self) -> None:
        """Count the cell that was run."""
        self._done += 1


def _cell(base: Experiment, variant: Variant, number: int, preset: Preset) -> Cell:
    chosen = variant.preset(preset)
    place = {
        "grid": base.run.run_id,
        "preset": preset.name,
        "variant": variant.name,
        "repetition": number,
    }
    config = base.run.config | {"preset": chosen, "ablation": place}
    run = RunInfo(
        run_id=f"{base.run.flow}-{variant.name}-{number}-{content_key(config)}",
        flow=base.run.flow,
        config=config,
        seed=base.run.seed,
        preset=chosen.name,
    )
    return Cell(variant=variant, repetition=number, experiment=replace(base, run=run, preset=chosen))
