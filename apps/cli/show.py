"""Summaries of flows, for people."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from rich.box import SIMPLE
from rich.table import Column, Table

from apps.cli.output import console, escape, remark, say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flows.summaries import (
        AblateSummary,
        BenchmarkSummary,
        CurateSummary,
        EvaluateSummary,
        GenerateSummary,
        Summary,
        TrainEvalSummary,
        TrainSummary,
    )
    from tasks.ablation_tables import AblationRow

NANO = "A nano model knows only the puppets it was trained on: on real people expect moving, blurred lips."
OTHER_EXPERT = "Set sync_expert in the settings, or measure without acting on it with --no-sync-filter."
HEADLINE = (
    "sync_c",
    "sync_d",
    "aperture_corr_lag0",
    "mouth_ssim",
    "fid",
    "fps_pipeline",
    "ttff_pipeline_s",
)
SHORT = {"aperture_corr_lag0": "lip r", "mouth_ssim": "SSIM lips", "ttff_pipeline_s": "TTFF s"}
"""Titles of columns for measures whose label and unit are too long for one."""
PROBLEMS_SHOWN = 10
"""Rows of annotations that are told one by one; a corpus may have thousands that cannot be used."""


def show(summary: Summary) -> None:
    """Print the summary of any flow."""
    printers = {
        "CurateSummary": show_curation,
        "TrainSummary": show_training,
        "GenerateSummary": show_generation,
        "EvaluateSummary": show_evaluation,
        "TrainEvalSummary": show_experiment,
        "AblateSummary": show_ablation,
        "BenchmarkSummary": show_benchmark,
    }
    printers[type(summary).__name__](summary)  # type: ignore[operator]
    if summary.warehouse_problem:
        remark("warehouse", summary.warehouse_problem)


def show_curation(summary: CurateSummary) -> None:
    """The balance, the reasons and the paths."""
    reused = f", {summary.sources_reused} reused" if summary.sources_reused else ""
    say(
        f"{summary.sources_in} sources: {summary.sources_accepted} accepted ({summary.clips} clips, "
        f"{summary.seconds_accepted:.1f} s), {summary.sources_rejected} rejected, "
        f"{summary.sources_quarantined} quarantined{reused}"
    )
    for reason in summary.reasons:
        unit = "piece " if reason.pieces == 1 else "pieces"
        say(f"  {reason.reason:<22} {reason.pieces:>4} {unit}  {reason.seconds:>8.1f} s")
    if summary.ignored:
        say(summary.ignored)
    for warning in summary.warnings:
        remark("warning", warning)
    for problem in summary.problems[:PROBLEMS_SHOWN]:
        remark("left out", problem)
    if len(summary.problems) > PROBLEMS_SHOWN:
        remark(
            "left out",
            f"{len(summary.problems) - PROBLEMS_SHOWN} more rows of annotations (see the data docs)",
        )
    if summary.sources_failed:
        remark(
            "failed",
            f"the machine failed on {summary.sources_failed} sources (the data docs say how); run again",
        )
    for line in summary.drift:
        remark("drift", line)
    if summary.drift_verdict:
        say(f"data set {summary.name}: {summary.drift_verdict}")
    verdict = "holds" if summary.contract_holds else "is BROKEN"
    say(f"contract {verdict} ({summary.num_checks} checks): {summary.data_docs}")
    say(f"manifest: {summary.manifest}")
    if summary.sync_advice and any(reason.reason == "sync_confidence_low" for reason in summary.reasons):
        say(f"{summary.sync_advice} {OTHER_EXPERT}")


def show_training(summary: TrainSummary) -> None:
    """The bundle, its loss, and how to see the curves."""
    reused = " (finished before, reused)" if summary.reused else ""
    say(f"{summary.output}: loss {summary.loss:.4f}{reused}")
    say(f"curves: lipforcing sql \"select * from training_curves where run_id = '{summary.run_id}'\"")


def show_generation(summary: GenerateSummary) -> None:
    """The output and its speed."""
    say(
        f"{summary.output}: {summary.num_frames} frames by {summary.model_id}, "
        f"{summary.num_passed_through} of them without a face and passed through\n"
        f"pipeline {summary.fps_pipeline:.1f} frames/s, first frames after {summary.ttff_pipeline_s:.3f} s; "
        f"end to end {summary.fps_end_to_end:.1f} frames/s"
    )
    if summary.embedded:
        say(NANO)


def show_evaluation(summary: EvaluateSummary) -> None:
    """Set-level scores, and what could not be measured."""
    console.print(scores_table(summary))
    for note in summary.few_samples:
        remark("few samples", note)
    for line in summary.unavailable:
        where = "the set" if line.clip_id is None else line.clip_id
        remark("unavailable", f"{line.num_metrics} metrics of {line.system} on {where}: {line.because}")
    for system, clip_id in summary.missing:
        remark("missing", f"{system} has no prediction for {clip_id}")
    say(f"lipforcing sql \"select * from leaderboard where run_id = '{summary.run_id}'\"")


def scores_table(summary: EvaluateSummary) -> Table:
    """Set-level values: metrics down, systems across."""
    from lipforcing_core.metrics.measures.catalogue import MEASURES

    systems = sorted({line.system for line in summary.scores})
    scores = {(line.metric, line.system): line for line in summary.scores}
    table = Table("metric", "n", *(escape(system) for system in systems))
    for measure in MEASURES:
        found = [scores.get((measure.name, system)) for system in systems]
        if any(found):
            n = next(line.n for line in found if line)
            cells = ["-" if line is None else f"{line.value:z.4g}" for line in found]
            table.add_row(measure.label, str(n), *cells)
    return table


def show_experiment(summary: TrainEvalSummary) -> None:
    """The headline numbers and where to look next."""
    if summary.curation is not None:
        show_curation(summary.curation)
    console.print(headline_table(summary))
    for video in summary.videos:
        say(f"your video {video.name}: {video.outcome}")
    console.print(f"[bold]report[/bold]    {escape(str(summary.report))}", soft_wrap=True)
    console.print(f"[bold]models[/bold]    {escape(str(summary.models))}", soft_wrap=True)
    console.print("[bold]try next[/bold]")
    of_demo = summary.models.parent.parent.name == "demo"  # whose student is the default
    model = "" if of_demo else f" --model {shlex.quote(str(summary.models / 'distilled'))}"
    say(f"  lipforcing generate YOUR_VIDEO.mp4 YOUR_SPEECH.wav -o synced.mp4{model}")
    say("  lipforcing sql \"select * from leaderboard where metric = 'sync_c'\"")
    say("  lipforcing curate YOUR_FOLDER")


def headline_table(summary: TrainEvalSummary) -> Table:
    """Set-level values of the headline metrics: systems down, metrics across."""
    from lipforcing_core.metrics.measures.catalogue import MEASURES
    from lipforcing_core.metrics.networks.catalogue import is_stand_in

    stand_in = {line.metric for line in summary.scores if is_stand_in(line.backend)}
    titles = [
        SHORT.get(metric, MEASURES[metric].label) + ("*" if metric in stand_in else "") for metric in HEADLINE
    ]
    table = Table(
        Column("system", no_wrap=True),
        *(Column(title, justify="right", no_wrap=True) for title in titles),
        title=f"{summary.num_clips} held-out clips: {summary.held_out}",
        caption="* by a stand-in network, see the report" if stand_in & set(HEADLINE) else None,
        box=SIMPLE,
        padding=(0, 1, 0, 0),
    )
    values = {(line.system, line.metric): line.value for line in summary.scores}
    for system, label in summary.systems.items():
        cells = [values.get((system, metric)) for metric in HEADLINE]
        words = ["-" if cell is None else f"{cell:z.{1 if cell >= 100 else 2}f}" for cell in cells]
        table.add_row(escape(label), *words)
    return table


def show_ablation(summary: AblateSummary) -> None:
    """The tables, printed and own numbers on lines of their own, and where to look next."""
    from itertools import groupby

    before = f", {summary.num_finished_before} of them finished before" if summary.num_finished_before else ""
    say(f"{summary.num_cells} cells of preset {summary.preset}{before}")
    if summary.tables is None:
        return
    for _, rows in groupby(summary.tables.rows, key=lambda row: row.ablation):
        console.print(ablation_table(list(rows)))
    say("own: mean of the seeds, with half the 95 % interval from 3 seeds on; compare directions, not sizes")
    say(f"tables and differences: {summary.markdown}")
    say(f"lipforcing sql \"from ablation_contrasts where grid = '{summary.run_id}'\"")


def ablation_table(rows: Sequence[AblationRow]) -> Table:
    """One of the paper's tables: of every variant a line of printed numbers and one of own numbers."""
    from lipforcing_core.metrics.networks.catalogue import is_stand_in
    from lipforcing_core.presets.ablations import ABLATIONS
    from tasks.ablation_tables import METRICS, published_words, short_words

    name, seeds, clips = rows[0].ablation, rows[0].repetitions, rows[0].clips
    stand_in = {s.metric for row in rows for s in row.scores if s.backend and is_stand_in(s.backend)}
    titles = [metric + ("*" if metric in stand_in else "") for metric in METRICS]
    table = Table(
        Column(name, no_wrap=True),
        Column("whose", no_wrap=True),
        *(Column(title, justify="right", no_wrap=True) for title in titles),
        title=f"{ABLATIONS[name].summary}: own numbers of {seeds} {'seed' if seeds == 1 else 'seeds'}, {clips} clips",
        caption="* own numbers by a stand-in network" if stand_in else None,
        box=SIMPLE,
        padding=(0, 1, 0, 0),
    )
    for row in rows:
        scores = [row.score(metric) for metric in METRICS]
        table.add_row(escape(row.variant), "printed", *map(published_words, scores))
        table.add_row("", "own", *map(short_words, scores))
    return table


def show_benchmark(summary: BenchmarkSummary) -> None:
    """The figures and the file with the samples."""
    for name, value in summary.figures.items():
        say(f"{name:28} {value}")
    say(f"samples: {summary.result}")
