"""What identifies an evaluation of listed predictions, and what the warehouse calls their systems."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lipforcing_core.base.products import content_key, sha256_once
from lipforcing_core.metrics.manifest import EvalItem, PredictionRecord
from lipforcing_core.metrics.protocol import Protocol, gt_box_aligned
from tasks.evaluation import Scorers, load_scorers
from tasks.warehousing import RunInfo, System


def evaluation_run(
    name: str,
    items: Sequence[EvalItem],
    predictions: Sequence[PredictionRecord],
    scorers: Scorers,
    num_frames: int | None,
) -> tuple[RunInfo, Protocol]:
    """The run of an evaluation and its protocol; equal content gives an equal run id."""
    backends = load_scorers(scorers)
    protocol = gt_box_aligned(detector_id=backends.ids["detector"], num_frames=num_frames)
    config: dict[str, Any] = {
        "protocol": protocol,
        "items": [(item.clip_id, sha256_once(item.truth_video)) for item in items],
        "predictions": [(p.label, p.clip_id, p.sha256) for p in predictions],
    }
    if scorers.networks != "embedded" or scorers.sync_expert:  # runs of the embedded set keep their ids
        config["backends"] = backends.ids
    return RunInfo(run_id=f"{name}-{content_key(config)}", flow="evaluate", config=config), protocol


def all_pairs(predictions: Sequence[PredictionRecord]) -> list[tuple[str, str]]:
    """Every two systems, in the order of their names."""
    labels = sorted({record.label for record in predictions})
    return [(a, b) for i, a in enumerate(labels) for b in labels[i + 1 :]]


def peers(predictions: Sequence[PredictionRecord]) -> list[System]:
    """The systems of a list of predictions, of which no more than their names is known."""
    labels = sorted({record.label for record in predictions})
    return [System(system=label, label=label, kind="peer", description="") for label in labels]
