"""The three scorers that curation uses, behind their protocols."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lipforcing_core.base.errors import MissingWeightsError
from lipforcing_core.curation.settings import CurationSettings

if TYPE_CHECKING:
    from lipforcing_core.faces.detectors.protocol import FaceDetector
    from lipforcing_core.quality.protocol import QualityScorer
    from lipforcing_core.sync.experts.protocol import SyncExpert


@dataclass(frozen=True, kw_only=True)
class CurationBackends:
    """Models, loaded once per process and used for every source."""

    detector: FaceDetector
    sync_expert: SyncExpert
    quality: QualityScorer


def load_backends(settings: CurationSettings) -> CurationBackends:
    """Load the backends that the settings name; raises MissingWeightsError where a file is needed and absent."""
    from lipforcing_core.faces.detectors.catalogue import load_detector
    from lipforcing_core.quality.catalogue import load_quality
    from lipforcing_core.sync.experts.catalogue import load_sync_expert

    return CurationBackends(
        detector=load_detector(settings.detector, settings.detector_model),
        sync_expert=load_sync_expert(settings.sync_expert, settings.sync_weights),
        quality=load_quality(settings.quality, settings.quality_weights),
    )


def require_backends(settings: CurationSettings, *, detector_missing: str | None = None) -> None:
    """Raise at once what ``load_backends`` would raise in workers: an unknown detector, files that are not there.

    One ``MissingWeightsError`` tells of all that are missing, with the key of the settings that takes each.
    detector_missing: what is to be said of the detector's file, where it was looked for already and is not there.
    """
    from lipforcing_core.faces.detectors.catalogue import load_detector

    missing = []
    if detector_missing is not None:
        missing.append(detector_missing)
    else:
        try:
            load_detector(settings.detector, settings.detector_model)
        except MissingWeightsError as error:
            missing.append(str(error))
    if settings.sync_expert == "syncnet-v2":
        missing += _missing_file("sync_weights", settings.sync_weights, of="syncnet-v2", instead="nano")
    if settings.quality == "hyperiqa":
        missing += _missing_file("quality_weights", settings.quality_weights, of="hyperiqa", instead="piqe")
    if len(missing) > 1:
        listed = ". ".join(
            f"({index}) {problem.removesuffix('.')}" for index, problem in enumerate(missing, 1)
        )
        raise MissingWeightsError(f"{len(missing)} files are needed and not here. {listed}")
    if missing:
        raise MissingWeightsError(missing[0])


def _missing_file(key: str, given: Path | None, *, of: str, instead: str) -> list[str]:
    from lipforcing_core.weights.registry import given_weight

    try:
        given_weight(of, given, instead=instead)
    except MissingWeightsError as error:
        return [f"{key} in the [curation] table of --settings: {error}"]
    return []
