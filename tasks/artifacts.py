"""What a recorded flow run shows on its page in Prefect: tables and links; nothing where no server records it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect.artifacts import create_link_artifact, create_table_artifact

from tasks.recording import recorded

if TYPE_CHECKING:
    from lipforcing_core.curation.assemble import CurationReport
    from lipforcing_core.metrics.suite import Evaluation
    from tasks.ablation_tables import AblationTables


def publish_curation(report: CurationReport) -> None:
    """The funnel, the reasons, and a link to the data docs."""
    _table("curation-funnel", "What is left after each stage", [asdict(row) for row in report.funnel])
    reasons = [asdict(row) | {"reason": row.reason.value} for row in report.reasons]
    _table("reject-reasons", "Why footage was turned away", reasons)
    _link("data-docs", report.data_docs)


def publish_scores(evaluation: Evaluation) -> None:
    """Set-level scores, one row a system and metric."""
    from lipforcing_core.metrics.measures.catalogue import MEASURES

    rows = [
        {
            "system": value.system,
            "metric": MEASURES[value.metric].label,
            "value": value.value,
            "low": value.ci_low,
            "high": value.ci_high,
            "n": value.n,
            "backend": value.backend,
        }
        for value in evaluation.values
        if value.clip_id is None
    ]
    _table("scores", "Scores over the whole set", rows)


def publish_ablation(tables: AblationTables) -> None:
    """The rows of the ablation tables, printed and own numbers in columns of their own."""
    from tasks.ablation_tables import METRICS, own_words, published_words

    rows = [
        {"table": row.ablation, "variant": row.label}
        | {
            f"{metric} {whose}": words(row.score(metric))
            for metric in METRICS
            for whose, words in (("printed", published_words), ("own", own_words))
        }
        for row in tables.rows
    ]
    _table("ablations", "The paper's numbers and those of this grid", rows)


def publish_report(report: Path) -> None:
    """A link to the HTML report."""
    _link("report", report)


def _table(key: str, description: str, rows: Sequence[Mapping[str, Any]]) -> None:
    if not recorded():
        return
    create_table_artifact(key=key, table=[dict(row) for row in rows], description=description)


def _link(key: str, path: Path) -> None:
    if not recorded():
        return
    create_link_artifact(key=key, link=path.resolve().as_uri(), link_text=path.name)
