"""The backends of an evaluation: which networks and detectors stand behind its numbers."""

from __future__ import annotations

from dataclasses import dataclass

from lipforcing_core.faces.detect import FaceDetector
from lipforcing_core.metrics.features import FeatureExtractor, load_extractor
from lipforcing_core.metrics.perceptual import PerceptualDistance, load_perceptual
from lipforcing_core.metrics.registry import Backend
from lipforcing_core.metrics.sync_metrics import SyncScorer

PIXELS_ID = "pixels-v1"
APERTURE_ID = "aperture-v1"


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
