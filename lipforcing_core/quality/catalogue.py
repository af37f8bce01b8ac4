"""The quality protocol: three frames of a clip, their centre, one score.

Both scorers run code of pyiqa, whose licence (PolyForm Noncommercial 1.0.0) allows non-commercial use only.
"""

from __future__ import annotations

from pathlib import Path

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.quality.protocol import QualityScorer

QUALITY_NAMES = ("piqe", "hyperiqa")


def load_quality(name: str, weights: Path | None = None) -> QualityScorer:
    """The scorer called ``name``: ``piqe`` or ``hyperiqa`` (which needs ``weights``).

    Raises ``BadInputError`` for an unknown name or an unusable file, ``MissingWeightsError`` where the
    weights are absent, and ``LipForcingError`` where pyiqa is not installed.
    """
    if name == "piqe":
        from lipforcing_core.quality.piqe import PiqeScorer

        if weights is not None:
            raise BadInputError(f"piqe takes no weights, but {weights} was given")
        return PiqeScorer()
    if name == "hyperiqa":
        from lipforcing_core.quality.hyperiqa import HyperIqaScorer

        return HyperIqaScorer(weights)
    raise BadInputError(f"unknown quality measure {name!r}; known: {', '.join(QUALITY_NAMES)}")
