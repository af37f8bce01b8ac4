"""The models that curation uses, behind their protocols."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lipforcing_core.base.movable import Movable
from lipforcing_core.curation.settings import CurationSettings
from lipforcing_core.faces.detectors.catalogue import DETECTORS, load_detector
from lipforcing_core.faces.detectors.protocol import FaceFilter
from lipforcing_core.quality.catalogue import QUALITY_SCORERS, load_quality
from lipforcing_core.sound.activity.catalogue import load_activity
from lipforcing_core.sync.experts.catalogue import SYNC_EXPERTS, load_sync_expert
from lipforcing_core.weights.chosen import missing_files
from lipforcing_core.weights.missing import require_none

if TYPE_CHECKING:
    from lipforcing_core.faces.detectors.protocol import FaceDetector
    from lipforcing_core.metrics.networks.protocol import FeatureExtractor
    from lipforcing_core.quality.protocol import QualityScorer
    from lipforcing_core.sound.activity.protocol import VoiceActivityDetector
    from lipforcing_core.sync.experts.protocol import SyncExpert


@dataclass(frozen=True, kw_only=True)
class CurationBackends:
    """Models, loaded once per process and used for every source."""

    detector: FaceDetector
    sync_expert: SyncExpert
    quality: QualityScorer
    activity: VoiceActivityDetector
    identity: FeatureExtractor | None = None


def load_backends(settings: CurationSettings, *, on_gpu: bool = False) -> CurationBackends:
    """Load the backends that the settings name; raises MissingWeightsError where a file is needed and absent.

    on_gpu: what scores clips and can work on a GPU does so. Scores there may differ in the last digits; they are not
    measured again for that.
    """
    backends = CurationBackends(
        detector=curation_detector(settings),
        sync_expert=load_sync_expert(settings.sync_expert, settings.sync_weights),
        quality=load_quality(settings.quality, settings.quality_weights),
        activity=load_activity(settings.activity),
        identity=None if settings.identity_model is None else _load_identity(settings.identity_model),
    )
    if on_gpu:
        import torch

        for model in (backends.sync_expert, backends.quality, backends.identity):
            if isinstance(model, Movable):
                model.to(torch.device("cuda"))
    return backends


def curation_detector(settings: CurationSettings) -> FaceDetector:
    """The detector of the settings; it tells small faces too, since ``min_face_height_px`` decides about them."""
    return load_detector(settings.detector, settings.detector_model, face_filter=FaceFilter(small_ones=True))


def _load_identity(path: Path) -> FeatureExtractor:
    from lipforcing_core.metrics.networks.catalogue import load_extractor

    return load_extractor("arcface-r100", path)


def require_backends(settings: CurationSettings, *, weights_dir: Path | None = None) -> None:
    """Raise at once what ``load_backends`` would raise in workers for files that are not there.

    One ``MissingWeightsError`` tells of all that are missing, with the key of the settings that takes each. A model
    file of the detector is opened too, so that one which is no model is said before any work (``BadInputError``).
    weights_dir: where the file of the detector is to lie if the settings name none.
    """
    require_none(
        [
            *missing_files(DETECTORS, settings.detector, settings.detector_model, weights_dir=weights_dir),
            *missing_files(
                SYNC_EXPERTS, settings.sync_expert, settings.sync_weights, setting=_key("sync_weights")
            ),
            *missing_files(
                QUALITY_SCORERS, settings.quality, settings.quality_weights, setting=_key("quality_weights")
            ),
        ]
    )
    if settings.identity_model is not None:
        _load_identity(settings.identity_model)
    if settings.detector_model is not None:
        load_detector(settings.detector, settings.detector_model)


def _key(name: str) -> str:
    return f"{name} in the [curation] table of --settings"
