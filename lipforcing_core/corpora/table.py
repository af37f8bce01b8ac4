"""The table of corpora for documents, made of the catalogue.

``python -m lipforcing_core.corpora.table docs/data-teams.md`` writes the table of today into a document.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from lipforcing_core.base.document_part import replaced_part
from lipforcing_core.corpora.catalogue import CORPORA

BEGIN, END = "<!-- corpora: begin -->", "<!-- corpora: end -->"
"""The lines of a document between which ``corpus_table`` stands."""


def corpus_table() -> str:
    """Every corpus as a row of a Markdown table: what must be on disk, where its split comes from, its licence."""
    return "\n".join(_lines()) + "\n"


def with_corpus_table(document: str) -> str:
    """A Markdown document with what stands between ``BEGIN`` and ``END`` replaced by the table of today."""
    return replaced_part(document, BEGIN, END, corpus_table())


def _lines() -> Iterator[str]:
    yield "| corpus | what must be on disk | split | licence |"
    yield "| --- | --- | --- | --- |"
    for entry in CORPORA:
        licence = entry.licence or "as the side information says"
        yield f"| `{entry.name}` | {entry.on_disk} | {entry.split} | {licence} |"


if __name__ == "__main__":
    for document in map(Path, sys.argv[1:]):
        document.write_text(with_corpus_table(document.read_text(encoding="utf-8")), encoding="utf-8")
