"""The data docs: one self-contained HTML page about a curation run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lipforcing_core.base.products import atomic_path
from lipforcing_core.curation.contract import ContractResult
from lipforcing_core.curation.funnel import Balance, FunnelRow, ReasonCount
from lipforcing_core.curation.records import ClipRecord, SourceOutcome
from lipforcing_core.curation.sources import IgnoredFiles, ignored_line

TEMPLATE = Path(__file__).with_name("data_docs.html")


@dataclass(frozen=True, kw_only=True)
class DataDocs:
    """Everything that the page shows."""

    clips: Sequence[ClipRecord]
    outcomes: Sequence[SourceOutcome]
    counts: Balance
    funnel: Sequence[FunnelRow]
    reasons: Sequence[ReasonCount]
    contract: ContractResult
    ignored: tuple[IgnoredFiles, ...] = ()
    warnings: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


def write_data_docs(path: Path | str, docs: DataDocs) -> None:
    """Write the page: no scripts, no outside files; equal input gives equal bytes."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    page = environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        clips=sorted(docs.clips, key=lambda c: (c.source, c.start_frame)),
        outcomes=sorted(docs.outcomes, key=lambda o: o.source),
        counts=docs.counts,
        funnel=docs.funnel,
        longest=max(max((row.seconds for row in docs.funnel), default=0.0), 1e-9),
        reasons=docs.reasons,
        contract=docs.contract,
        ignored=docs.ignored,
        ignored_line=ignored_line(docs.ignored),
        warnings=docs.warnings,
        problems=docs.problems,
        backends=_backends(docs.clips),
    )
    with atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _backends(clips: Sequence[ClipRecord]) -> list[tuple[str, list[str]]]:
    ids = {
        "Face detector": {clip.scores.detector_backend for clip in clips},
        "Sync expert": {clip.scores.sync_backend for clip in clips},
        "Picture quality": {clip.scores.quality_backend for clip in clips},
    }
    return [(title, sorted(filter(None, found))) for title, found in ids.items()]
