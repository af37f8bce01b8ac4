"""Clips that repeat each other stand in one split, where no split is declared.

Sources that a user or a corpus gave no split are divided by person, or by file where nobody knows the person. Two files
with the same footage would often fall on two sides, and a clip that repeats one of another split is rejected. So the
people and files that share a near-duplicate, or a clip with the same bytes, are kept together, directly or through
others. They stand in the split of the source among them with the shortest name, as an original mostly has: copies that
are added later do not move it. Where one of them repeats a clip that is declared as ``train``, all are for training.

A declared split is never changed, and neither is the split of a person who has a source with a declared one. What
repeats a clip that is declared as ``val`` or ``test`` keeps its split: a declared set is not enlarged.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from lipforcing_core.base.packed_rows import PackedRows
from lipforcing_core.curation.records import ClipRecord, SourceFacts, SourceOutcome
from lipforcing_core.fingerprints.clips import Fingerprint, compare
from lipforcing_core.fingerprints.index import candidate_pairs


def with_repeats_together(
    outcomes: Sequence[SourceOutcome],
    facts: Mapping[str, SourceFacts],
    prints: Mapping[str, Fingerprint],
) -> Sequence[SourceOutcome]:
    """Outcomes in which all clips that repeat each other, and have no declared split, are in one.

    prints: the fingerprints by clip id; empty where nobody looks for near-duplicates, and then the bytes alone count.
    The result does not depend on the order of the outcomes.
    """
    records = sorted(_Clip.of(clip.record) for outcome in outcomes for clip in outcome.clips)
    units = [record.unit for record in records]
    declared = {
        unit
        for unit, record in zip(units, records, strict=True)
        if facts.get(record.source, SourceFacts()).split is not None
    }
    joined = _Joined()
    declared_beside: dict[str, set[str]] = defaultdict(set)

    def is_settled(first: int, second: int) -> bool:
        both = {units[first], units[second]}
        return both <= declared or len({joined.root(unit) for unit in both}) == 1

    for first, second in _repeats(records, prints, is_settled):
        free, fixed = (second, first) if units[first] in declared else (first, second)
        if is_settled(first, second):
            continue
        if units[fixed] in declared:
            declared_beside[units[free]].add(records[fixed].split)
        else:
            joined.join(units[free], units[fixed])
    first_of: dict[str, _Clip] = {}
    beside: dict[str, set[str]] = defaultdict(set)
    for unit, record in zip(units, records, strict=True):
        group = joined.root(unit)
        first_of.setdefault(group, record)
        beside[group] |= declared_beside[unit]
    moved: dict[str, str] = {}
    for unit, record in zip(units, records, strict=True):
        group = joined.root(unit)
        split = "train" if beside[group] == {"train"} else first_of[group].split
        if unit not in declared and split != record.split:
            moved[record.clip_id] = split
    return PackedRows(_with_splits(outcome, moved) for outcome in outcomes) if moved else outcomes


class _Clip(NamedTuple):
    """What is looked at of a clip, in the order that says which one of a group comes first.

    unit: what is in one split anyway, all clips of a person, or of a source where nobody knows the person.
    """

    name_length: int
    source: str
    start_frame: int
    clip_id: str
    unit: str
    split: str
    clip_sha256: str

    @classmethod
    def of(cls, record: ClipRecord) -> _Clip:
        return cls(
            name_length=len(record.source),
            source=record.source,
            start_frame=record.start_frame,
            clip_id=record.clip_id,
            unit=f"identity:{record.identity}" if record.identity else f"source:{record.source_id}",
            split=record.split,
            clip_sha256=record.clip_sha256,
        )


class _Joined:
    """Sets of units, each named by one of them."""

    def __init__(self) -> None:
        self._above: dict[str, str] = {}

    def root(self, unit: str) -> str:
        while (above := self._above.get(unit, unit)) != unit:
            self._above[unit] = unit = self._above.get(above, above)
        return unit

    def join(self, one: str, other: str) -> None:
        first, second = sorted((self.root(one), self.root(other)))
        if first != second:
            self._above[second] = first


def _repeats(
    records: Sequence[_Clip],
    prints: Mapping[str, Fingerprint],
    is_settled: Callable[[int, int], bool],
) -> Iterator[tuple[int, int]]:
    """Pairs of clips, by number, that have the same bytes or are near-duplicates; those that are settled by the time
    when they would be compared are left out."""
    same: dict[str, int] = {}
    for number, record in enumerate(records):
        first = same.setdefault(record.clip_sha256, number)
        if first != number:
            yield first, number
    printed = [number for number, record in enumerate(records) if record.clip_id in prints]
    own = [prints[records[number].clip_id] for number in printed]
    for a, b in candidate_pairs(own).tolist():
        first, second = printed[a], printed[b]
        if not is_settled(first, second) and compare(own[a], own[b]).near_duplicates:
            yield first, second


def _with_splits(outcome: SourceOutcome, moved: Mapping[str, str]) -> SourceOutcome:
    if not any(clip.record.clip_id in moved for clip in outcome.clips):
        return outcome
    clips = []
    for clip in outcome.clips:
        split = moved.get(clip.record.clip_id, clip.record.split)
        clips.append(clip.model_copy(update={"record": clip.record.model_copy(update={"split": split})}))
    return outcome.model_copy(update={"clips": tuple(clips)})
