"""Rows of the warehouse arranged as the report's tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lipforcing_core.metrics.few_samples import few_samples_note
from lipforcing_core.metrics.measures.catalogue import MEASURES
from warehouse.report.data import ReportData, Row, same_ground


@dataclass(frozen=True, kw_only=True)
class MetricColumn:
    """A column of the metric table: one metric by one backend."""

    metric: str
    backend: str
    label: str
    unit: str | None
    higher_is_better: bool | None
    published_name: str | None


@dataclass(frozen=True, kw_only=True)
class MetricTable:
    """Measured systems of one data set and protocol. ``cells`` are keyed by (system, metric, backend).

    ``columns`` are the metrics that the paper's table has too, ``others`` the rest; ``published`` rows hold the
    printed text per published metric name. ``notes`` warn of distances that rest on too few samples.
    """

    dataset_id: str
    protocol_id: str
    columns: Sequence[MetricColumn]
    others: Sequence[MetricColumn]
    systems: Sequence[Row]
    cells: dict[tuple[str, str, str], Row]
    published: Sequence[Row]
    comparable_with_paper: bool
    notes: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class StageTime:
    """Wall-clock time of a stage, and whether all of it came from the store."""

    stage: str
    wall_s: float
    reused: bool


_KIND_ORDER = {"truth": 0, "teacher": 1, "student": 2, "peer": 3, None: 4, "control": 5}


def metric_tables(data: ReportData) -> list[MetricTable]:
    """One table per data set and protocol, the paper's main table beside each."""
    grounds = sorted({(row["dataset_id"], row["protocol_id"]) for row in data.scores})
    return [_metric_table(data, *ground) for ground in grounds]


def comparable_scores(data: ReportData, score: Row) -> list[Row]:
    """All systems scored on the same data set, protocol, metric and backend, best first."""
    same = [row for row in data.scores if same_ground(row, score)]
    return sorted(same, key=lambda row: row["value"], reverse=bool(score["higher_is_better"]))


def stage_times(timings: Sequence[Row]) -> list[StageTime]:
    """Time by stage in order: the row of the whole stage where there is one, else the sum of its items."""
    stages = dict.fromkeys(row["stage"] for row in timings)
    found = []
    for stage in stages:
        rows = [row for row in timings if row["stage"] == stage]
        rows = [row for row in rows if row["item"] == "all"] or rows
        wall_s = sum(row["wall_s"] for row in rows)
        found.append(StageTime(stage=stage, wall_s=wall_s, reused=all(row["reused"] for row in rows)))
    return found


def pareto_points(data: ReportData, *, origin: str, metric: str) -> list[list[Row]]:
    """Points of the speed-quality plots, one list per comparison that may share a plot."""
    grounds: dict[tuple, list[Row]] = {}
    for row in data.pareto:
        if row["origin"] == origin and row["quality_metric"] == metric:
            names = ("dataset_id", "protocol_id", "quality_backend", "speed_protocol_id", "speed_backend")
            grounds.setdefault(tuple(row[name] for name in names), []).append(row)
    return list(grounds.values())


def _metric_table(data: ReportData, dataset_id: str, protocol_id: str) -> MetricTable:
    scores = [r for r in data.scores if (r["dataset_id"], r["protocol_id"]) == (dataset_id, protocol_id)]
    columns = {
        (row["metric"], row["backend"]): MetricColumn(
            metric=row["metric"],
            backend=row["backend"],
            label=row["metric_label"],
            unit=row["unit"],
            higher_is_better=row["higher_is_better"],
            published_name=row["published_name"],
        )
        for row in scores
    }
    systems = {row["system"]: row for row in scores}
    ordered = sorted(columns.values(), key=_column_order)
    published_names = {column.published_name for column in ordered if column.published_name}
    return MetricTable(
        dataset_id=dataset_id,
        protocol_id=protocol_id,
        columns=[column for column in ordered if column.published_name],
        others=[column for column in ordered if not column.published_name],
        systems=sorted(systems.values(), key=lambda row: (_KIND_ORDER[row["kind"]], row["label"])),
        cells={(row["system"], row["metric"], row["backend"]): row for row in scores},
        published=_published(data.published, published_names),
        comparable_with_paper=all(row["paper_table"] == "main_hdtf" for row in scores),
        notes=_notes(scores),
    )


def _notes(scores: Sequence[Row]) -> list[str]:
    found = (few_samples_note(row["metric"], row["num_vectors"], row["backend"]) for row in scores)
    return list(dict.fromkeys(note for note in found if note))


def _column_order(column: MetricColumn) -> tuple[int, str, str]:
    """As in the table of measures; a metric that only an earlier version knew comes last."""
    names = MEASURES.names
    place = names.index(column.metric) if column.metric in names else len(names)
    return place, column.label, column.backend


def _published(rows: Sequence[Row], metrics: set[str]) -> list[Row]:
    methods: dict[tuple, Row] = {}
    for row in rows:
        key = (row["method"], row["variant"], row["num_steps"])
        entry = methods.setdefault(key, {"method": row["method"], "variant": row["variant"], "values": {}})
        if row["metric"] in metrics:
            entry["values"][row["metric"]] = row["value_printed"]
    return [entry for entry in methods.values() if entry["values"]]
