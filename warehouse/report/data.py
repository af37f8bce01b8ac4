"""Rows for the report, read from the views of the warehouse in one pass."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lipforcing_core.base.errors import WarehouseError
from warehouse.connection import open_snapshot, rows_of

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Series:
    """One training curve: raw and smoothed values over steps."""

    stage: str
    name: str
    steps: Sequence[int]
    values: Sequence[float]
    smoothed: Sequence[float]


@dataclass(frozen=True, kw_only=True)
class ReportData:
    """What the warehouse knows about one run, and the published rows beside it. Rows are plain mappings."""

    run: Row
    funnel: list[Row]
    losses: list[Row]
    decisions: list[Row]
    curves: list[Series]
    scores: list[Row]
    effects: list[Row]
    published: list[Row]
    pareto: list[Row]
    timings: list[Row]
    metrics: list[Row]
    protocols: list[Row]
    gaps: list[Row]


def read_report_data(warehouse_path: Path | str, run_id: str) -> ReportData:
    """Everything the report shows about ``run_id``.

    Raises WarehouseError when the run is not in the warehouse; where that cannot be opened, as ``open_snapshot`` does.
    """
    with open_snapshot(warehouse_path) as connection:

        def rows(sql: str) -> list[Row]:
            return rows_of(connection, sql, {"run": run_id})

        runs = rows("select * from runs where run_id = $run")
        if not runs:
            raise WarehouseError(
                f"{warehouse_path}: no run {run_id!r} in the warehouse; load its inbox first"
            )
        return ReportData(
            run=runs[0],
            funnel=rows("from curation_funnel where run_id = $run order by dataset_id, position"),
            losses=rows(
                "from reject_reasons where run_id = $run order by dataset_id, num_segments desc, reason"
            ),
            decisions=rows(
                "select dataset_id, decision, count(*) as num, sum(seconds) as seconds from curation_decisions "
                "where run_id = $run group by all order by all"
            ),
            curves=_series(rows("from training_curves where run_id = $run order by stage, name, step")),
            scores=rows(
                "from set_scores where run_id = $run order by dataset_id, protocol_id, metric, backend"
            ),
            effects=rows("from stage_effects where run_id = $run"),
            published=rows(
                "from published_results where paper_table = 'main_hdtf' and $run is not null order by row_number"
            ),
            pareto=rows("from pareto where run_id = $run or (origin = 'published' and $run is not null)"),
            timings=rows(
                "from stage_timings where run_id = $run order by position nulls last, started_at, stage, item"
            ),
            metrics=rows(
                "from metrics where metric in (select metric from metric_values where run_id = $run) order by metric"
            ),
            protocols=rows(
                "from protocols where protocol_id in "
                "(select protocol_id from metric_values where run_id = $run) order by protocol_id"
            ),
            gaps=rows(
                "select system, coalesce(label, metric) as metric_label, because, count(*) as num "
                "from unavailable_values left join metrics using (metric) where run_id = $run "
                "group by all order by all"
            ),
        )


def same_ground(a: Row, b: Row) -> bool:
    """Whether two scores or differences may be compared: same data set, protocol, metric and backend."""
    return all(a[name] == b[name] for name in ("dataset_id", "protocol_id", "metric", "backend"))


def _series(rows: list[Row]) -> list[Series]:
    grouped: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        if not row["name"].endswith("_s"):
            grouped[row["stage"], row["name"]].append(row)
    return [
        Series(
            stage=stage,
            name=name,
            steps=[row["step"] for row in group],
            values=[row["value"] for row in group],
            smoothed=[row["smoothed"] for row in group],
        )
        for (stage, name), group in grouped.items()
    ]
