"""Put the outcomes of all sources together: manifest, clips, decisions, funnel, contract, data docs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from lipforcing_core.base.products import StepStore, link_or_copy, write_json
from lipforcing_core.curation.contract import ContractResult, check_contract
from lipforcing_core.curation.data_docs import DataDocs, write_data_docs
from lipforcing_core.curation.drift import EarlierRun, measure_drift
from lipforcing_core.curation.duplicates import find_twins, with_twins
from lipforcing_core.curation.funnel import (
    Balance,
    FunnelRow,
    ReasonCount,
    balance,
    funnel_rows,
    reason_counts,
)
from lipforcing_core.curation.manifest import write_decisions, write_manifest
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
from lipforcing_core.curation.source_rows import SOURCES, source_rows, write_source_rows
from lipforcing_core.curation.sources import IgnoredFiles
from lipforcing_core.curation.stored_clips import StoredClips
from lipforcing_core.curation.together import with_repeats_together
from lipforcing_core.fingerprints.clips import ClipFingerprint
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
    unique = mark_duplicates(outcomes, facts)
    if facts is not None:
        unique = [
            _with_facts(outcome, facts.get(outcome.source, SourceFacts()), settings) for outcome in unique
        ]
    unique, look_alikes = with_people(unique, facts or {}, settings, store)
    warnings = (*warnings, *look_alikes)
    prints = _fingerprints(unique, store)
    if facts is not None:
        compared = prints if settings.near_duplicates != "off" else {}
        unique = with_repeats_together(unique, facts, compared)
    if settings.near_duplicates != "off":
        own = [
            PrintedClip(
                clip_id=clip.record.clip_id,
                source=clip.record.source,
                start_frame=clip.record.start_frame,
                split=clip.record.split,
                fingerprint=prints[clip.record.clip_id],
            )
            for outcome in unique
            for clip in outcome.clips
            if clip.record.clip_id in prints
        ]
        twins = find_twins([*own, *others], reject=settings.near_duplicates == "reject")
        unique = with_twins(unique, twins)
    stored = [clip for outcome in unique for clip in outcome.clips]
    _place_clips(stored, out_dir, store)
    clips = [clip.record for clip in stored]
    clips = [clip.model_copy(update={"reference_81": reference_kind(clip.num_frames)}) for clip in clips]
    write_fingerprints(out_dir / FINGERPRINTS, clips, prints)
    decisions = [decision for outcome in unique for decision in outcome.decisions]
    write_manifest(out_dir / "manifest.parquet", clips)
    write_decisions(out_dir / "decisions.parquet", decisions)
    known = source_rows(unique, settings, store=store, facts=facts, folders=folders)
    write_source_rows(out_dir / SOURCES, known)

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


def _fingerprints(outcomes: Iterable[SourceOutcome], store: StepStore) -> dict[str, ClipFingerprint]:
    found = ((clip.record.clip_id, stored_fingerprint(clip, store)) for o in outcomes for clip in o.clips)
    return {clip_id: print_ for clip_id, print_ in found if print_ is not None}


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
) -> list[SourceOutcome]:
    """Outcomes sorted by source name, with every repeat of the same bytes turned into a ``duplicate`` rejection.

    The copy whose ``facts`` name the official split test, else val, else train is kept; then the one with the shortest
    name, as that of the original mostly is (``a.mp4`` before ``backup/copy of a.mp4``). One on which the machine failed
    gives way to its twin. A copy to whose use a person does not agree is before all others, so that none of them stays.
    """

    def rank(outcome: SourceOutcome) -> tuple[bool, bool, int, int]:
        known = (facts or {}).get(outcome.source, SourceFacts())
        place = len(SPLITS) if known.split is None else len(SPLITS) - 1 - SPLITS.index(known.split)
        return not known.consent_denied, outcome.failed_this_time, place, len(outcome.source)

    by_name = sorted(outcomes, key=lambda o: o.source)
    kept: dict[str, SourceOutcome] = {}
    for outcome in sorted(by_name, key=rank):
        kept.setdefault(outcome.sha256, outcome)
    return [o if kept[o.sha256] is o else _duplicate(o, kept[o.sha256].source) for o in by_name]


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
