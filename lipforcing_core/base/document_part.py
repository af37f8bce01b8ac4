"""Parts of documents that the code writes: what stands between two marks is replaced by the text of today."""

from __future__ import annotations


def replaced_part(document: str, begin: str, end: str, text: str) -> str:
    """A document with what stands between ``begin`` and ``end`` replaced; ``ValueError`` where it lacks these."""
    before, found, rest = document.partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise ValueError(f"the document has no {begin} ... {end}")
    return f"{before}{begin}\n{text}{end}{after}"
