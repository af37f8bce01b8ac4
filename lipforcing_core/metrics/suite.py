"""The whole of an evaluation: what may be asked for, and all rows that come out.

``item.evaluate_item`` scores one item and ``aggregate.aggregate`` makes the set of them; a caller may spread items over
machines in between.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.suggestions import did_you_mean
from lipforcing_core.metrics.aggregate import SetResult
from lipforcing_core.metrics.item_result import ItemResult
from lipforcing_core.metrics.manifest import EvalItem, PredictionRecord, check_unique
from lipforcing_core.metrics.measures.catalogue import smallest_window
from lipforcing_core.metrics.protocol import Protocol, check_num_frames
from lipforcing_core.metrics.values import MetricValue, PairedDifference, Unavailable


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """All rows of an evaluation.

    values: per-clip rows (``clip_id`` set) and set-level rows (``clip_id`` None). missing: (system, clip id) without
    a listed prediction; set-level rows leave those clips out for every system.
    """

    protocol: Protocol
    values: tuple[MetricValue, ...]
    unavailable: tuple[Unavailable, ...]
    differences: tuple[PairedDifference, ...]
    missing: tuple[tuple[str, str], ...]


def check_window(num_frames: int | None) -> None:
    """Raise ``BadInputError`` where somebody asks for a window that some measure can make nothing of."""
    if num_frames is not None:
        check_num_frames(num_frames, smallest_window())


def check_request(
    items: Sequence[EvalItem],
    predictions: Sequence[PredictionRecord],
    protocol: Protocol,
    pairs: Sequence[tuple[str, str]] = (),
) -> None:
    """Raise ``BadInputError`` where items, predictions, pairs and the protocol's window do not fit together."""
    check_window(protocol.num_frames)
    clips = [item.clip_id for item in items]
    if len(set(clips)) != len(clips) or not clips:
        raise BadInputError("the items of an evaluation must be one or more, with different clip ids")
    check_unique(predictions)
    if strays := sorted({record.clip_id for record in predictions} - set(clips)):
        raise BadInputError(f"predictions for clips that are not evaluated: {', '.join(strays[:5])}")
    labels = {record.label for record in predictions}
    if strange := sorted({label for pair in pairs for label in pair} - labels):
        told = ", ".join(f"{label}{did_you_mean(label, labels)}" for label in strange)
        raise BadInputError(f"no predictions of {told}; systems: {', '.join(sorted(labels))}")


def missing_predictions(
    items: Sequence[EvalItem], predictions: Sequence[PredictionRecord]
) -> list[tuple[str, str]]:
    """(system, clip id) for which no prediction is listed."""
    listed = {(record.label, record.clip_id) for record in predictions}
    labels = sorted({record.label for record in predictions})
    return [
        (label, item.clip_id) for label in labels for item in items if (label, item.clip_id) not in listed
    ]


def assemble(
    items: Sequence[EvalItem],
    predictions: Sequence[PredictionRecord],
    protocol: Protocol,
    results: Sequence[ItemResult],
    whole: SetResult,
) -> Evaluation:
    """Put per-item results and set-level rows together, items in the order of their clip ids."""
    ordered = sorted(results, key=lambda result: result.clip_id)
    return Evaluation(
        protocol=protocol,
        values=(*(value for result in ordered for value in result.values), *whole.values),
        unavailable=(*(entry for result in ordered for entry in result.unavailable), *whole.unavailable),
        differences=whole.differences,
        missing=tuple(missing_predictions(items, predictions)),
    )
