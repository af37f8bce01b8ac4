"""Any folder of videos, with ``<video>.meta.json`` beside a video or one ``sources.csv``; the default."""

from __future__ import annotations

from pathlib import Path

from lipforcing_core.corpora.protocol import CorpusListing, CorpusSource, TestList
from lipforcing_core.curation.facts import read_facts, side_warnings
from lipforcing_core.curation.sources import find_sources


class Folder:
    """A folder that is searched, or one video; a row that cannot be read is refused before any work."""

    def read(self, given: Path, test: TestList | None) -> CorpusListing:
        """List the videos; ``lipforcing_core.curation.facts`` says where their facts come from."""
        found = find_sources(given)
        warnings = side_warnings(found)
        return CorpusListing(
            root=found.root,
            sources=tuple(
                CorpusSource(path=path, facts=read_facts(path, found.root)) for path in found.sources
            ),
            ignored=found.ignored,
            warnings=warnings,
        )
