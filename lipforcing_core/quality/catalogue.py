"""The quality scorers that exist. Each lives in a file of its own and is imported only when it is loaded.

All of them run code of pyiqa, whose licence (PolyForm Noncommercial 1.0.0) allows non-commercial use only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lipforcing_core.base.catalogue import Catalogue, FileEntry

if TYPE_CHECKING:
    from lipforcing_core.quality.protocol import QualityScorer

PYIQA_LICENCE = "non-commercial use only (pyiqa, PolyForm Noncommercial 1.0.0)"


@dataclass(frozen=True, kw_only=True)
class QualityEntry(FileEntry):
    """One quality scorer and its scale.

    load: makes it from a weight file; None for a scorer that reads none. best, worst: the ends of its scale, between
    which a threshold makes sense. threshold: the worst score that curation accepts where nobody says otherwise.
    """

    load: Callable[[Path | None], QualityScorer]
    best: float
    worst: float
    threshold: float

    @property
    def higher_is_better(self) -> bool:
        """Which end of the scale is good."""
        return self.best > self.worst

    @property
    def scale(self) -> str:
        """The scale in words for help texts and messages."""
        return f"{self.name}: {self.best:g} is best, {self.worst:g} is worst, {self.threshold:g} is usual"

    def is_on_scale(self, threshold: float) -> bool:
        """Whether a threshold lies between the ends of the scale, so that it can accept and reject."""
        return min(self.best, self.worst) <= threshold <= max(self.best, self.worst)


def _piqe(weights: Path | None) -> QualityScorer:
    from lipforcing_core.quality.piqe import PiqeScorer

    return PiqeScorer()


def _hyperiqa(weights: Path | None) -> QualityScorer:
    from lipforcing_core.quality.hyperiqa import HyperIqaScorer

    assert weights is not None, "an entry with registered weights is loaded from a file"
    return HyperIqaScorer(weights)


QUALITY_SCORERS = Catalogue(
    kind="quality scorer",
    entries=(
        QualityEntry(
            name="piqe",
            summary="PIQE, blockwise distortion and noise, without trained weights",
            licence=PYIQA_LICENCE,
            load=_piqe,
            best=0.0,
            worst=100.0,
            threshold=85.0,
        ),
        QualityEntry(
            name="hyperiqa",
            summary="HyperIQA trained on KonIQ-10k, by which the published corpora were filtered",
            weights=("hyperiqa",),
            files=("hyperiqa_koniq10k.pth",),
            licence=PYIQA_LICENCE,
            load=_hyperiqa,
            best=100.0,
            worst=0.0,
            threshold=40.0,
        ),
    ),
)


def load_quality(name: str = QUALITY_SCORERS.default, weights: Path | None = None) -> QualityScorer:
    """The scorer called ``name``, from the file ``weights`` where it reads one.

    Raises ``BadInputError`` for an unknown name or an unusable file, ``MissingWeightsError`` where the
    weights are absent, and ``LipForcingError`` where pyiqa is not installed.
    """
    from lipforcing_core.weights.chosen import checked_files

    files = checked_files(QUALITY_SCORERS, name, weights)
    return QUALITY_SCORERS[name].load(files[0] if files else None)
