"""The backends of an evaluation: which networks and detectors stand behind its numbers.

Two sets of networks can score. ``embedded`` needs no files: random features, and a sync expert that knows puppets.
``learned`` is the kind behind published tables: Inception-v3 (FID), I3D (FVD), ArcFace (CSIM), LPIPS on AlexNet and
SyncNet-v2. Every value carries the id of its network, so scores of the two sets never meet in one comparison.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.faces.detectors.protocol import FaceDetector
from lipforcing_core.metrics.networks.catalogue import load_extractor
from lipforcing_core.metrics.networks.perceptual import PerceptualDistance, load_perceptual
from lipforcing_core.metrics.networks.protocol import FeatureExtractor
from lipforcing_core.metrics.registry import Backend
from lipforcing_core.metrics.sync_metrics import SyncScorer
from lipforcing_core.sync.experts.catalogue import load_sync_expert

PIXELS_ID = "pixels-v1"
APERTURE_ID = "aperture-v1"

SYNC_EXPERTS = {"embedded": "nano", "learned": "syncnet-v2"}
"""The sets of networks, and the sync expert that belongs to each."""

_IMAGES, _VIDEOS, _IDENTITIES, _PERCEPTUAL = "inception-v3-fid", "i3d-400", "arcface-r100", "lpips-alex"


@dataclass(frozen=True, kw_only=True)
class Backends:
    """Everything that is loaded once and used for all clips. ``detector`` is None for precropped files only."""

    detector: FaceDetector | None
    sync: SyncScorer
    perceptual: PerceptualDistance
    image_features: FeatureExtractor
    video_features: FeatureExtractor
    identity_features: FeatureExtractor

    def id_of(self, backend: Backend) -> str:
        """The id stored with every value that ``backend`` computes."""
        ids = {
            Backend.PIXELS: PIXELS_ID,
            Backend.APERTURE: APERTURE_ID,
            Backend.PERCEPTUAL: self.perceptual.backend_id,
            Backend.IMAGE_FEATURES: self.image_features.backend_id,
            Backend.VIDEO_FEATURES: self.video_features.backend_id,
            Backend.IDENTITY_FEATURES: self.identity_features.backend_id,
            Backend.SYNC_EXPERT: self.sync.backend_id,
        }
        return ids[backend]

    @property
    def ids(self) -> dict[str, str]:
        """All ids, for content keys and run records."""
        ids = {kind.value: self.id_of(kind) for kind in Backend if kind is not Backend.CLOCK}
        return ids | {"detector": "none" if self.detector is None else self.detector.backend_id}


def needed_weights(networks: str, sync_expert: str | None = None) -> list[str]:
    """Names, in the registry of weights, of the files that ``load_backends`` needs for the same arguments.

    Raises ``BadInputError`` for an unknown set.
    """
    expert = _sync_expert(networks, sync_expert)
    features = [_IMAGES, _VIDEOS, _IDENTITIES, _PERCEPTUAL] if networks == "learned" else []
    return [*features, expert] if expert == "syncnet-v2" else features


def load_backends(
    networks: str,
    files: Mapping[str, Path],
    *,
    detector: FaceDetector | None,
    sync_expert: str | None = None,
) -> Backends:
    """The set ``networks``, one of ``SYNC_EXPERTS``, with its own sync expert or the one named.

    files: the files of ``needed_weights``, by name. Raises ``BadInputError`` for an unknown set or expert,
    ``MissingWeightsError`` for a file that is not there, and ``IncompatibleCheckpointError`` for one that does not fit.
    """
    expert = _sync_expert(networks, sync_expert)
    sync = load_sync_expert(expert, files.get(expert))
    if networks == "embedded":
        return embedded_backends(detector=detector, sync=sync)
    return learned_backends(files, detector=detector, sync=sync)


def learned_backends(
    files: Mapping[str, Path], *, detector: FaceDetector | None, sync: SyncScorer
) -> Backends:
    """The learned set, beside a detector and a sync expert; ``files`` and errors as in ``load_backends``.

    All of them see the aligned crop of the protocol, whole (LPIPS also the mouth box alone), and resize it themselves:
    Inception-v3 to 299, I3D to 224 with pixels in [-1, 1], ArcFace to 112, LPIPS to 256, SyncNet-v2 to 224. The code
    behind published tables is not public; as far as it is known (method G.2) it takes boxes of a face detector, resized
    to 224, for FID and for FVD (frames 20 to 35, pixels in [0, 1]), the full frame at 112 for CSIM, and the face tracks
    of method F.4 for SyncNet. Values compare within a protocol of this project, not with those tables.
    """
    return Backends(
        detector=detector,
        sync=sync,
        perceptual=load_perceptual(_PERCEPTUAL, backbone=files.get(_PERCEPTUAL)),
        image_features=load_extractor(_IMAGES, weights=files.get(_IMAGES)),
        video_features=load_extractor(_VIDEOS, weights=files.get(_VIDEOS)),
        identity_features=load_extractor(_IDENTITIES, weights=files.get(_IDENTITIES)),
    )


def embedded_backends(*, detector: FaceDetector | None, sync: SyncScorer) -> Backends:
    """The download-free set: fixed-seed random networks, named as such, beside a detector and a sync expert."""
    image = load_extractor("random-conv-v1")
    return Backends(
        detector=detector,
        sync=sync,
        perceptual=load_perceptual("lpips-random-conv-v1"),
        image_features=image,
        video_features=load_extractor("random-conv3d-v1"),
        identity_features=image,
    )


def _sync_expert(networks: str, given: str | None) -> str:
    if networks not in SYNC_EXPERTS:
        raise BadInputError(f"unknown set of networks {networks!r}; known: {', '.join(SYNC_EXPERTS)}")
    return given or SYNC_EXPERTS[networks]
