"""Where the aligned clip of a piece lies: beside the manifest if it was accepted, or else still in the step store."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from lipforcing_core.base.products import StepStore
from lipforcing_core.base.timed_steps import StepCost, stored_cost
from lipforcing_core.curation.records import Decision, Scores
from lipforcing_core.curation.results import (
    Piece,
    Reading,
    SpeechResult,
    TrackFacts,
    Undecodable,
    reading_from_json,
)
from lipforcing_core.curation.source_rows import SourceRow
from lipforcing_core.curation.steps import READ, SPEECH, speech_key
from lipforcing_core.curation.stored_costs import StoredCosts, piece_costs

KEPT_READINGS = 64


class StoredClips:
    """Finds the clips of the pieces of one run. folder: that of the run; rows: its sources."""

    def __init__(self, folder: Path, store: StepStore, rows: Iterable[SourceRow]) -> None:
        self._folder = folder
        self._store = store
        self._keys = {row.source: row.reading for row in rows}
        self._read = lru_cache(maxsize=KEPT_READINGS)(self._stored)

    def __call__(self, decision: Decision) -> Path | None:
        """The aligned clip of a piece; None where there is none, or no longer."""
        if decision.clip_id is not None:
            placed = self._folder / "clips" / f"{decision.clip_id}.mp4"
            return placed if placed.is_file() else None
        piece, key = self.piece(decision), self._keys.get(decision.source)
        track = None if piece is None else track_of(piece, decision.scores)
        if piece is None or track is None or key is None:
            return None
        clip = self._store.folder(READ, key) / piece.folder / f"{track.number}.mp4"
        return clip if clip.is_file() else None

    def reading(self, source: str) -> Reading | Undecodable | None:
        """What the step ``read`` found out about a source; None where that is not recorded, or was removed."""
        key = self._keys.get(source)
        return None if key is None else self._read(key)

    def piece(self, decision: Decision) -> Piece | None:
        """The piece of the reading that a decision is about; None where there is none, or no longer."""
        reading = self.reading(decision.source)
        if not isinstance(reading, Reading) or decision.level != "segment":
            return None
        place = (decision.start_frame, decision.stop_frame)
        return next((p for p in reading.pieces if (p.start, p.stop) == place), None)

    def speech(self, decision: Decision) -> SpeechResult | None:
        """What was heard in a piece; None where it was not measured, or is no longer stored."""
        piece, key = self.piece(decision), self._keys.get(decision.source)
        backend = decision.scores.activity_backend
        if piece is None or key is None or backend is None:
            return None
        found = self._store.find(SPEECH, speech_key(key, piece, backend))
        try:
            return None if found is None else SpeechResult.model_validate(found.result)
        except ValidationError:  # of another version
            return None

    def costs(self, decision: Decision, settings: Mapping[str, Any]) -> StoredCosts:
        """What the steps of a piece took, under the stored settings of its run; empty where it was not measured."""
        piece, key = self.piece(decision), self._keys.get(decision.source)
        if piece is None or key is None:
            return {}
        return piece_costs(self._store, key, piece, decision.scores, settings)

    def read_cost(self, source: str) -> StepCost | None:
        """What the reading of a source took; None where that is not recorded."""
        key = self._keys.get(source)
        return None if key is None else stored_cost(self._store, READ, key)

    def _stored(self, key: str) -> Reading | Undecodable | None:
        found = self._store.find(READ, key)
        try:
            return None if found is None else reading_from_json(found.result)
        except ValidationError:  # of another version
            return None


def track_of(piece: Piece, scores: Scores) -> TrackFacts | None:
    """The face whose scores these are; of several that fit, and where none does, the one that is seen most."""
    if not piece.tracks:
        return None
    fitting = [
        track
        for track in piece.tracks
        if (track.detected_fraction, track.face_height_px)
        == (scores.detected_fraction, scores.face_height_px)
    ]
    return max(fitting or piece.tracks, key=lambda t: (t.detected_fraction, t.face_height_px, -t.number))
