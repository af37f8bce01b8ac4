"""Every migration, oldest first. Version 1 is the schema before the first of them."""

from __future__ import annotations

from warehouse.migrations import v002_cost_rights_ratings, v003_pieces, v004_references_and_copies
from warehouse.migrations.steps import Migration

MIGRATIONS: tuple[Migration, ...] = (
    v002_cost_rights_ratings.MIGRATION,
    v003_pieces.MIGRATION,
    v004_references_and_copies.MIGRATION,
)

CURRENT_VERSION = MIGRATIONS[-1].version
