"""Scoring one held-out item: all its predictions against its truth, independent of every other item."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

import numpy as np

from lipforcing_core.base.errors import BadInputError, MediaError
from lipforcing_core.base.products import content_key, file_sha256
from lipforcing_core.metrics.backends import Backends
from lipforcing_core.metrics.crops import UnscorableClip, cut_prediction
from lipforcing_core.metrics.item_result import ItemResult
from lipforcing_core.metrics.manifest import EvalItem, PredictionRecord, check_unique, verified_path
from lipforcing_core.metrics.measures.catalogue import MEASURES, clip_measures, set_measures
from lipforcing_core.metrics.measures.protocol import ClipMeasure
from lipforcing_core.metrics.protocol import Protocol
from lipforcing_core.metrics.scored import ScoredClip, ScoredPicture, ScoredTruth
from lipforcing_core.metrics.values import Cell, MetricValue, Unavailable

ITEM_VERSION = 2


def item_key(
    item: EvalItem, predictions: Iterable[PredictionRecord], protocol: Protocol, backends: Backends
) -> str:
    """Content key of ``evaluate_item``: the files' hashes, the protocol, the backends, the measures' versions."""
    files = (item.truth_video, item.driving_audio, item.source_video, item.unrelated_audio)
    return content_key(
        ITEM_VERSION,
        item.clip_id,
        item.identity,
        [file_sha256(path) if path is not None and path.is_file() else None for path in files],
        sorted(
            (record.label, record.sha256 if record.path.is_file() else "missing")
            for record in predictions
            if record.clip_id == item.clip_id
        ),
        protocol,
        backends.ids,
        {measure.name: measure.version for measure in MEASURES},
    )


def evaluate_item(
    item: EvalItem, predictions: Sequence[PredictionRecord], protocol: Protocol, backends: Backends
) -> ItemResult:
    """Score the item's predictions; records of other clips are ignored.

    What cannot be computed gives an ``Unavailable`` with its reason: a missing or short prediction, a mouth that
    does not move, an infinite PSNR. Raises ``BadInputError`` where a prediction is not the file that was listed, or
    the detector is not the protocol's.
    """
    records = [record for record in predictions if record.clip_id == item.clip_id]
    check_unique(records)
    if protocol.alignment != backends.ids["detector"]:
        raise BadInputError(
            f"protocol {protocol.name} aligns with {protocol.alignment}, the detector is {backends.ids['detector']}"
        )
    rows = _Rows(item, protocol, backends)
    try:
        truth = ScoredTruth(item, protocol, backends)
    except (UnscorableClip, MediaError) as problem:
        for record in records:
            rows.add_nothing(record, f"the truth cannot be scored: {problem}")
        return rows.result({}, {})
    features = {}
    for record in records:
        path = verified_path(record)
        if path is None:
            rows.add_nothing(record, f"the prediction {record.path.name} does not exist")
            continue
        try:
            frames = cut_prediction(path, truth.window, protocol, backends.detector)
        except (UnscorableClip, MediaError) as problem:
            rows.add_nothing(record, f"the prediction cannot be scored: {problem}")
            continue
        clip = ScoredClip(frames, truth)
        rows.add_measured(record, clip)
        features[record.label] = _features(clip)
    return rows.result(_features(truth), features)


class _Rows:
    """Collects the rows of one item."""

    def __init__(self, item: EvalItem, protocol: Protocol, backends: Backends) -> None:
        self._item, self._protocol_id, self._backends = item, protocol.id, backends
        self._values: list[MetricValue] = []
        self._unavailable: list[Unavailable] = []

    def add_measured(self, record: PredictionRecord, clip: ScoredClip) -> None:
        for measure in self._applicable(record):
            row = self._cell(record, measure).measured(partial(measure.compute, clip), len(clip.frames))
            if isinstance(row, MetricValue):
                self._values.append(row)
            else:
                self._unavailable.append(row)

    def add_nothing(self, record: PredictionRecord, because: str) -> None:
        self._unavailable += [
            self._cell(record, measure).missing(because) for measure in self._applicable(record)
        ]

    def result(
        self, truth_features: dict[str, np.ndarray], features: dict[str, dict[str, np.ndarray]]
    ) -> ItemResult:
        return ItemResult(
            clip_id=self._item.clip_id,
            identity=self._item.identity,
            values=tuple(self._values),
            unavailable=tuple(self._unavailable),
            truth_features=truth_features,
            features=features,
        )

    def _applicable(self, record: PredictionRecord) -> list[ClipMeasure]:
        return [measure for measure in clip_measures() if measure.applies(record, self._item)]

    def _cell(self, record: PredictionRecord, measure: ClipMeasure) -> Cell:
        return Cell(
            system=record.label,
            clip_id=self._item.clip_id,
            metric=measure.name,
            protocol_id=self._protocol_id,
            backend=self._backends.id_of(measure.backend),
        )


def _features(picture: ScoredPicture) -> dict[str, np.ndarray]:
    """The vectors that set-level measures rest on, by name."""
    kinds = {measure.features.name: measure.features for measure in set_measures()}
    return {name: kind.embed(picture.frames, picture.backends) for name, kind in kinds.items()}
