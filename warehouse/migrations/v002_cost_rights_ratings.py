"""Schema 2: what a run cost, rights that follow from the licence, and ratings by people."""

from __future__ import annotations

from lipforcing_core.base.licences import commercial_ok
from warehouse.migrations.steps import AddColumn, AddTable, Derive, Migration

MIGRATION = Migration(
    version=2,
    summary="cost of runs and stages, commercial_ok that follows the licence, table ratings",
    steps=(
        AddColumn(table="runs", column="device"),
        AddColumn(table="runs", column="device_count"),
        AddColumn(table="runs", column="cpu_seconds"),
        AddColumn(table="runs", column="gpu_seconds"),
        AddColumn(table="runs", column="python_version"),
        AddColumn(table="runs", column="cpu_model"),
        AddColumn(table="runs", column="cpu_count"),
        AddColumn(table="runs", column="memory_bytes"),
        AddColumn(table="stage_timings", column="cpu_seconds"),
        Derive(
            table="datasets", column="commercial_ok", inputs=("licence", "commercial_ok"), rule=commercial_ok
        ),
        Derive(
            table="clips", column="commercial_ok", inputs=("licence", "commercial_ok"), rule=commercial_ok
        ),
        AddTable(table="ratings"),
    ),
)
