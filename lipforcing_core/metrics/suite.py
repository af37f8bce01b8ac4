"""The whole suite in one call: every item, every system, one protocol.

``evaluate_item`` (item.py) and ``aggregate`` (aggregate.py) are its two halves; a caller that spreads items over
machines calls them itself and gets the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.metrics.aggregate import SetResult, aggregate
from lipforcing_core.metrics.backends import Backends
from lipforcing_core.metrics.item import evaluate_item
from lipforcing_core.metrics.item_result import ItemResult
from lipforcing_core.metrics.manifest import EvalItem, PredictionRecord, check_unique
from lipforcing_core.metrics.protocol import Protocol
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


def evaluate_predictions(
    items: Sequence[EvalItem],
    predictions: Sequence[PredictionRecord],
    protocol: Protocol,
    backends: Backends,
    *,
    pairs: Sequence[tuple[str, str]] = (),
    speed: Iterable[MetricValue] = (),
    seed: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Score the predictions of all systems; ``pairs`` of labels are also compared as paired differences.

    ``on_progress(done, total)`` counts items. Raises ``BadInputError`` where items or predictions are listed twice, a
    prediction belongs to no item, a pair names an unknown system, or a file is not the one that was listed.
    """
    check_request(items, predictions, pairs)
    results = []
    for done, item in enumerate(items):
        if on_progress:
            on_progress(done, len(items))
        results.append(evaluate_item(item, predictions, protocol, backends))
    if on_progress:
        on_progress(len(items), len(items))
    whole = aggregate(results, protocol, backends, pairs=pairs, speed=speed, seed=seed)
    return assemble(items, predictions, protocol, results, whole)


def check_request(
    items: Sequence[EvalItem], predictions: Sequence[PredictionRecord], pairs: Sequence[tuple[str, str]] = ()
) -> None:
    """Raise ``BadInputError`` where items, predictions and pairs do not fit together."""
    clips = [item.clip_id for item in items]
    if len(set(clips)) != len(clips) or not clips:
        raise BadInputError("the items of an evaluation must be one or more, with different clip ids")
    check_unique(predictions)
    if strays := sorted({record.clip_id for record in predictions} - set(clips)):
        raise BadInputError(f"predictions for clips that are not evaluated: {', '.join(strays[:5])}")
    labels = {record.label for record in predictions}
    if unknown := sorted({label for pair in pairs for label in pair} - labels):
        raise BadInputError(f"no predictions of {', '.join(unknown)}; systems: {', '.join(sorted(labels))}")


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
