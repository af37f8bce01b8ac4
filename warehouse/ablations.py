"""The rows of the paper's ablation tables and their variants, which the library names; loaded into every warehouse."""

from __future__ import annotations

import pyarrow as pa

from lipforcing_core.presets.ablations import ABLATIONS, VARIANTS
from warehouse.schema import relations


def ablation_rows() -> pa.Table:
    """Every row of every ablation, in the printed order."""
    rows = [
        {
            "ablation": ablation.name,
            "position": position,
            "variant": row.variant,
            "label": VARIANTS[row.variant].label,
            "paper_table": row.table,
            "method": row.method,
            "printed_variant": row.printed_variant,
            "num_steps": row.num_steps,
        }
        for ablation in ABLATIONS.values()
        for position, row in enumerate(ablation.rows, start=1)
    ]
    return pa.Table.from_pylist(rows, schema=relations()["ablation_rows"].arrow_schema)
