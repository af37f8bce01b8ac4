"""The identities of clustered faces in the outcomes of a corpus, and the splits that follow from them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from lipforcing_core.base.names import printable
from lipforcing_core.base.packed_rows import PackedRows, Parts
from lipforcing_core.base.products import StepStore
from lipforcing_core.curation.identities import Seen, look_alikes, settle
from lipforcing_core.curation.pieces import split_of
from lipforcing_core.curation.prints import stored_embedding
from lipforcing_core.curation.reasons import RejectReason
from lipforcing_core.curation.records import ClipRecord, Decision, SourceFacts, SourceOutcome, Status
from lipforcing_core.curation.settings import CurationSettings


def with_people(
    outcomes: Sequence[SourceOutcome],
    facts: Mapping[str, SourceFacts],
    settings: CurationSettings,
    store: StepStore,
) -> tuple[Sequence[SourceOutcome], tuple[str, ...]]:
    """Outcomes in which every clip with a known face has an identity, and what is to be said about look-alikes.

    An official identity and an official split stay as they are. Who belongs to somebody with an official split, and has
    none, is rejected as ``held_out_person`` where the two splits differ, since an official set is neither enlarged nor
    trained on. Without a face network nothing changes.
    """
    seen: dict[str, Seen] = {}
    backend = ""
    for clip in Parts(outcomes, lambda outcome: outcome.clips):
        found = stored_embedding(clip, store)
        if found is None or not np.any(vector_D := found.vector_D()):
            continue
        backend = found.backend
        record = clip.record
        official = record.identity if record.identity_from == "official" else None
        seen[record.clip_id] = Seen(clip_id=record.clip_id, vector_D=vector_D, identity=official)
    if not seen:
        return outcomes, ()
    given = settle(list(seen.values()), store, backend, cosine=settings.same_person_cosine)
    records = Parts(outcomes, lambda outcome: [clip.record for clip in outcome.clips])
    official_splits = _official_splits(records, given, facts)
    known: dict[str, dict[str, str]] = {}
    held_out: dict[str, tuple[str, str]] = {}
    for record in records:
        identity = given.get(record.clip_id)
        if identity is None:
            continue
        own = facts.get(record.source, SourceFacts()).split
        split = split_of(identity, record.source_id, settings.val_fraction, own)
        officially = official_splits.get(identity, set())
        if own is None and officially == {"train"}:
            split = "train"
        elif own is None and officially - {split}:
            held_out[record.clip_id] = (identity, min(officially))
        known[record.clip_id] = {"identity": identity, "identity_from": "cluster", "split": split}
    changed = PackedRows(_with_people(outcome, known, held_out) for outcome in outcomes)
    kept = [
        (c.record.clip_id, c.record.identity or "", c.record.split)
        for o in changed
        for c in o.clips
        if c.record.clip_id in seen
    ]
    lines = look_alikes(
        np.stack([seen[clip_id].vector_D for clip_id, _, _ in kept]) if kept else np.zeros((0, 1)),
        [identity for _, identity, _ in kept],
        [split for _, _, split in kept],
        cosine=settings.same_person_cosine,
    )
    return changed, tuple(map(printable, lines))


def _official_splits(
    records: Iterable[ClipRecord], given: Mapping[str, str], facts: Mapping[str, SourceFacts]
) -> dict[str, set[str]]:
    """The official splits of the clips of every identity."""
    found: dict[str, set[str]] = defaultdict(set)
    for record in records:
        identity = given.get(record.clip_id, record.identity)
        official = facts.get(record.source, SourceFacts()).split
        if identity is not None and official is not None:
            found[identity].add(official)
    return found


def _with_people(
    outcome: SourceOutcome,
    known: Mapping[str, Mapping[str, str]],
    held_out: Mapping[str, tuple[str, str]],
) -> SourceOutcome:
    clips = tuple(
        clip.model_copy(update={"record": clip.record.model_copy(update=known.get(clip.record.clip_id, {}))})
        for clip in outcome.clips
        if clip.record.clip_id not in held_out
    )
    decisions = tuple(
        _decision(decision, *found) if (found := held_out.get(decision.clip_id or "")) else decision
        for decision in outcome.decisions
    )
    return outcome.model_copy(update={"clips": clips, "decisions": decisions}).check_balance()


def _decision(decision: Decision, identity: str, split: str) -> Decision:
    return decision.model_copy(
        update={
            "status": Status.REJECTED,
            "reason": RejectReason.HELD_OUT_PERSON,
            "message": printable(f"looks like {identity}, who is officially in the split {split}"),
            "clip_id": None,
        }
    )
