"""The backends of an evaluation: which networks and detectors stand behind its numbers.

Two sets of networks can score. ``embedded`` needs no files: random features, and a sync expert that knows puppets.
``learned`` is the kind behind published tables: Inception-v3 (FID), I3D (FVD), ArcFace (CSIM), LPIPS on AlexNet and
SyncNet-v2. Every value carries the id of its network, so scores of the two sets never meet in one comparison.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from lipforcing_core.base.catalogue import Catalogue, Entry
from lipforcing_core.metrics.networks.catalogue import (
    FEATURE_NETWORKS,
    PERCEPTUAL_DISTANCES,
    load_extractor,
    load_perceptual,
)
from lipforcing_core.sync.experts.catalogue import SYNC_EXPERTS, load_sync_expert

if TYPE_CHECKING:
    from lipforcing_core.faces.detectors.protocol import FaceDetector
    from lipforcing_core.metrics.networks.protocol import FeatureExtractor, PerceptualDistance, SyncScorer


class Backend(StrEnum):
    """What computes a measure; its id is stored with every value."""

    PIXELS = "pixels"
    APERTURE = "aperture"
    PERCEPTUAL = "perceptual"
    IMAGE_FEATURES = "image features"
    VIDEO_FEATURES = "video features"
    IDENTITY_FEATURES = "identity features"
    SYNC_EXPERT = "sync expert"
    CLOCK = "clock"


PIXELS_ID = "pixels-v1"
APERTURE_ID = "aperture-v1"


@dataclass(frozen=True, kw_only=True)
class NetworkSet(Entry):
    """Which network has which part in an evaluation: names of the catalogues of networks and of sync experts."""

    image_features: str
    video_features: str
    identity_features: str
    perceptual: str
    sync_expert: str


def _network_set(
    name: str, summary: str, *, images: str, videos: str, identities: str, perceptual: str, sync_expert: str
) -> NetworkSet:
    """A set whose weights and licence are those of its networks."""
    networks: list[Entry] = [FEATURE_NETWORKS[network] for network in (images, videos, identities)]
    networks += [PERCEPTUAL_DISTANCES[perceptual], SYNC_EXPERTS[sync_expert]]
    weights = [weight for network in networks for weight in network.weights]
    restricted = [f"{network.name}: {network.licence}" for network in networks if network.licence]
    return NetworkSet(
        name=name,
        summary=summary,
        weights=tuple(dict.fromkeys(weights)),
        licence="; ".join(restricted),
        image_features=images,
        video_features=videos,
        identity_features=identities,
        perceptual=perceptual,
        sync_expert=sync_expert,
    )


NETWORK_SETS = Catalogue(
    kind="set of networks",
    entries=(
        _network_set(
            "embedded",
            "Fixed-seed random networks, named as such, and a sync expert that knows puppets; needs no files.",
            images="random-conv-v1",
            videos="random-conv3d-v1",
            identities="random-conv-v1",
            perceptual="lpips-random-conv-v1",
            sync_expert="nano",
        ),
        _network_set(
            "learned",
            "The kind behind published tables: Inception-v3, I3D, ArcFace, LPIPS on AlexNet and SyncNet-v2.",
            images="inception-v3-fid",
            videos="i3d-400",
            identities="arcface-r100",
            perceptual="lpips-alex",
            sync_expert="syncnet-v2",
        ),
    ),
)


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

    Raises ``BadInputError`` for an unknown set or expert.
    """
    chosen = NETWORK_SETS[networks]
    own = SYNC_EXPERTS[chosen.sync_expert].weights
    others = [name for name in chosen.weights if name not in own]
    return [*others, *SYNC_EXPERTS[sync_expert or chosen.sync_expert].weights]


def load_backends(
    networks: str,
    files: Mapping[str, Path],
    *,
    detector: FaceDetector | None,
    sync_expert: str | None = None,
) -> Backends:
    """The set ``networks``, one of ``NETWORK_SETS``, with its own sync expert or the one named.

    files: the files of ``needed_weights``, by name. Raises ``BadInputError`` for an unknown set or expert,
    ``MissingWeightsError`` for a file that is not there, and ``IncompatibleCheckpointError`` for one that does not fit.

    All networks see the aligned crop of the protocol, whole (LPIPS also the mouth box alone), and resize it themselves:
    Inception-v3 to 299, I3D to 224 with pixels in [-1, 1], ArcFace to 112, LPIPS to 256, SyncNet-v2 to 224. The code
    behind published tables is not public; as far as it is known (method G.2) it takes boxes of a face detector, resized
    to 224, for FID and for FVD (frames 20 to 35, pixels in [0, 1]), the full frame at 112 for CSIM, and the face tracks
    of method F.4 for SyncNet. Values compare within a protocol of this project, not with those tables.
    """
    chosen = NETWORK_SETS[networks]
    expert = SYNC_EXPERTS[sync_expert or chosen.sync_expert]
    of_expert = next((files[name] for name in expert.weights if name in files), None)
    return Backends(
        detector=detector,
        sync=load_sync_expert(expert.name, of_expert),
        perceptual=load_perceptual(chosen.perceptual, files.get(chosen.perceptual)),
        image_features=load_extractor(chosen.image_features, files.get(chosen.image_features)),
        video_features=load_extractor(chosen.video_features, files.get(chosen.video_features)),
        identity_features=load_extractor(chosen.identity_features, files.get(chosen.identity_features)),
    )
