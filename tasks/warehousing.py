"""Results as warehouse rows: one inbox file for each table and run, then one load."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from lipforcing_core import __version__
from lipforcing_core.base.apart import apart
from lipforcing_core.base.errors import WarehouseError
from lipforcing_core.base.licences import commercial_ok, commercial_ok_of_all
from lipforcing_core.base.packed_rows import batches
from lipforcing_core.base.products import as_json, content_key
from lipforcing_core.curation.manifest import clips_in, decisions_in
from lipforcing_core.curation.reasons import Stage
from lipforcing_core.curation.records import SCORE_NAMES, ClipRecord, Decision
from lipforcing_core.media.clock import FPS
from tasks.cost import Usage, cost_since, machine, read_meters
from tasks.recording import of_the_outside, step_task
from tasks.workspace import Workspace
from warehouse.dimensions import metric_rows, protocol_row
from warehouse.inbox import has_rows, remove_rows, write_rows
from warehouse.loader import LoadResult, load

if TYPE_CHECKING:
    from lipforcing_core.base.timed_steps import Costs
    from lipforcing_core.curation.assemble import CurationReport
    from lipforcing_core.metrics.suite import Evaluation

MOST_ROWS = 10_000
"""So many rows of a table are made and checked at once; they take about 40 MB meanwhile."""


@dataclass(frozen=True, kw_only=True)
class RunInfo:
    """What identifies a run. ``config`` is the whole resolved configuration; make it before the work starts.

    ``started_at`` and ``meters`` are the clock and the CPU time at the start, from which the cost is counted.
    """

    run_id: str
    flow: str
    config: Any
    seed: int | None = None
    preset: str | None = None
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    meters: Usage = field(default_factory=read_meters)

    def starting_now(self) -> RunInfo:
        """The same run, whose cost is counted from now on."""
        return replace(self, started_at=datetime.now(UTC), meters=read_meters())


class RunRows:
    """Writes the rows of one run into the inbox; writing a table again replaces its rows of this run."""

    def __init__(self, workspace: Workspace, run: RunInfo) -> None:
        self._inbox = workspace.inbox
        self._run = run

    def put(self, table: str, rows: Iterable[Mapping[str, Any]], *, unit: str = "rows") -> None:
        """Write rows of one table; a table without rows is left out."""
        if rows := list(rows):
            write_rows(self._inbox, table, self._run.run_id, unit, rows)
        else:
            remove_rows(self._inbox, table, self._run.run_id, unit)

    def put_many(self, table: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write rows of one table, of which only ``MOST_ROWS`` are in memory at once: a file for each so many."""
        parts = itertools.chain(batches(rows, MOST_ROWS), itertools.repeat(()))
        for number, some in enumerate(parts):
            unit = "rows" if number == 0 else f"rows-{number + 1}"
            was_there = has_rows(self._inbox, table, self._run.run_id, unit)
            self.put(table, some, unit=unit)
            if not some and not was_there:
                return

    def put_run(self) -> None:
        """Write the row of the run itself, which has come to its end."""
        row = {
            "run_id": self._run.run_id,
            "flow": self._run.flow,
            "status": "completed",
            "preset": self._run.preset,
            "seed": self._run.seed,
            "code_version": __version__,
            "config_json": as_json(self._run.config),
            "started_at": self._run.started_at,
            "finished_at": datetime.now(UTC),
            **machine(),
            **cost_since(self._run.meters),
        }
        self.put("runs", [row])

    def put_curation(self, report: CurationReport, name: str) -> str:
        """Write decisions, funnel, clips and the data set that is called ``name``; returns the data set's id."""
        rights = [(clip.clip_id, clip.licence, clip.commercial_ok) for clip in clips_in(report.manifest)]
        version = content_key(sorted(clip_id for clip_id, _, _ in rights))
        dataset_id = f"{name}@{version}"
        decisions = decisions_in(report.decisions)
        self.put_many("curation_decisions", (_decision_row(d, dataset_id) for d in decisions))
        decisions = decisions_in(report.decisions)
        self.put_many("curation_scores", (row for d in decisions for row in _score_rows(d, dataset_id)))
        self.put("funnel", _funnel_rows(report, dataset_id))
        self.put_many("clips", (_clip_row(clip, dataset_id) for clip in clips_in(report.manifest)))
        allowed = [commercial_ok(licence, claimed) for _, licence, claimed in rights]
        dataset = {
            "dataset_id": dataset_id,
            "name": name,
            "version": version,
            "num_clips": len(rights),
            "licence": "; ".join(sorted({licence for _, licence, _ in rights if licence})) or None,
            "commercial_ok": commercial_ok_of_all(allowed),
            "description": "curated clips",
        }
        self.put("datasets", [dataset], unit="curated")
        return dataset_id

    def put_step_costs(self, stage: str, costs: Costs) -> None:
        """Write what each kind of step within a stage took of the workers; steps that were only reused too."""
        rows = (
            {
                "stage": stage,
                "item": step,
                "wall_s": cost.wall_s,
                "cpu_seconds": cost.cpu_s,
                "reused": None if cost.done and cost.reused else cost.done == 0,
            }
            for step, cost in costs.items()
        )
        self.put("stage_timings", rows, unit=f"{stage}-steps")

    def put_evaluation(self, evaluation: Evaluation, dataset: HeldOutSet, systems: Iterable[System]) -> None:
        """Write values, paired differences, and what describes them: metrics, protocol, systems, data set."""
        owner = {"dataset_id": dataset.dataset_id}
        self.put("metric_values", (owner | asdict(value) for value in evaluation.values))
        self.put("paired_differences", (owner | asdict(entry) for entry in evaluation.differences))
        self.put("unavailable_values", (owner | asdict(entry) for entry in evaluation.unavailable))
        self.put("metrics", metric_rows())
        self.put("protocols", [protocol_row(evaluation.protocol)])
        self.put("systems", (asdict(system) for system in systems))
        described = {
            "dataset_id": dataset.dataset_id,
            "name": dataset.name,
            "version": dataset.version,
            "split": "test",
            "num_clips": dataset.num_clips,
            "description": dataset.description,
        }
        self.put("datasets", [described], unit="heldout")


@dataclass(frozen=True, kw_only=True)
class System:
    """A system under test, as the table ``systems`` describes it."""

    system: str
    label: str
    kind: str
    description: str
    variant: str | None = None
    num_steps: int | None = None
    checkpoint: str | None = None


@dataclass(frozen=True, kw_only=True)
class HeldOutSet:
    """The clips of an evaluation, by content."""

    name: str
    version: str
    num_clips: int
    description: str

    @property
    def dataset_id(self) -> str:
        """Name and version."""
        return f"{self.name}@{self.version}"


@step_task(retries=2, retry_delay_seconds=[5, 30], retry_condition_fn=of_the_outside)
def load_warehouse(workspace: Workspace, *, by_itself: bool = False) -> LoadResult:
    """Merge the inbox and publish the snapshot; ``by_itself``: in a process apart, for many rows."""
    if by_itself:
        return apart(load, workspace.inbox, workspace.warehouse)
    return load(workspace.inbox, workspace.warehouse)


def load_if_possible(workspace: Workspace, *, by_itself: bool = False) -> str | None:
    """Load the warehouse; what went wrong, in words, where it could not be: the rows wait in the inbox."""
    try:
        load_warehouse(workspace, by_itself=by_itself)
    except WarehouseError as error:
        return f"{error}. The rows of this run are in the inbox: `lipforcing warehouse rebuild` loads them"
    return None


def _decision_row(decision: Decision, dataset_id: str) -> dict[str, Any]:
    whole = decision.level == "source"
    return {
        "dataset_id": dataset_id,
        "source_id": decision.source_id,
        "source_name": decision.source,
        "segment_start_s": None if whole else float(decision.start_frame / FPS),
        "segment_stop_s": None if whole else float(decision.stop_frame / FPS),
        "decision": decision.status.value,
        "reason": None if decision.reason is None else decision.reason.value,
        "stage": "all" if decision.reason is None else decision.reason.stage.value,
        "measured_value": decision.measured,
        "threshold": decision.threshold,
        "backend": _measured_by(decision),
        "seconds": decision.seconds,
        "message": decision.message or None,
        "clip_id": decision.clip_id,
        "duplicate_of": decision.duplicate_of,
    }


def _score_rows(decision: Decision, dataset_id: str) -> Iterable[dict[str, Any]]:
    """A row for every number that was measured on a piece."""
    scores = decision.scores
    for name in SCORE_NAMES:
        value = getattr(scores, name)
        if decision.level == "source" or value is None or isinstance(value, str):
            continue
        yield {
            "dataset_id": dataset_id,
            "source_id": decision.source_id,
            "source_name": decision.source,
            "segment_start_s": float(decision.start_frame / FPS),
            "segment_stop_s": float(decision.stop_frame / FPS),
            "score": name,
            "value": float(value),
            "backend": scores.backend_of(name),
            "clip_id": decision.clip_id,
        }


def _measured_by(decision: Decision) -> str | None:
    """The backend whose score decided; None where no model did."""
    backends = {
        Stage.FACE: decision.scores.detector_backend,
        Stage.QUALITY: decision.scores.quality_backend,
        Stage.SYNC: decision.scores.sync_backend,
    }
    return None if decision.reason is None else backends.get(decision.reason.stage)


def _funnel_rows(report: CurationReport, dataset_id: str) -> Iterable[dict[str, Any]]:
    for position, (before, after) in enumerate(itertools.pairwise(report.funnel)):
        yield {
            "dataset_id": dataset_id,
            "stage": after.stage,
            "position": position,
            "unit": "segments",
            "num_in": before.segments,
            "num_out": after.segments,
            "seconds_in": before.seconds,
            "seconds_out": after.seconds,
        }


def _clip_row(clip: ClipRecord, dataset_id: str) -> dict[str, Any]:
    return {
        "dataset_id": dataset_id,
        "clip_id": clip.clip_id,
        "source_id": clip.source_id,
        "source_name": clip.source,
        "identity": clip.identity,
        "split": clip.split,
        "start_s": float(clip.start_frame / FPS),
        "stop_s": float(clip.stop_frame / FPS),
        "num_frames": clip.num_frames,
        "av_offset_frames": clip.scores.av_offset_applied,
        "sync_confidence": clip.scores.sync_confidence,
        "sync_backend": clip.scores.sync_backend,
        "quality": clip.scores.quality,
        "quality_backend": clip.scores.quality_backend,
        "licence": clip.licence,
        "commercial_ok": commercial_ok(clip.licence, clip.commercial_ok),
        "sha256": clip.clip_sha256,
        "consent": clip.consent,
        "language": clip.language,
        "corpus": clip.dataset,
        "face_track": clip.face_track,
        "face_box": clip.face_box,
        "reference_81": clip.reference_81,
        "duplicate_of": clip.duplicate_of,
        "identity_from": clip.identity_from,
    }
