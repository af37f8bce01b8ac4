"""Where one more implementation can be chosen: every seam of the core with its catalogue.

Reading them imports no network: a catalogue loads an implementation when somebody asks for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lipforcing_core.base.catalogue import Catalogue
from lipforcing_core.corpora.catalogue import CORPORA
from lipforcing_core.export.catalogue import EXPORTS
from lipforcing_core.faces.detectors.catalogue import DETECTORS
from lipforcing_core.metrics.measures.catalogue import MEASURES
from lipforcing_core.metrics.networks.catalogue import FEATURE_NETWORKS, PERCEPTUAL_DISTANCES
from lipforcing_core.models.audio_encoders.catalogue import AUDIO_ENCODERS
from lipforcing_core.models.bases.catalogue import BASES
from lipforcing_core.models.codecs.catalogue import CODECS
from lipforcing_core.models.text_encoders.catalogue import TEXT_ENCODERS
from lipforcing_core.presets.catalogue import shipped_presets
from lipforcing_core.quality.catalogue import QUALITY_SCORERS
from lipforcing_core.sound.activity.catalogue import ACTIVITY_DETECTORS
from lipforcing_core.sync.experts.catalogue import SYNC_EXPERTS
from lipforcing_core.training.strategies.catalogue import STRATEGIES


@dataclass(frozen=True, kw_only=True)
class Seam:
    """A seam: its catalogue, and where it is.

    folder: of protocol and implementations, below the root of the project. has_tiers: whether some of its entries need
    a downloaded file and others stand in for them.
    """

    catalogue: Catalogue[Any]
    folder: str
    has_tiers: bool = True

    @property
    def name(self) -> str:
        """What one implementation is, in the singular."""
        return self.catalogue.kind


def all_seams() -> tuple[Seam, ...]:
    """Every seam, in the order of the pipeline."""
    return (
        Seam(catalogue=shipped_presets(), folder="lipforcing_core/presets"),
        Seam(catalogue=BASES, folder="lipforcing_core/models/bases", has_tiers=False),
        Seam(catalogue=CODECS, folder="lipforcing_core/models/codecs"),
        Seam(catalogue=AUDIO_ENCODERS, folder="lipforcing_core/models/audio_encoders"),
        Seam(catalogue=TEXT_ENCODERS, folder="lipforcing_core/models/text_encoders"),
        Seam(catalogue=ACTIVITY_DETECTORS, folder="lipforcing_core/sound/activity", has_tiers=False),
        Seam(catalogue=DETECTORS, folder="lipforcing_core/faces/detectors"),
        Seam(catalogue=SYNC_EXPERTS, folder="lipforcing_core/sync/experts"),
        Seam(catalogue=QUALITY_SCORERS, folder="lipforcing_core/quality"),
        Seam(catalogue=EXPORTS, folder="lipforcing_core/export", has_tiers=False),
        Seam(catalogue=FEATURE_NETWORKS, folder="lipforcing_core/metrics/networks"),
        Seam(catalogue=PERCEPTUAL_DISTANCES, folder="lipforcing_core/metrics/networks"),
        Seam(catalogue=MEASURES, folder="lipforcing_core/metrics/measures", has_tiers=False),
        Seam(catalogue=CORPORA, folder="lipforcing_core/corpora", has_tiers=False),
        Seam(catalogue=STRATEGIES, folder="lipforcing_core/training/strategies", has_tiers=False),
    )
