"""Schema 3: every score of every piece, which clip a decision made, and what the corpus and curation say of a clip."""

from __future__ import annotations

from warehouse.migrations.steps import AddColumn, AddTable, Migration

MIGRATION = Migration(
    version=3,
    summary="curation_scores; clip_id of decisions; language, corpus and face of clips",
    steps=(
        AddTable(table="curation_scores"),
        AddColumn(table="curation_decisions", column="clip_id"),
        AddColumn(table="clips", column="language"),
        AddColumn(table="clips", column="corpus"),
        AddColumn(table="clips", column="face_track"),
        AddColumn(table="clips", column="face_box"),
    ),
)
