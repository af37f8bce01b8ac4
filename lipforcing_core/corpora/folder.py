"""Any folder of videos, with ``<video>.meta.json`` beside a video or one ``sources.csv``; the default."""

from __future__ import annotations

from pathlib import Path

from lipforcing_core.corpora.protocol import CorpusListing, CorpusSource, TestList, counted, unusable
from lipforcing_core.corpora.rows import Problems, RowError
from lipforcing_core.curation.facts import FactError, read_facts, side_warnings, table_errors
from lipforcing_core.curation.sources import find_sources, relative_path

UNUSABLE = "videos whose side information cannot be used"


class Folder:
    """A folder that is searched, or one video."""

    def read(self, given: Path, test: TestList | None) -> CorpusListing:
        """List the videos; ``lipforcing_core.curation.facts`` says where their facts come from.

        A malformed row of the table, or sidecar, becomes a problem, and its video is left out: nobody knows its rights.
        """
        found = find_sources(given)
        warnings = side_warnings(found)
        errors = dict.fromkeys(table_errors(found.root))
        problems = Problems(found.root)
        sources, omitted = [], {}
        for path in found.sources:
            try:
                sources.append(CorpusSource(path=path, facts=read_facts(path, found.root)))
            except FactError as error:
                errors[error] = None
                omitted[path] = error
        told = {
            row: unusable(problems.add(row.file or found.root, row.line, RowError(row.field, row.problem)))
            for row in errors
        }
        return CorpusListing(
            root=found.root,
            sources=tuple(sources),
            ignored=found.ignored,
            problems=tuple(problems.found),
            left_out=counted(UNUSABLE, (relative_path(path, found.root) for path in omitted)),
            warnings=warnings,
            omitted={path: told[error] for path, error in omitted.items()},
        )
