"""What the steps of a source took when they were done, in this run or in an earlier one, and the same in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lipforcing_core.base.products import StepStore
from lipforcing_core.base.timed_steps import StepCost, stored_cost
from lipforcing_core.curation import steps
from lipforcing_core.curation.limits import NOT_RECORDED
from lipforcing_core.curation.reasons import Step
from lipforcing_core.curation.records import Scores
from lipforcing_core.curation.results import Piece, TrackFacts

StoredCosts = Mapping[str, StepCost | None]
"""By the name of the step; None for one that was done, and of which nobody recorded what it took."""


def piece_costs(
    store: StepStore, reading: str, piece: Piece, scores: Scores, settings: Mapping[str, Any]
) -> StoredCosts:
    """What was spent on a piece with these scores, on all of its faces that may have been the speaker.

    reading: the key of the source's reading. settings: those of the run, as they were stored.
    """
    if scores.activity_backend is None:
        return {}
    speech = stored_cost(store, steps.SPEECH, steps.speech_key(reading, piece, scores.activity_backend))
    found: dict[str, StepCost | None] = {steps.SPEECH: speech}
    keys = [_face_keys(reading, piece, track, scores, settings) for track in piece.tracks]
    for step in keys[0] if keys else ():
        measured = [cost for of in keys if (cost := stored_cost(store, step, of[step])) is not None]
        found[step] = sum(measured, StepCost()) if measured else None
    return found


def _face_keys(
    reading: str, piece: Piece, track: TrackFacts, scores: Scores, settings: Mapping[str, Any]
) -> dict[str, str]:
    """The steps that were done on a face, in their order, and their keys; none where no face may have spoken."""
    if scores.quality_backend is None or scores.sync_backend is None:
        return {}
    face = steps.face_key(reading, piece, track)
    network = _identity_network(settings)
    identity = {} if network is None else {steps.IDENTITY: steps.identity_key(face, network)}
    correct = settings.get("sync_filter") is not False
    return {
        steps.FINGERPRINT: steps.fingerprint_key(face),
        **identity,
        steps.QUALITY: steps.quality_key(face, scores.quality_backend),
        steps.SYNC: steps.sync_key(face, scores.sync_backend, correct=correct),
    }


def _identity_network(settings: Mapping[str, Any]) -> str | None:
    """The id of the network that told people apart; None where there was none, or its file is gone."""
    path = settings.get("identity_model")
    if not isinstance(path, str) or not Path(path).is_file():
        return None
    from lipforcing_core.metrics.networks.arcface import arcface_id
    from lipforcing_core.weights.digest import remembered_sha256

    return arcface_id(remembered_sha256(Path(path)))


def in_all(costs: Iterable[StoredCosts]) -> StoredCosts:
    """Several costs together, in the order of the steps; what is not recorded in one is not recorded at all."""
    told = list(costs)
    found: dict[str, StepCost | None] = {}
    for step in Step:
        of_step = [of[step] for of in told if step in of]
        known = [cost for cost in of_step if cost is not None]
        if of_step:
            found[step.value] = sum(known, StepCost()) if len(known) == len(of_step) else None
    return found


def costs_line(costs: StoredCosts) -> str:
    """Seconds of wall clock for every step, and for all of them if each is recorded, with their CPU time."""
    known = [cost for cost in costs.values() if cost is not None]
    if not known:
        return NOT_RECORDED
    words = [f"{step} {NOT_RECORDED if cost is None else _s(cost.wall_s)}" for step, cost in costs.items()]
    if len(known) < len(costs):
        return ", ".join(words)
    total = sum(known, StepCost())
    return f"{', '.join(words)}; {_s(total.wall_s)} in all, {_s(total.cpu_s)} of CPU"


def _s(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 0.1 else f"{seconds:.3f} s"
