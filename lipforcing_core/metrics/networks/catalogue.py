"""Feature extractors for FID, FVD and CSIM behind one protocol.

Embedded: fixed-seed random networks, named as such. Inception-v3, I3D and ArcFace (``learned``) need a file each.
"""

from __future__ import annotations

from pathlib import Path

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.metrics.networks.learned import LEARNED_EXTRACTORS, load_learned
from lipforcing_core.metrics.networks.protocol import FeatureExtractor
from lipforcing_core.metrics.networks.random_features import RandomImageFeatures, RandomVideoFeatures


def load_extractor(name: str, *, seed: int = 0, weights: Path | None = None) -> FeatureExtractor:
    """The extractor called ``name``.

    Random, from ``seed``: ``random-conv-v1`` (images), ``random-conv3d-v1`` (video). Learned, from the file
    ``weights``: ``inception-v3-fid`` (images), ``i3d-400`` (video), ``arcface-r100`` (faces).

    Raises ``MissingWeightsError`` where a learned one has no file, ``IncompatibleCheckpointError`` where the file does
    not fit it, and ``BadInputError`` for any other name.
    """
    if name == "random-conv-v1":
        return RandomImageFeatures(seed)
    if name == "random-conv3d-v1":
        return RandomVideoFeatures(seed)
    if name in LEARNED_EXTRACTORS:
        return load_learned(name, weights)
    known = ", ".join(["random-conv-v1", "random-conv3d-v1", *LEARNED_EXTRACTORS])
    raise BadInputError(f"unknown feature extractor {name!r}; known: {known}")
