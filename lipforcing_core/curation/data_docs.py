"""The data docs: one self-contained HTML page about a curation run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lipforcing_core.base.products import atomic_path
from lipforcing_core.curation.contract import ContractResult
from lipforcing_core.curation.funnel import Balance, FunnelRow, ReasonCount
from lipforcing_core.curation.records import ClipRecord, SourceOutcome

TEMPLATE = Path(__file__).with_name("data_docs.html")


def write_data_docs(
    path: Path | str,
    clips: Sequence[ClipRecord],
    outcomes: Sequence[SourceOutcome],
    counts: Balance,
    funnel: Sequence[FunnelRow],
    reasons: Sequence[ReasonCount],
    contract: ContractResult,
) -> None:
    """Write the page: no scripts, no outside files; equal input gives equal bytes."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    page = environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        clips=sorted(clips, key=lambda c: (c.source, c.start_frame)),
        outcomes=sorted(outcomes, key=lambda o: o.source),
        counts=counts,
        funnel=funnel,
        longest=max(max((row.seconds for row in funnel), default=0.0), 1e-9),
        reasons=reasons,
        contract=contract,
        backends=_backends(clips),
    )
    with atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _backends(clips: Sequence[ClipRecord]) -> list[tuple[str, list[str]]]:
    kinds = (
        ("Face detector", "detector_backend"),
        ("Sync expert", "sync_backend"),
        ("Picture quality", "quality_backend"),
    )
    return [(title, sorted({getattr(clip, name) for clip in clips})) for title, name in kinds]
