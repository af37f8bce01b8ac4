"""What a flow answers with: pydantic models that survive JSON, for people to be shown and for machines to read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import BaseModel, ConfigDict

from tasks.ablation_tables import AblationTables

if TYPE_CHECKING:
    from lipforcing_core.metrics.suite import Evaluation
    from lipforcing_core.streaming.generate import GenerationReport
    from tasks.ablation import Grid
    from tasks.curating import Curated
    from tasks.judging import Judged
    from tasks.training import TrainedModel
    from tasks.user_videos import UserVideo
    from tasks.warehousing import RunInfo
    from tasks.workspace import Workspace


class Summary(BaseModel):
    """What every flow says at its end.

    ``folder`` is the run's own, None where it leaves none. ``warehouse_problem`` says why the rows of the run, which
    are in the inbox, are not in the snapshot yet.
    """

    model_config = ConfigDict(frozen=True)

    run_id: str
    folder: Path | None = None
    warehouse_problem: str | None = None


class ReasonLine(BaseModel):
    """Why footage was turned away."""

    reason: str
    pieces: int
    seconds: float


class ScoreLine(BaseModel):
    """One metric of one system over the whole set."""

    system: str
    metric: str
    value: float
    n: int
    ci_low: float | None = None
    ci_high: float | None = None
    backend: str


class UnavailableLine(BaseModel):
    """Metrics of one system that could not be measured on one clip (None: the whole set), and why."""

    system: str
    clip_id: str | None
    because: str
    num_metrics: int


class VideoLine(BaseModel):
    """What became of one of the user's videos."""

    name: str
    outcome: str
    output: Path | None


class CurateSummary(Summary):
    """The balance, the reasons, and where the products are.

    ``sync_advice`` says what the sync expert that was used cannot judge; it is empty where there is nothing to say.
    """

    manifest: Path
    data_docs: Path
    sources_in: int
    sources_accepted: int
    sources_rejected: int
    sources_quarantined: int
    sources_reused: int
    clips: int
    seconds_accepted: float
    reasons: list[ReasonLine]
    contract_holds: bool
    num_checks: int
    sync_advice: str = ""
    sources_failed: int = 0
    """Among the quarantined: the machine failed on them, and another run tries them again."""
    ignored: str = ""
    warnings: list[str] = []
    problems: list[str] = []
    """Rows of annotations that could not be used."""
    name: str = ""
    drift_verdict: str = ""
    """How far the run is from the one before it of the same data set, in a sentence; empty where nobody asked."""
    drift: list[str] = []
    """The comparisons that are beyond their limits."""

    @classmethod
    def of(
        cls, run_id: str, folder: Path, curated: Curated, problem: str | None = None, *, sync_advice: str = ""
    ) -> Self:
        """The summary of a curation."""
        from lipforcing_core.curation.sources import ignored_line
        from lipforcing_core.media.clock import seconds

        report, counts = curated.report, curated.report.balance
        drift = report.contract.drift
        return cls(
            run_id=run_id,
            folder=folder,
            warehouse_problem=problem,
            manifest=report.manifest,
            data_docs=report.data_docs,
            sources_in=counts.sources_in,
            sources_accepted=counts.sources_accepted,
            sources_rejected=counts.sources_rejected,
            sources_quarantined=counts.sources_quarantined,
            sources_reused=curated.num_reused,
            clips=counts.clips,
            seconds_accepted=float(seconds(counts.frames_accepted)),
            reasons=[
                ReasonLine(reason=row.reason.value, pieces=row.pieces, seconds=row.seconds)
                for row in report.reasons
            ],
            contract_holds=report.contract.success,
            num_checks=report.contract.num_checks,
            sync_advice=sync_advice,
            sources_failed=counts.sources_failed,
            ignored=ignored_line(report.ignored),
            warnings=list(report.warnings),
            problems=list(report.problems),
            name=report.name,
            drift_verdict=drift.verdict if drift else "",
            drift=[row.words for row in drift.drifted] if drift else [],
        )


class TrainSummary(Summary):
    """A trained model; ``loss`` is that of the last step."""

    output: Path
    loss: float
    reused: bool

    @classmethod
    def of(cls, run: RunInfo, workspace: Workspace, model: TrainedModel, output: Path) -> Self:
        """The summary of a trained model that was delivered to ``output``."""
        from tasks.training_runs import last_loss

        return cls(
            run_id=run.run_id,
            folder=workspace.run_folder(run.flow, run.run_id),
            output=output,
            loss=last_loss(model),
            reused=model.reused,
        )


class GenerateSummary(Summary):
    """A generated video and its speed: frames a second, and seconds to the first frames.

    ``several_faces`` says which faces there were to choose from, where there were several.
    """

    output: Path
    num_frames: int
    num_passed_through: int
    model_id: str
    embedded: bool
    device: str
    fps_pipeline: float
    ttff_pipeline_s: float
    fps_end_to_end: float
    several_faces: str = ""

    @classmethod
    def of(cls, run_id: str, report: GenerationReport, *, embedded: bool, device: str) -> Self:
        """The summary of a generated video."""
        from lipforcing_core.metrics.speed import speed_values

        speed = speed_values(report.ledger)
        return cls(
            run_id=run_id,
            output=report.output,
            num_frames=report.num_frames,
            num_passed_through=report.num_passed_through,
            model_id=report.model_id,
            embedded=embedded,
            device=device,
            fps_pipeline=speed["fps_pipeline"],
            ttff_pipeline_s=speed["ttff_pipeline_s"],
            fps_end_to_end=speed["fps_end_to_end"],
            several_faces=report.several_faces,
        )


class EvaluateSummary(Summary):
    """Set-level scores, and what could not be measured."""

    scores: list[ScoreLine]
    few_samples: list[str]
    unavailable: list[UnavailableLine]
    missing: list[tuple[str, str]]

    @classmethod
    def of(cls, run_id: str, folder: Path, evaluation: Evaluation, problem: str | None = None) -> Self:
        """The summary of an evaluation."""
        counts = Counter((u.system, u.clip_id, u.because) for u in evaluation.unavailable)
        return cls(
            run_id=run_id,
            folder=folder,
            warehouse_problem=problem,
            scores=score_lines(evaluation),
            few_samples=few_samples(evaluation),
            unavailable=[
                UnavailableLine(system=system, clip_id=clip_id, because=because, num_metrics=count)
                for (system, clip_id, because), count in counts.items()
            ],
            missing=list(evaluation.missing),
        )


class TrainEvalSummary(Summary):
    """An experiment: its curation (None where a manifest was given), scores, models and report.

    ``held_out`` says what the clips are that were evaluated.
    """

    curation: CurateSummary | None
    num_clips: int
    held_out: str
    systems: dict[str, str]
    scores: list[ScoreLine]
    videos: list[VideoLine]
    models: Path
    report: Path

    @classmethod
    def of(
        cls,
        run_id: str,
        folder: Path,
        curated: Curated | None,
        judged: Judged,
        videos: Sequence[UserVideo],
        report: Path,
        *,
        sync_advice: str = "",
    ) -> Self:
        """The summary of an experiment."""
        from tasks.models import MODELS

        curation = None
        if curated is not None:
            curation = CurateSummary.of(run_id, folder / "curation", curated, sync_advice=sync_advice)
        return cls(
            run_id=run_id,
            folder=folder,
            curation=curation,
            num_clips=judged.dataset.num_clips,
            held_out=judged.dataset.description,
            systems={system.system: system.label for system in judged.systems},
            scores=score_lines(judged.evaluation),
            videos=[
                VideoLine(name=video.name, outcome=video.outcome, output=video.output) for video in videos
            ],
            models=folder / MODELS,
            report=report,
        )


class AblateSummary(Summary):
    """A grid: how many cells it has, how many of them were finished before, and its tables, also as a Markdown file.

    ``tables`` is None where the warehouse could not be loaded.
    """

    num_cells: int
    num_finished_before: int
    preset: str
    tables: AblationTables | None
    markdown: Path | None

    @classmethod
    def of(
        cls,
        grid: Grid,
        folder: Path,
        *,
        num_finished_before: int,
        tables: AblationTables | None,
        markdown: Path | None,
        problem: str | None,
    ) -> Self:
        """The summary of a grid whose cells are all finished."""
        return cls(
            run_id=grid.name,
            folder=folder,
            warehouse_problem=problem,
            num_cells=len(grid.cells),
            num_finished_before=num_finished_before,
            preset=grid.base.preset.name,
            tables=tables,
            markdown=markdown,
        )


class BenchmarkSummary(Summary):
    """What ``benchmarks.streaming`` measured, without the raw samples, and the file that has them."""

    result: Path
    figures: dict[str, Any]

    @classmethod
    def of(cls, run_id: str, folder: Path, result: Mapping[str, object], problem: str | None = None) -> Self:
        """The summary of a benchmark."""
        figures = {key: value for key, value in result.items() if not isinstance(value, dict | list)}
        return cls(
            run_id=run_id,
            folder=folder,
            warehouse_problem=problem,
            result=folder / "result.json",
            figures=figures,
        )


def score_lines(evaluation: Evaluation) -> list[ScoreLine]:
    """Set-level values."""
    return [
        ScoreLine(
            system=value.system,
            metric=value.metric,
            value=value.value,
            n=value.n,
            ci_low=value.ci_low,
            ci_high=value.ci_high,
            backend=value.backend,
        )
        for value in evaluation.values
        if value.clip_id is None
    ]


def few_samples(evaluation: Evaluation) -> list[str]:
    """A sentence for each Frechet distance that rests on too few samples; equal ones of several systems count once."""
    from lipforcing_core.metrics.few_samples import few_samples_note

    values = [value for value in evaluation.values if value.clip_id is None]
    notes = (few_samples_note(value.metric, value.num_vectors, value.backend) for value in values)
    return list(dict.fromkeys(note for note in notes if note))
