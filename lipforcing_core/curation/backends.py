"""The three scorers that curation uses, behind their protocols."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lipforcing_core.base.catalogue import Catalogue, F
from lipforcing_core.base.errors import MissingWeightsError
from lipforcing_core.curation.settings import CurationSettings
from lipforcing_core.faces.detectors.catalogue import DETECTORS, load_detector
from lipforcing_core.quality.catalogue import QUALITY_SCORERS, load_quality
from lipforcing_core.sync.experts.catalogue import SYNC_EXPERTS, load_sync_expert
from lipforcing_core.weights.chosen import checked_files

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
    return CurationBackends(
        detector=load_detector(settings.detector, settings.detector_model),
        sync_expert=load_sync_expert(settings.sync_expert, settings.sync_weights),
        quality=load_quality(settings.quality, settings.quality_weights),
    )


def require_backends(settings: CurationSettings, *, detector_missing: str | None = None) -> None:
    """Raise at once what ``load_backends`` would raise in workers for files that are not there.

    One ``MissingWeightsError`` tells of all that are missing, with the key of the settings that takes each. A model
    file of the detector is opened too, so that one which is no model is said before any work (``BadInputError``).
    detector_missing: what is to be said of the detector's file, where it was looked for already and is not there.
    """

    missing = [
        detector_missing or _missing_file(DETECTORS, settings.detector, settings.detector_model),
        _missing_file(SYNC_EXPERTS, settings.sync_expert, settings.sync_weights, key="sync_weights"),
        _missing_file(QUALITY_SCORERS, settings.quality, settings.quality_weights, key="quality_weights"),
    ]
    problems = [problem.removesuffix(".") for problem in missing if problem]
    if len(problems) > 1:
        listed = ". ".join(f"({index}) {problem}" for index, problem in enumerate(problems, 1))
        raise MissingWeightsError(f"{len(problems)} files are needed and not here. {listed}")
    if problems:
        raise MissingWeightsError(problems[0])
    if settings.detector_model is not None:
        load_detector(settings.detector, settings.detector_model)


def _missing_file(catalogue: Catalogue[F], name: str, given: Path | None, *, key: str = "") -> str:
    """What is to be said of a file that the choice needs and that is not there; empty where nothing is missing."""
    try:
        checked_files(catalogue, name, given)
    except MissingWeightsError as error:
        return f"{key} in the [curation] table of --settings: {error}" if key else str(error)
    return ""
