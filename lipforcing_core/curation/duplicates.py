"""Near-duplicates: clips with the footage or the sound of another clip, whatever was done to the file.

Which of them stays: one of another data set, since that is published already; then that of the split test before val
before train; then that of the source with the shortest name, as an original mostly has; then the first in its source.
The result depends on the clips alone and not on the order in which they come.

A data team expects two things. Nothing that is trained on may stand in a test set, so a clip that repeats one of
another split is always rejected. Within a split a repeat costs little and may be wanted (two encodings of one talk), so
it is only marked unless the settings say ``reject``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from lipforcing_core.base.names import printable
from lipforcing_core.base.packed_rows import PackedRows
from lipforcing_core.curation.prints import PrintedClip
from lipforcing_core.curation.reasons import RejectReason
from lipforcing_core.curation.records import SPLITS, Decision, SourceOutcome, Status, StoredClip
from lipforcing_core.fingerprints.clips import MAX_SOUND_DISTANCE, Likeness, compare
from lipforcing_core.fingerprints.index import candidate_pairs


@dataclass(frozen=True, kw_only=True)
class Twin:
    """The clip that another one repeats. ``rejects``: whether the other one may not stay beside it."""

    of: PrintedClip
    likeness: Likeness
    rejects: bool

    @property
    def distance(self) -> float:
        """That of the pictures where these are the same, else that of the sounds."""
        found = self.likeness.picture_distance if self.likeness.same_picture else self.likeness.sound_distance
        assert found is not None, "twins have something in common"
        return found

    @property
    def threshold(self) -> float:
        return self.likeness.picture_limit if self.likeness.same_picture else MAX_SOUND_DISTANCE

    @property
    def words(self) -> str:
        """What the two have in common, and where the other one is."""
        parts = [
            name
            for name, same in (("picture", self.likeness.same_picture), ("sound", self.likeness.same_sound))
            if same
        ]
        where = f" of {self.of.origin}" if self.of.origin else ""
        return printable(
            f"same {' and '.join(parts)} as {self.of.source} from frame {self.of.start_frame} ({self.of.split}){where}"
        )


def find_twins(clips: Iterable[PrintedClip], *, reject: bool) -> dict[str, Twin]:
    """The near-duplicates among clips, by clip id, each with the clip that it repeats.

    A clip that may stay beside what it repeats is compared with others too. ``reject``: none may, whatever its split.
    """
    ordered = sorted(clips, key=_rank)
    earlier: dict[int, list[int]] = {}
    for first, second in candidate_pairs([clip.fingerprint for clip in ordered]).tolist():
        earlier.setdefault(second, []).append(first)
    twins: dict[str, Twin] = {}
    repeats: dict[int, int] = {}
    for number, clip in enumerate(ordered):
        if clip.origin:
            continue
        firsts = earlier.get(number, [])
        found = {*firsts, *(repeats[n] for n in firsts if n in repeats)}
        matches = []
        for other in sorted(found):
            twin = twins.get(ordered[other].clip_id) if not ordered[other].origin else None
            if twin is not None and twin.rejects:
                continue
            likeness = compare(ordered[other].fingerprint, clip.fingerprint)
            if likeness.near_duplicates:
                matches.append((other, likeness))
        if not matches:
            continue
        across = [match for match in matches if ordered[match[0]].split != clip.split]
        other, likeness = (across or matches)[0]
        twins[clip.clip_id] = Twin(of=ordered[other], likeness=likeness, rejects=reject or bool(across))
        repeats[number] = repeats.get(other, other)
    return twins


def _rank(clip: PrintedClip) -> tuple[bool, str, int, int, str, int, str]:
    split = -SPLITS.index(clip.split) if clip.split in SPLITS else 1
    name = clip.source
    return (not clip.origin, clip.origin, split, len(name), name, clip.start_frame, clip.clip_id)


def with_twins(outcomes: Iterable[SourceOutcome], twins: Mapping[str, Twin]) -> PackedRows[SourceOutcome]:
    """Outcomes in which near-duplicates are marked, or have become rejections that name their twins."""
    return PackedRows(_with_twins(outcome, twins) for outcome in outcomes)


def _with_twins(outcome: SourceOutcome, twins: Mapping[str, Twin]) -> SourceOutcome:
    if not any(clip.record.clip_id in twins for clip in outcome.clips):
        return outcome
    clips: list[StoredClip] = []
    for clip in outcome.clips:
        twin = twins.get(clip.record.clip_id)
        if twin is None:
            clips.append(clip)
        elif not twin.rejects:
            record = clip.record.model_copy(update={"duplicate_of": twin.of.clip_id})
            clips.append(clip.model_copy(update={"record": record}))
    decisions = tuple(
        _decision(decision, twin) if (twin := twins.get(decision.clip_id or "")) else decision
        for decision in outcome.decisions
    )
    return outcome.model_copy(update={"clips": tuple(clips), "decisions": decisions}).check_balance()


def _decision(decision: Decision, twin: Twin) -> Decision:
    told = {"duplicate_of": twin.of.clip_id, "message": twin.words}
    if not twin.rejects:
        return decision.model_copy(update=told)
    rejected = {
        "status": Status.REJECTED,
        "reason": RejectReason.NEAR_DUPLICATE,
        "measured": twin.distance,
        "threshold": twin.threshold,
        "clip_id": None,
    }
    return decision.model_copy(update=told | rejected)
