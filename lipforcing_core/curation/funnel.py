"""The funnel: what is left of the corpus after each stage, in sources, pieces and seconds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from lipforcing_core.curation.reasons import RejectReason, Stage
from lipforcing_core.curation.records import SourceOutcome, Status
from lipforcing_core.media.clock import seconds


@dataclass(frozen=True, kw_only=True)
class FunnelRow:
    """What passed a stage. ``sources`` have something left; ``segments`` are pieces not rejected so far."""

    stage: str
    sources: int
    segments: int
    num_frames: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class ReasonCount:
    """How much was lost for one reason."""

    reason: RejectReason
    sources: int
    pieces: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Balance:
    """Sources and frames in, and how they left; files of the folder that are no sources.

    ``sources_failed`` are those among the quarantined on which the machine failed. ``frames_trimmed`` are ends of
    pictures that outlast their sound by less than is worth a row.
    """

    sources_in: int
    sources_accepted: int
    sources_rejected: int
    sources_quarantined: int
    frames_in: int
    frames_accepted: int
    frames_rejected: int
    frames_quarantined: int
    clips: int
    sources_failed: int = 0
    frames_trimmed: int = 0
    files_ignored: int = 0

    @property
    def holds(self) -> bool:
        """Whether nothing was lost on the way."""
        sources = self.sources_accepted + self.sources_rejected + self.sources_quarantined
        frames = self.frames_accepted + self.frames_rejected + self.frames_quarantined + self.frames_trimmed
        return sources == self.sources_in and frames == self.frames_in


def funnel_rows(outcomes: Collection[SourceOutcome]) -> list[FunnelRow]:
    """The row ``found`` with everything, then one row for each stage in order."""
    stages = list(Stage)
    pieces: Counter[int] = Counter()
    frames: Counter[int] = Counter()
    sources: Counter[int] = Counter()
    for outcome in outcomes:
        passed = [
            len(stages) if d.reason is None else stages.index(d.reason.stage) for d in outcome.decisions
        ]
        for decision, number in zip(outcome.decisions, passed, strict=True):
            pieces[number] += 1
            frames[number] += decision.num_frames
        sources[max(passed, default=0)] += 1
    rows = []
    for number, name in enumerate(["found", *(stage.value for stage in stages)]):
        num_frames = _from(frames, number)
        rows.append(
            FunnelRow(
                stage=name,
                sources=_from(sources, number),
                segments=_from(pieces, number),
                num_frames=num_frames,
                seconds=float(seconds(num_frames)),
            )
        )
    return rows


def _from(counts: Counter[int], number: int) -> int:
    """What has passed at least so many stages."""
    return sum(count for passed, count in counts.items() if passed >= number)


def reason_counts(outcomes: Iterable[SourceOutcome]) -> list[ReasonCount]:
    """Losses by reason, the largest first."""
    frames: Counter[RejectReason] = Counter()
    pieces: Counter[RejectReason] = Counter()
    sources: dict[RejectReason, set[str]] = {}
    for outcome in outcomes:
        for decision in outcome.decisions:
            if decision.reason is not None:
                frames[decision.reason] += decision.num_frames
                pieces[decision.reason] += 1
                sources.setdefault(decision.reason, set()).add(outcome.source)
    return [
        ReasonCount(
            reason=reason,
            sources=len(sources[reason]),
            pieces=pieces[reason],
            seconds=float(seconds(frames[reason])),
        )
        for reason in sorted(sources, key=lambda r: (-frames[r], r.value))
    ]


def balance(outcomes: Iterable[SourceOutcome], *, num_ignored: int = 0) -> Balance:
    """Count sources and frames by how they left; ``num_ignored`` files were found beside the sources."""
    statuses: Counter[Status] = Counter()
    frames: Counter[Status] = Counter()
    frames_in = clips = failed = trimmed = 0
    for outcome in outcomes:
        statuses[outcome.status] += 1
        frames.update({status: outcome.frames(status) for status in Status})
        frames_in += outcome.frames_in
        clips += len(outcome.clips)
        failed += outcome.failed_this_time
        trimmed += outcome.frames_trimmed
    return Balance(
        sources_in=statuses.total(),
        sources_accepted=statuses[Status.ACCEPTED],
        sources_rejected=statuses[Status.REJECTED],
        sources_quarantined=statuses[Status.QUARANTINED],
        frames_in=frames_in,
        frames_accepted=frames[Status.ACCEPTED],
        frames_rejected=frames[Status.REJECTED],
        frames_quarantined=frames[Status.QUARANTINED],
        clips=clips,
        sources_failed=failed,
        frames_trimmed=trimmed,
        files_ignored=num_ignored,
    )
