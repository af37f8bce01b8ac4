"""What a measure is: how people read it, and what computes it.

A measure is made of one of three things: a scored clip (a set then has the mean over clips), the feature vectors of a
whole set, or the ledger of where the time of a clip went. This module and the families beside it import no torch and
no OpenCV when they are imported, so help texts and the warehouse can read the table of measures at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from lipforcing_core.base.catalogue import Entry
from lipforcing_core.metrics.backends import Backend

if TYPE_CHECKING:
    import numpy as np

    from lipforcing_core.base.ledger import StageLedger
    from lipforcing_core.metrics.backends import Backends
    from lipforcing_core.metrics.manifest import EvalItem, PredictionRecord
    from lipforcing_core.metrics.scored import ScoredClip

FRAME_STRIDE = 4
"""Networks that see single frames see every fourth."""


class Direction(StrEnum):
    """Which end of a measure is better."""

    HIGHER = "higher"
    LOWER = "lower"
    NONE = "none"


class Scope(StrEnum):
    """What a measure is computed on: a clip (a set then has the mean over clips), or a set only."""

    CLIP = "clip"
    SET = "set"


@dataclass(frozen=True, kw_only=True)
class Measure(Entry):
    """One measure. Its ``summary`` is its definition, in one or two sentences.

    label: its name in tables and plots. unit: None where it has none. backend: what computes it. version: raised when
    the definition changes, which makes finished evaluations be done anew. published_name: its name in the tables of the
    paper. min_frames: a window of fewer scored frames never has a value.
    """

    label: str
    unit: str | None = None
    direction: Direction
    backend: Backend
    version: int = 1
    published_name: str | None = None
    min_frames: int = 1

    @property
    def scope(self) -> Scope:
        """What it is computed on."""
        return Scope.CLIP

    @property
    def higher_is_better(self) -> bool | None:
        """The direction as a flag; None where neither end is better."""
        return None if self.direction is Direction.NONE else self.direction is Direction.HIGHER

    @property
    def is_wall_clock(self) -> bool:
        """Whether the value depends on the machine it was measured on."""
        return self.backend is Backend.CLOCK


def always(record: PredictionRecord, item: EvalItem) -> bool:
    """For measures that make sense for every prediction."""
    return True


@dataclass(frozen=True, kw_only=True)
class ClipMeasure(Measure):
    """A measure of one prediction beside its truth.

    compute: the value; raises ``UndefinedMeasure`` where there is none. applies: whether the measure makes sense for
    this prediction of this item; where it does not, there is no row at all.
    """

    compute: Callable[[ScoredClip], float]
    applies: Callable[[PredictionRecord, EvalItem], bool] = always


@dataclass(frozen=True, kw_only=True)
class Features:
    """Feature vectors that are kept of every clip, so that a set-level measure can be made of any set of clips.

    name: what they are called in files. vector_of: what one vector stands for ("frames"). embed: ``[F, S, S, 3] uint8
    RGB`` aligned crops to ``[n, d] float32``.
    """

    name: str
    vector_of: str
    embed: Callable[[np.ndarray, Backends], np.ndarray]


@dataclass(frozen=True, kw_only=True)
class SetMeasure(Measure):
    """A measure of the features of a set of predictions against those of the truths.

    statistic: takes the vectors of truths and of predictions, each as one ``[n_i, d]`` array a person in the same
    order, and a point near them all, about which sums may be taken. It returns the value as a function of how often
    each person is counted. minimum: the least value that is possible. min_vectors: fewer vectors have no value.
    rests_on_covariance: whether vectors that do not outnumber their dimensions bias the value, as their covariance is
    singular then.
    """

    features: Features
    statistic: Callable[
        [Sequence[np.ndarray], Sequence[np.ndarray], np.ndarray], Callable[[np.ndarray], float]
    ]
    minimum: float | None = None
    min_vectors: int = 1
    rests_on_covariance: bool = False

    @property
    def scope(self) -> Scope:
        """A set only."""
        return Scope.SET


@dataclass(frozen=True, kw_only=True)
class SpeedMeasure(Measure):
    """A measure of where the time of one clip went; ``compute`` raises ``UndefinedMeasure`` where it has no value."""

    backend: Backend = Backend.CLOCK
    compute: Callable[[StageLedger], float]
