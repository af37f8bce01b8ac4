"""Schema 4: which reference a clip yields, what a clip or a decision repeats, and where an identity comes from."""

from __future__ import annotations

from warehouse.migrations.steps import AddColumn, Migration

MIGRATION = Migration(
    version=4,
    summary="reference_81, duplicate_of and identity_from of clips; duplicate_of of decisions",
    steps=(
        AddColumn(table="clips", column="reference_81"),
        AddColumn(table="clips", column="duplicate_of"),
        AddColumn(table="clips", column="identity_from"),
        AddColumn(table="curation_decisions", column="duplicate_of"),
    ),
)
