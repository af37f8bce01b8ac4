"""The two tiers: what of every seam works at once, and what wants a downloaded file, derived from the catalogues.

``python -m lipforcing_core.seams.tiers README.md`` writes the table of today into a document.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lipforcing_core.base.catalogue import Entry
from lipforcing_core.base.document_part import replaced_part
from lipforcing_core.seams.catalogues import all_seams

BEGIN, END = "<!-- tiers: begin -->", "<!-- tiers: end -->"
"""The lines of a document between which ``tier_table`` stands."""


@dataclass(frozen=True, kw_only=True)
class TierRow:
    """The choices of one seam: those of the embedded tier, and those of the full tier with their weights."""

    seam: str
    embedded: tuple[Entry, ...]
    full: tuple[Entry, ...]

    @property
    def embedded_words(self) -> str:
        """The embedded choices in words, for people."""
        return _words(self.embedded)

    @property
    def full_words(self) -> str:
        """The choices of the full tier in words, for people."""
        return _words(self.full)


def tier_rows() -> list[TierRow]:
    """A row for every seam that has tiers."""
    return [
        TierRow(
            seam=seam.name,
            embedded=tuple(entry for entry in seam.catalogue if entry.is_embedded),
            full=tuple(entry for entry in seam.catalogue if not entry.is_embedded),
        )
        for seam in all_seams()
        if seam.has_tiers
    ]


def tier_table() -> str:
    """The rows as a Markdown table: names, and behind those of the full tier the weights to fetch."""
    return "\n".join(_table()) + "\n"


def with_tier_table(document: str) -> str:
    """A Markdown document with what stands between ``BEGIN`` and ``END`` replaced by the table of today."""
    return replaced_part(document, BEGIN, END, tier_table())


def _table() -> Iterator[str]:
    yield "| | embedded tier (nothing to download) | full tier (weights to fetch) |"
    yield "| --- | --- | --- |"
    for row in tier_rows():
        embedded = ", ".join(f"`{entry.name}`" for entry in row.embedded)
        full = ", ".join(f"`{entry.name}` ({', '.join(entry.weights)})" for entry in row.full)
        yield f"| {row.seam} | {embedded or 'none'} | {full or 'none'} |"


def _words(entries: tuple[Entry, ...]) -> str:
    return "; ".join(f"{entry.name}: {entry.summary.rstrip('.')}" for entry in entries) or "none"


if __name__ == "__main__":
    for document in map(Path, sys.argv[1:]):
        document.write_text(with_tier_table(document.read_text(encoding="utf-8")), encoding="utf-8")
