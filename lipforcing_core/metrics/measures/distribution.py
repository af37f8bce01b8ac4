"""FID and FVD: the Frechet distance between the features of predictions and of truths."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lipforcing_core.metrics.backends import Backend
from lipforcing_core.metrics.frechet import resampled_distance
from lipforcing_core.metrics.measures.protocol import FRAME_STRIDE, Direction, Features, SetMeasure
from lipforcing_core.metrics.networks.protocol import WINDOW_FRAMES

if TYPE_CHECKING:
    from lipforcing_core.metrics.backends import Backends


def _image_features(frames: np.ndarray, backends: Backends) -> np.ndarray:
    return backends.image_features.embed(frames[::FRAME_STRIDE])


def _video_features(frames: np.ndarray, backends: Backends) -> np.ndarray:
    return backends.video_features.embed(frames)


FID = SetMeasure(
    name="fid",
    label="FID",
    direction=Direction.LOWER,
    backend=Backend.IMAGE_FEATURES,
    published_name="FID",
    summary="Frechet distance between image features of every fourth aligned frame of predictions and truths. "
    "Biased upwards for few vectors: compare at equal n only.",
    features=Features(name="image", vector_of="frames", embed=_image_features),
    statistic=resampled_distance,
    minimum=0.0,
    min_vectors=2,
    rests_on_covariance=True,
)

FVD = SetMeasure(
    name="fvd",
    label="FVD",
    direction=Direction.LOWER,
    backend=Backend.VIDEO_FEATURES,
    published_name="FVD",
    min_frames=WINDOW_FRAMES,
    summary="Frechet distance between video features of aligned windows of predictions and truths. "
    "Biased upwards for few vectors: compare at equal n only.",
    features=Features(name="video", vector_of="windows", embed=_video_features),
    statistic=resampled_distance,
    minimum=0.0,
    min_vectors=2,
    rests_on_covariance=True,
)
