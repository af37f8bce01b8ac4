"""The networks that measures stand on: feature networks (FID, FVD, CSIM) and perceptual distances (LPIPS).

Those that need no file are fixed-seed random networks, named as such. Each lives in a file of its own and is imported
only when it is loaded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lipforcing_core.base.catalogue import Catalogue, Entry
from lipforcing_core.base.errors import BadInputError
from lipforcing_core.weights.registry import given_weight

if TYPE_CHECKING:
    from lipforcing_core.metrics.networks.protocol import FeatureExtractor, PerceptualDistance


@dataclass(frozen=True, kw_only=True)
class NetworkEntry(Entry):
    """A network; its name is also that of its registered weights, and the first part of the ids of its scores.

    stand_in: the network of the same table that takes its place without a file; empty for those that need none.
    """

    stand_in: str = ""


@dataclass(frozen=True, kw_only=True)
class FeatureNetwork(NetworkEntry):
    """A network that turns a clip into vectors. load: makes it, from its weight file where it has one.

    num_features: numbers in one vector. vector_of: what one vector stands for, ``frames`` or ``windows``.
    """

    load: Callable[[Path | None], FeatureExtractor]
    num_features: int
    vector_of: str


@dataclass(frozen=True, kw_only=True)
class PerceptualEntry(NetworkEntry):
    """A perceptual distance. load: makes it, from the weight file of its backbone where it has one."""

    load: Callable[[Path | None], PerceptualDistance]


def _random_images(path: Path | None) -> FeatureExtractor:
    from lipforcing_core.metrics.networks.random_features import RandomImageFeatures

    return RandomImageFeatures()


def _random_videos(path: Path | None) -> FeatureExtractor:
    from lipforcing_core.metrics.networks.random_features import RandomVideoFeatures

    return RandomVideoFeatures()


def _inception(path: Path | None) -> FeatureExtractor:
    from lipforcing_core.metrics.networks.inception_features import InceptionFeatures

    return InceptionFeatures.load(path)


def _i3d(path: Path | None) -> FeatureExtractor:
    from lipforcing_core.metrics.networks.i3d_features import I3DFeatures

    return I3DFeatures.load(path)


def _arcface(path: Path | None) -> FeatureExtractor:
    from lipforcing_core.metrics.networks.arcface import ArcFaceFeatures

    return ArcFaceFeatures.load(path)


def _random_perceptual(path: Path | None) -> PerceptualDistance:
    from lipforcing_core.metrics.networks.random_perceptual import RandomPerceptual

    return RandomPerceptual()


def _lpips_alex(path: Path | None) -> PerceptualDistance:
    from lipforcing_core.metrics.networks.lpips import Lpips

    return Lpips.load("alex", path)


def _lpips_vgg(path: Path | None) -> PerceptualDistance:
    from lipforcing_core.metrics.networks.lpips import Lpips

    return Lpips.load("vgg", path)


FEATURE_NETWORKS = Catalogue(
    kind="feature network",
    entries=(
        FeatureNetwork(
            name="random-conv-v1",
            summary="Random image network with a fixed seed: orders degradations, knows nothing of people.",
            load=_random_images,
            num_features=64,
            vector_of="frames",
        ),
        FeatureNetwork(
            name="random-conv3d-v1",
            summary="Random space-time network with a fixed seed: orders degradations, knows nothing of people.",
            load=_random_videos,
            num_features=32,
            vector_of="windows",
        ),
        FeatureNetwork(
            name="inception-v3-fid",
            summary="Inception-v3 as FID was defined with it.",
            weights=("inception-v3-fid",),
            load=_inception,
            num_features=2048,
            vector_of="frames",
            stand_in="random-conv-v1",
        ),
        FeatureNetwork(
            name="i3d-400",
            summary="I3D of Kinetics-400, the network behind FVD.",
            weights=("i3d-400",),
            load=_i3d,
            num_features=400,
            vector_of="windows",
            stand_in="random-conv3d-v1",
        ),
        FeatureNetwork(
            name="arcface-r100",
            summary="ArcFace ResNet-100, the identity embedding behind CSIM.",
            weights=("arcface-r100",),
            licence="non-commercial research only",
            load=_arcface,
            num_features=512,
            vector_of="frames",
            stand_in="random-conv-v1",
        ),
    ),
)

PERCEPTUAL_DISTANCES = Catalogue(
    kind="perceptual distance",
    entries=(
        PerceptualEntry(
            name="lpips-random-conv-v1",
            summary="The formula of LPIPS on a random image network with a fixed seed.",
            load=_random_perceptual,
        ),
        PerceptualEntry(
            name="lpips-alex",
            summary="LPIPS 0.1 on AlexNet.",
            weights=("lpips-alex",),
            load=_lpips_alex,
            stand_in="lpips-random-conv-v1",
        ),
        PerceptualEntry(
            name="lpips-vgg",
            summary="LPIPS 0.1 on VGG-16.",
            weights=("lpips-vgg",),
            load=_lpips_vgg,
            stand_in="lpips-random-conv-v1",
        ),
    ),
)


def load_extractor(name: str = FEATURE_NETWORKS.default, weights: Path | None = None) -> FeatureExtractor:
    """The feature network called ``name``, from the file ``weights`` where it has one.

    Its backend id is the name, and the first digits of the file's hash. Raises ``MissingWeightsError`` where a needed
    file is absent, ``IncompatibleCheckpointError`` where it does not fit, and ``BadInputError`` for any other name or
    for a file where none is read.
    """
    entry = FEATURE_NETWORKS[name]
    return entry.load(_file(entry, weights))


def load_perceptual(
    name: str = PERCEPTUAL_DISTANCES.default, backbone: Path | None = None
) -> PerceptualDistance:
    """The perceptual distance called ``name``, on torchvision's file of its ``backbone`` where it has one.

    Raises as ``load_extractor`` does; ``IncompatibleCheckpointError`` also where the file is another than the very one
    that the heads of LPIPS were fitted to.
    """
    entry = PERCEPTUAL_DISTANCES[name]
    return entry.load(_file(entry, backbone))


def is_stand_in(backend: str) -> bool:
    """Whether a score with this backend id is of a network that stands in for a learned one."""
    entries: list[NetworkEntry] = [*FEATURE_NETWORKS, *PERCEPTUAL_DISTANCES]
    return backend.partition("@")[0] in {entry.stand_in for entry in entries if entry.stand_in}


def _file(entry: NetworkEntry, given: Path | None) -> Path | None:
    if entry.weights:
        return given_weight(entry.weights[0], given, instead=entry.stand_in)
    if given is not None:
        raise BadInputError(f"{entry.name} takes no file, but {given} was given")
    return None
