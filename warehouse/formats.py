"""How the rows of an answer can be written; apart from the writing, so that a help text imports no database."""

from __future__ import annotations

from enum import StrEnum


class OutputFormat(StrEnum):
    """How rows are printed."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    MARKDOWN = "markdown"
