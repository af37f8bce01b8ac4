"""Put the outcomes of all sources together: manifest, clips, decisions, funnel, contract, data docs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from lipforcing_core.base.packed_rows import PackedRows, Parts
from lipforcing_core.base.products import StepStore, link_or_copy, write_json
from lipforcing_core.curation.contract import ContractResult, check_contract
from lipforcing_core.curation.data_docs import DataDocs, write_data_docs
from lipforcing_core.curation.drift import EarlierRun, measure_drift
from lipforcing_core.curation.duplicates import Twin, find_twins, with_twins
from lipforcing_core.curation.funnel import (
    Balance,
    FunnelRow,
    ReasonCount,
    balance,
    funnel_rows,
    reason_counts,
)
from lipforcing_core.curation.manifest import write_in_order
from lipforcing_core.curation.people import with_people
from lipforcing_core.curation.pieces import split_of
from lipforcing_core.curation.prints import (
    FINGERPRINTS,
    PrintedClip,
    read_printed,
    stored_fingerprint,
    write_fingerprints,
)
from lipforcing_core.curation.reasons import RejectReason
from lipforcing_core.curation.records import (
    CLIP_FACTS,
    SPLITS,
    ClipRecord,
    Decision,
    SourceFacts,
    SourceOutcome,
    Status,
    StoredClip,
)
from lipforcing_core.curation.settings import CurationSettings
from lipforcing_core.curation.source_rows import SOURCES, source_rows, write_source_rows_in_order
from lipforcing_core.curation.sources import IgnoredFiles
from lipforcing_core.curation.stored_clips import StoredClips
from lipforcing_core.curation.together import with_repeats_together
from lipforcing_core.fingerprints.print_file import FiledFingerprint, PrintFile
from lipforcing_core.media.clock import seconds
from lipforcing_core.media.window_plan import reference_kind


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
    failed: tuple[str, ...] = ()
    """Names of sources on which the machine failed; running again tries them again."""
    ignored: tuple[IgnoredFiles, ...] = ()
    warnings: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    """Rows of annotations that could not be used, one line each: file, line, field and what is wrong."""
    name: str = ""
    """Of the data set; empty where it has none."""


def assemble_manifest(
    outcomes: Iterable[SourceOutcome],
    out_dir: Path | str,
    settings: CurationSettings,
    *,
    store: StepStore,
    ignored: tuple[IgnoredFiles, ...] = (),
    warnings: tuple[str, ...] = (),
    problems: tuple[str, ...] = (),
    facts: Mapping[str, SourceFacts] | None = None,
    folders: Mapping[str, Path] | None = None,
    against: Sequence[Path | str] = (),
    name: str | None = None,
    earlier: EarlierRun | None = None,
) -> CurationReport:
    """Write the data set into ``out_dir``, complete in itself.

    ``manifest.parquet`` and ``clips/`` (linked from the store, or copied where linking is impossible),
    ``decisions.parquet`` (one row for each piece of each source), ``sources.parquet`` (one row for each source),
    ``fingerprints.parquet``, ``funnel.json``, ``contract.json`` and ``data_docs.html``. Clips of an earlier run that
    are no longer accepted are removed.

    Sources with the same bytes count once (``mark_duplicates``). Clips that repeat each other get one split where none
    is declared, as ``together`` says; near-duplicates are marked or rejected as
    ``duplicates`` says, also those of clips of other data sets: ``against`` are their manifests. The result does not
    depend on the order of the outcomes.

    ``ignored`` files of the folder, ``warnings`` about its side information and ``problems`` of annotation rows are
    told in the report and the page. ``facts`` are those of each source by its name; identity, rights and split of the
    clips follow them, whatever a worker knew. None leaves the clips as the workers made them. Clips whose faces were
    embedded get identities as ``people`` says. ``folders`` are those that the names of the sources are relative to.
    Raises ``BadInputError`` where ``against`` cannot be read.

    ``name`` is that of the data set; the contract of a named one is told how far it is from the run before it,
    ``earlier`` (None: there is none).
    """
    out_dir = Path(out_dir)
    others = read_printed(against)
    unique: Sequence[SourceOutcome] = mark_duplicates(outcomes, facts)
    if facts is not None:
        unique = PackedRows(
            _with_facts(outcome, facts.get(outcome.source, SourceFacts()), settings) for outcome in unique
        )
    unique, look_alikes = with_people(unique, facts or {}, settings, store)
    warnings = (*warnings, *look_alikes)
    out_dir.mkdir(parents=True, exist_ok=True)
    prints = _fingerprints(unique, store, out_dir)
    if facts is not None:
        compared = prints if settings.near_duplicates != "off" else {}
        unique = with_repeats_together(unique, facts, compared)
    if settings.near_duplicates != "off":
        twins = _twins(unique, prints, others, reject=settings.near_duplicates == "reject")
        unique = with_twins(unique, twins) if twins else unique
    _place_clips(Parts(unique, lambda outcome: outcome.clips), out_dir, store)
    clips, decisions = Parts(unique, _records), Parts(unique, _decisions)
    write_fingerprints(out_dir / FINGERPRINTS, clips, prints)
    write_in_order(out_dir / "manifest.parquet", ClipRecord, clips)
    write_in_order(out_dir / "decisions.parquet", Decision, decisions)
    known = PackedRows(source_rows(unique, settings, store=store, facts=facts, folders=folders))
    write_source_rows_in_order(out_dir / SOURCES, known)

    counts = balance(unique, num_ignored=sum(entry.num_files for entry in ignored))
    rows, reasons = funnel_rows(unique), reason_counts(unique)
    funnel = {
        "name": name,
        "balance": asdict(counts),
        "stages": [asdict(row) for row in rows],
        "reasons": [asdict(row) for row in reasons],
        "settings": settings.model_dump(mode="json"),
        "ignored": [asdict(entry) for entry in ignored],
        "warnings": list(warnings),
        "problems": list(problems),
    }
    write_json(out_dir / "funnel.json", funnel)
    against_earlier = name is not None and settings.drift != "off"
    contract = check_contract(
        clips,
        decisions,
        counts,
        settings,
        facts or {},
        {clip.clip_id: clip.split for clip in others},
        measure_drift(earlier, clips, decisions, settings) if against_earlier else None,
    )
    write_json(out_dir / "contract.json", asdict(contract))
    page = DataDocs(
        clips=clips,
        name=name or "",
        origins={source: told.dataset for source, told in (facts or {}).items() if told.dataset},
        outcomes=unique,
        counts=counts,
        funnel=rows,
        reasons=reasons,
        contract=contract,
        ignored=ignored,
        warnings=warnings,
        problems=problems,
        settings=settings.model_dump(mode="json"),
        clip_of=StoredClips(out_dir, store, known),
    )
    write_data_docs(out_dir / "data_docs.html", page)
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
        failed=tuple(outcome.source for outcome in unique if outcome.failed_this_time),
        ignored=ignored,
        warnings=warnings,
        problems=problems,
        name=name or "",
    )


def _records(outcome: SourceOutcome) -> list[ClipRecord]:
    """The rows of the manifest for one source, in their order."""
    clips = (clip.record for clip in outcome.clips)
    known = [clip.model_copy(update={"reference_81": reference_kind(clip.num_frames)}) for clip in clips]
    return sorted(known, key=lambda clip: (clip.start_frame, clip.clip_id))


def _decisions(outcome: SourceOutcome) -> list[Decision]:
    return sorted(outcome.decisions, key=lambda decision: (decision.start_frame, decision.stop_frame))


def _fingerprints(
    outcomes: Iterable[SourceOutcome], store: StepStore, folder: Path
) -> dict[str, FiledFingerprint]:
    filed = PrintFile(folder)
    found = ((clip.record.clip_id, stored_fingerprint(clip, store)) for o in outcomes for clip in o.clips)
    return {clip_id: filed.add(print_) for clip_id, print_ in found if print_ is not None}


def _twins(
    outcomes: Iterable[SourceOutcome],
    prints: Mapping[str, FiledFingerprint],
    others: Sequence[PrintedClip],
    *,
    reject: bool,
) -> dict[str, Twin]:
    """The near-duplicates among the clips of these outcomes and those of other data sets."""
    own = [
        PrintedClip(
            clip_id=clip.record.clip_id,
            source=clip.record.source,
            start_frame=clip.record.start_frame,
            split=clip.record.split,
            fingerprint=prints[clip.record.clip_id],
        )
        for outcome in outcomes
        for clip in outcome.clips
        if clip.record.clip_id in prints
    ]
    return find_twins([*own, *others], reject=reject)


def _with_facts(outcome: SourceOutcome, facts: SourceFacts, settings: CurationSettings) -> SourceOutcome:
    """An outcome whose clips have the identity, the rights and the split that the facts of its source say."""
    clips = [
        clip.model_copy(update={"record": _clip_with_facts(clip.record, facts, settings)})
        for clip in outcome.clips
    ]
    return outcome.model_copy(update={"clips": tuple(clips)})


def _clip_with_facts(clip: ClipRecord, facts: SourceFacts, settings: CurationSettings) -> ClipRecord:
    split = split_of(facts.identity, clip.source_id, settings.val_fraction, facts.split)
    known = {name: getattr(facts, name) for name in CLIP_FACTS}
    known |= {"split": split, "identity_from": "official" if facts.identity else "source"}
    return ClipRecord.model_validate(clip.model_dump() | known)


def mark_duplicates(
    outcomes: Iterable[SourceOutcome], facts: Mapping[str, SourceFacts] | None = None
) -> PackedRows[SourceOutcome]:
    """Outcomes sorted by source name, with every repeat of the same bytes turned into a ``duplicate`` rejection.

    The copy whose ``facts`` name the official split test, else val, else train is kept; then the one with the shortest
    name, as that of the original mostly is (``a.mp4`` before ``backup/copy of a.mp4``). One on which the machine failed
    gives way to its twin. A copy to whose use a person does not agree is before all others, so that none of them stays.
    """

    def rank(outcome: SourceOutcome) -> tuple[bool, bool, int, int]:
        known = (facts or {}).get(outcome.source, SourceFacts())
        place = len(SPLITS) if known.split is None else len(SPLITS) - 1 - SPLITS.index(known.split)
        return not known.consent_denied, outcome.failed_this_time, place, len(outcome.source)

    rows: PackedRows[SourceOutcome] = PackedRows()
    names, hashes, ranks = [], [], []
    for outcome in outcomes:
        rows.append(outcome)
        names.append(outcome.source)
        hashes.append(outcome.sha256)
        ranks.append(rank(outcome))
    by_name = sorted(range(len(rows)), key=lambda number: names[number])
    kept: dict[str, int] = {}
    for number in sorted(by_name, key=lambda number: ranks[number]):
        kept.setdefault(hashes[number], number)
    for number, sha256 in enumerate(hashes):
        if kept[sha256] != number:
            rows.put(number, _duplicate(rows[number], names[kept[sha256]]))
    return rows.in_order(by_name)


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
        duplicate_of=original,
    )
    return outcome.model_copy(update={"clips": (), "decisions": (decision,), "frames_trimmed": 0})


def _place_clips(stored: Iterable[StoredClip], out_dir: Path, store: StepStore) -> None:
    folder = out_dir / "clips"
    folder.mkdir(parents=True, exist_ok=True)
    wanted: set[str] = set()
    for clip in stored:
        record = clip.record
        for name, origin in (
            (record.clip_path, clip.clip),
            (record.audio_path, clip.audio),
            (record.alignment_path, clip.alignment),
        ):
            path, made = out_dir / name, store.root / origin
            wanted.add(path.name)
            if not (path.is_file() and path.stat().st_size == made.stat().st_size):
                link_or_copy(made, path)
    for path in folder.iterdir():
        if path.name not in wanted and path.suffix in (".mp4", ".wav", ".npz"):
            path.unlink()
