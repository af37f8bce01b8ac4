"""Measures of a control: a prediction made from unrelated speech, held against that very speech."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lipforcing_core.metrics.manifest import DrivenBy, EvalItem, PredictionRecord
from lipforcing_core.metrics.values import UndefinedMeasure

if TYPE_CHECKING:
    import numpy as np

    from lipforcing_core.metrics.scored import ScoredClip


def driven_by_unrelated(record: PredictionRecord, item: EvalItem) -> bool:
    """Whether the prediction was made from unrelated speech."""
    return record.driven_by is DrivenBy.UNRELATED


def speech_given(clip: ScoredClip) -> np.ndarray:
    """The unrelated speech under the scored frames: ``[S] float32`` mono at 16 kHz.

    Raises ``UndefinedMeasure`` where the item has none or it is too short.
    """
    path = clip.truth.item.unrelated_audio
    if path is None:
        raise UndefinedMeasure("the item has no unrelated audio")
    return clip.truth.sound_of(path)
