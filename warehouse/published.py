"""The paper's printed numbers, shipped with the package and loaded into every warehouse."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pyarrow as pa

from lipforcing_core.metrics.measures.catalogue import MEASURES
from warehouse.schema import relations

PUBLISHED_CSV = Path(__file__).parent / "data" / "published_results.csv"

_MEASURED = {measure.published_name: measure.higher_is_better for measure in MEASURES}
_NO_DIRECTION = frozenset({"compute", "FVD difference"})
"""Printed quantities that are no measure of ours and have no better end.

Of the others that are no measure of ours (opinions, speed-ups) more is better.
"""


def published_rows() -> pa.Table:
    """Every row of the file, in its order, with blank cells as nulls and the direction of each metric."""
    with open(PUBLISHED_CSV, encoding="utf-8", newline="") as stream:
        records = [_row(number, record) for number, record in enumerate(csv.DictReader(stream), start=1)]
    return pa.Table.from_pylist(records, schema=relations()["published_results"].arrow_schema)


def _row(number: int, record: dict[str, str]) -> dict[str, Any]:
    metric = record["metric"]
    return {
        "row_number": number,
        "paper_table": record["table"],
        "dataset": record["dataset"] or None,
        "method": record["method"],
        "variant": record["variant"] or None,
        "num_steps": int(record["steps"]) if record["steps"] else None,
        "metric": metric,
        "value": float(record["value"]),
        "value_printed": record["value"],
        "unit_printed": record["unit_as_printed"] or None,
        "unit_corrected": record["unit_corrected"] or None,
        "higher_is_better": _MEASURED.get(metric, None if metric in _NO_DIRECTION else True),
        "source": record["source"],
    }
