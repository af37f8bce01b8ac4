"""Put the outcomes of all sources together: manifest, clips, decisions, funnel, contract, data docs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from lipforcing_core.base.products import StepStore, link_or_copy, write_json
from lipforcing_core.curation.contract import ContractResult, check_contract
from lipforcing_core.curation.data_docs import write_data_docs
from lipforcing_core.curation.funnel import (
    Balance,
    FunnelRow,
    ReasonCount,
    balance,
    funnel_rows,
    reason_counts,
)
from lipforcing_core.curation.manifest import write_decisions, write_manifest
from lipforcing_core.curation.reasons import RejectReason
from lipforcing_core.curation.records import Decision, SourceOutcome, Status, StoredClip
from lipforcing_core.curation.settings import CurationSettings
from lipforcing_core.media.clock import seconds


@dataclass(frozen=True, kw_only=True)
class CurationReport:
    """Where the products of a curation run are, and its counts."""

    manifest: Path
    decisions: Path
    funnel_json: Path
    contract_json: Path
    data_docs: Path
    balance: Balance
    funnel: tuple[FunnelRow, ...]
    reasons: tuple[ReasonCount, ...]
    contract: ContractResult


def assemble_manifest(
    outcomes: Iterable[SourceOutcome],
    out_dir: Path | str,
    settings: CurationSettings,
    *,
    store: StepStore,
) -> CurationReport:
    """Write the data set into ``out_dir``, complete in itself.

    ``manifest.parquet`` and ``clips/`` (linked from the store, or copied where linking is impossible),
    ``decisions.parquet`` (one row for each piece of each source), ``funnel.json``, ``contract.json`` and
    ``data_docs.html``. Clips of an earlier run that are no longer accepted are removed. Sources with the same
    bytes count once: the first by name stays. The result does not depend on the order of the outcomes.
    """
    out_dir = Path(out_dir)
    unique = mark_duplicates(outcomes)
    stored = [clip for outcome in unique for clip in outcome.clips]
    _place_clips(stored, out_dir, store)
    clips = [clip.record for clip in stored]
    decisions = [decision for outcome in unique for decision in outcome.decisions]
    write_manifest(out_dir / "manifest.parquet", clips)
    write_decisions(out_dir / "decisions.parquet", decisions)

    counts, rows, reasons = balance(unique), funnel_rows(unique), reason_counts(unique)
    funnel = {
        "balance": asdict(counts),
        "stages": [asdict(row) for row in rows],
        "reasons": [asdict(row) for row in reasons],
        "settings": settings.model_dump(mode="json"),
    }
    write_json(out_dir / "funnel.json", funnel)
    contract = check_contract(clips, decisions, counts, settings)
    write_json(out_dir / "contract.json", asdict(contract))
    write_data_docs(out_dir / "data_docs.html", clips, unique, counts, rows, reasons, contract)
    return CurationReport(
        manifest=out_dir / "manifest.parquet",
        decisions=out_dir / "decisions.parquet",
        funnel_json=out_dir / "funnel.json",
        contract_json=out_dir / "contract.json",
        data_docs=out_dir / "data_docs.html",
        balance=counts,
        funnel=tuple(rows),
        reasons=tuple(reasons),
        contract=contract,
    )


def mark_duplicates(outcomes: Iterable[SourceOutcome]) -> list[SourceOutcome]:
    """Outcomes sorted by source name, with every repeat of the same bytes turned into a ``duplicate`` rejection."""
    first: dict[str, SourceOutcome] = {}
    marked = []
    for outcome in sorted(outcomes, key=lambda o: o.source):
        original = first.setdefault(outcome.sha256, outcome)
        marked.append(outcome if original is outcome else _duplicate(outcome, original.source))
    return marked


def _duplicate(outcome: SourceOutcome, original: str) -> SourceOutcome:
    decision = Decision(
        source=outcome.source,
        source_id=outcome.source_id,
        level="source",
        start_frame=0,
        stop_frame=outcome.frames_in,
        seconds=float(seconds(outcome.frames_in)),
        status=Status.REJECTED,
        reason=RejectReason.DUPLICATE,
        message=f"same bytes as {original}",
    )
    return outcome.model_copy(update={"clips": (), "decisions": (decision,)})


def _place_clips(stored: Sequence[StoredClip], out_dir: Path, store: StepStore) -> None:
    folder = out_dir / "clips"
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {}
    for clip in stored:
        wanted[out_dir / clip.record.clip_path] = store.root / clip.clip
        wanted[out_dir / clip.record.audio_path] = store.root / clip.audio
        wanted[out_dir / clip.record.alignment_path] = store.root / clip.alignment
    for path in folder.iterdir():
        if path not in wanted and path.suffix in (".mp4", ".wav", ".npz"):
            path.unlink()
    for path, origin in wanted.items():
        if not (path.is_file() and path.stat().st_size == origin.stat().st_size):
            link_or_copy(origin, path)
