"""The funnel: what is left of the corpus after each stage, in sources, pieces and seconds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from lipforcing_core.curation.reasons import RejectReason, Stage
from lipforcing_core.curation.records import Decision, SourceOutcome, Status
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


def funnel_rows(outcomes: Sequence[SourceOutcome]) -> list[FunnelRow]:
    """The row ``found`` with everything, then one row for each stage in order."""
    left = [(outcome.source, decision) for outcome in outcomes for decision in outcome.decisions]
    rows = [_row("found", left, sources=len(outcomes))]
    for stage in Stage:
        left = [(name, d) for name, d in left if d.reason is None or d.reason.stage is not stage]
        rows.append(_row(stage.value, left, sources=len({name for name, _ in left})))
    return rows


def reason_counts(outcomes: Sequence[SourceOutcome]) -> list[ReasonCount]:
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


def balance(outcomes: Sequence[SourceOutcome], *, num_ignored: int = 0) -> Balance:
    """Count sources and frames by how they left; ``num_ignored`` files were found beside the sources."""
    statuses = Counter(outcome.status for outcome in outcomes)
    frames = {status: sum(outcome.frames(status) for outcome in outcomes) for status in Status}
    return Balance(
        sources_in=len(outcomes),
        sources_accepted=statuses[Status.ACCEPTED],
        sources_rejected=statuses[Status.REJECTED],
        sources_quarantined=statuses[Status.QUARANTINED],
        frames_in=sum(outcome.frames_in for outcome in outcomes),
        frames_accepted=frames[Status.ACCEPTED],
        frames_rejected=frames[Status.REJECTED],
        frames_quarantined=frames[Status.QUARANTINED],
        clips=sum(len(outcome.clips) for outcome in outcomes),
        sources_failed=sum(outcome.failed_this_time for outcome in outcomes),
        frames_trimmed=sum(outcome.frames_trimmed for outcome in outcomes),
        files_ignored=num_ignored,
    )


def _row(stage: str, left: list[tuple[str, Decision]], *, sources: int) -> FunnelRow:
    frames = sum(decision.num_frames for _, decision in left)
    return FunnelRow(
        stage=stage, sources=sources, segments=len(left), num_frames=frames, seconds=float(seconds(frames))
    )
