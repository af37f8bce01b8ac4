"""The three scorers that curation uses, behind their protocols."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lipforcing_core.curation.settings import CurationSettings
from lipforcing_core.errors import MissingWeightsError

if TYPE_CHECKING:
    from lipforcing_core.faces.detect import FaceDetector
    from lipforcing_core.quality.score import QualityScorer
    from lipforcing_core.sync.expert import SyncExpert


@dataclass(frozen=True, kw_only=True)
class CurationBackends:
    """Models, loaded once per process and used for every source."""

    detector: FaceDetector
    sync_expert: SyncExpert
    quality: QualityScorer


def load_backends(settings: CurationSettings) -> CurationBackends:
    """Load the backends that the settings name; raises MissingWeightsError where a file is needed and absent."""
    from lipforcing_core.faces.detect import load_detector
    from lipforcing_core.quality.score import load_quality
    from lipforcing_core.sync.expert import load_sync_expert

    return CurationBackends(
        detector=load_detector(settings.detector, settings.detector_model),
        sync_expert=load_sync_expert(settings.sync_expert, settings.sync_weights),
        quality=load_quality(settings.quality, settings.quality_weights),
    )


def require_backends(settings: CurationSettings) -> None:
    """Raise at once what ``load_backends`` would raise in workers: an unknown detector, a file that is not there.

    ``MissingWeightsError`` names the key of the settings that takes the file.
    """
    from lipforcing_core.faces.detect import load_detector

    load_detector(settings.detector, settings.detector_model)
    if settings.sync_expert == "syncnet-v2":
        _require_file("sync_weights", settings.sync_weights, of="syncnet-v2", instead="nano")
    if settings.quality == "hyperiqa":
        _require_file("quality_weights", settings.quality_weights, of="hyperiqa", instead="piqe")


def _require_file(key: str, given: Path | None, *, of: str, instead: str) -> None:
    from lipforcing_core.weights.registry import given_weight

    try:
        given_weight(of, given, instead=instead)
    except MissingWeightsError as error:
        raise MissingWeightsError(f"{key} in the [curation] table of --settings: {error}") from error
