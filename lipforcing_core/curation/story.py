"""The whole story of one source in one run: its file, how it was read, and every value, limit and decision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.products import StepStore
from lipforcing_core.base.timed_steps import StepCost
from lipforcing_core.curation.limits import Judged, judged_scores
from lipforcing_core.curation.lookup import Asked
from lipforcing_core.curation.records import CLIP_FACTS, ClipRecord, Decision, Status
from lipforcing_core.curation.results import Piece, Reading, Undecodable
from lipforcing_core.curation.sound_words import Stretches, from_column, silences_of_clip
from lipforcing_core.curation.steps import READ
from lipforcing_core.curation.stored_clips import StoredClips, track_of
from lipforcing_core.curation.stored_costs import StoredCosts, in_all
from lipforcing_core.curation.stored_run import StoredRun


@dataclass(frozen=True, kw_only=True)
class PieceStory:
    """One row of the decisions. face: the number of the face that was scored, among those of ``piece``.

    scores is empty for a piece that was never measured. costs: what its steps took. silences: in seconds of the piece,
    as ``sound_words`` has them. These, ``piece`` and ``clip`` are None where they are gone.
    """

    decision: Decision
    scores: tuple[Judged, ...]
    costs: StoredCosts
    record: ClipRecord | None
    piece: Piece | None
    silences: Stretches | None
    face: int | None
    clip: Path | None
    is_asked: bool

    @property
    def missed(self) -> list[Judged]:
        """The scores that are on the wrong side of their limits."""
        return [line for line in self.scores if line.passed is False]


@dataclass(frozen=True, kw_only=True)
class Story:
    """What a run knows of a source; None where that is not recorded. ``facts`` is what its corpus says of it."""

    run: StoredRun
    source: str
    path: str | None
    sha256: str | None
    source_id: str
    status: Status
    frames_in: int | None
    frames_trimmed: int | None
    decoder_message: str | None
    facts: Mapping[str, Any] | None
    reading: Reading | Undecodable | None
    read_cost: StepCost | None
    pieces: tuple[PieceStory, ...]

    @property
    def costs(self) -> StoredCosts:
        """What the steps took, those of all pieces together; a step is not recorded where one of them is not."""
        return in_all([{READ: self.read_cost}, *(piece.costs for piece in self.pieces)])

    @property
    def settings(self) -> Mapping[str, Any]:
        """Those of the run, as they were stored."""
        return self.run.settings


def story_of(run: StoredRun, store: StepStore, asked: Asked) -> Story:
    """The story of a source of a run."""
    decisions = run.decisions_of_source.get(asked.source, [])
    if not decisions:
        raise BadInputError(f"{asked.source}: the run {run.run_id} holds no decision about it")
    row = run.row_of_source.get(asked.source)
    clips = StoredClips(run.folder, store, run.rows)
    pieces = [_piece_story(d, run, clips, asked) for d in decisions]
    records = [piece.record for piece in pieces if piece.record is not None]
    facts = None if row is None else row.known_facts
    if facts is None and records:
        told = {name: getattr(records[0], name) for name in (*CLIP_FACTS, "split")}
        facts = {name: value for name, value in told.items() if value is not None}
    return Story(
        run=run,
        source=asked.source,
        path=None if row is None or row.folder is None else f"{row.folder}/{row.source}",
        sha256=run.sha256_of(asked.source) or (records[0].source_sha256 if records else None),
        source_id=decisions[0].source_id,
        status=_status(decisions),
        frames_in=None if row is None else row.frames_in,
        frames_trimmed=None if row is None else row.frames_trimmed,
        decoder_message=None if row is None else row.decoder_message,
        facts=facts,
        reading=clips.reading(asked.source),
        read_cost=clips.read_cost(asked.source),
        pieces=tuple(pieces),
    )


def _piece_story(decision: Decision, run: StoredRun, clips: StoredClips, asked: Asked) -> PieceStory:
    piece = clips.piece(decision)
    track = None if piece is None else track_of(piece, decision.scores)
    record = run.clip_of_id.get(decision.clip_id or "")
    return PieceStory(
        decision=decision,
        scores=tuple(judged_scores(decision, run.settings)),
        costs=clips.costs(decision, run.settings),
        record=record,
        piece=piece,
        silences=_silences(decision, record, clips),
        face=None if track is None else track.number,
        clip=clips(decision),
        is_asked=asked.clip_id is not None and decision.clip_id == asked.clip_id,
    )


def _silences(decision: Decision, record: ClipRecord | None, clips: StoredClips) -> Stretches | None:
    """Those of the manifest, or else, for a rejected piece or an older run, those in the step store."""
    if record is not None and record.silences is not None:
        return from_column(record.silences)
    speech = clips.speech(decision)
    if speech is None:
        return None
    return silences_of_clip(speech, decision.num_frames, decision.scores.av_offset_applied or 0)


def _status(decisions: list[Decision]) -> Status:
    """As ``SourceOutcome.status`` says it of the same decisions."""
    found = {decision.status for decision in decisions}
    return next(s for s in (Status.ACCEPTED, Status.QUARANTINED, Status.REJECTED) if s in found)
