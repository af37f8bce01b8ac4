"""Perceptual distances between aligned crops: LPIPS, and its embedded stand-in on random features.

Both follow Zhang et al. 2018: activations of each layer are normalised to unit length over channels, the squared
differences are weighted per channel, averaged over space and summed over layers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from lipforcing_core.errors import BadInputError, IncompatibleCheckpointError, MissingWeightsError
from lipforcing_core.metrics.features import to_unit_range
from lipforcing_core.metrics.random_conv import RandomConvNet
from lipforcing_core.products import file_sha256

BATCH_FRAMES = 16
ALEXNET_FILE = "alexnet-owt-7be5be79.pth"
ALEXNET_SHA256_PREFIX = "7be5be79"
ALEXNET_URL = f"https://download.pytorch.org/models/{ALEXNET_FILE}"

_EPSILON = 1e-10
_ALEX_SLICES = {0: 1, 3: 2, 6: 3, 8: 4, 10: 5}


class PerceptualDistance(Protocol):
    """A distance between frames that tracks what people see better than squared error."""

    @property
    def backend_id(self) -> str:
        """Which network, in which version, with which weights."""
        ...

    def distance(self, prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
        """``[F] float64``, 0 for equal frames; both clips ``[F, H, W, 3] uint8 RGB``."""
        ...


class RandomPerceptual:
    """LPIPS with a fixed-seed random network in place of AlexNet and equal weights for all channels.

    Frames are compared at 128 x 128 (area). It ranks distortions; it was not fitted to people's judgements.
    """

    SIZE = 128

    def __init__(self, seed: int = 0) -> None:
        self.backend_id = f"lpips-random-conv-v1@seed{seed}"
        self._net = RandomConvNet(widths=(16, 32, 64), kernels=((5, 5), (3, 3), (3, 3)), seed=seed)

    @torch.inference_mode()
    def distance(self, prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
        """See ``PerceptualDistance.distance``."""
        a_FCHW, b_FCHW = _pair(prediction, truth, self.SIZE)
        parts = []
        for a, b in zip(a_FCHW.split(BATCH_FRAMES), b_FCHW.split(BATCH_FRAMES), strict=True):
            layers = zip(self._net(a), self._net(b), strict=True)
            differences = [(_unit(x) - _unit(y)).square().sum(1).mean((1, 2)) for x, y in layers]
            parts.append(torch.stack(differences).sum(0))
        return torch.cat(parts).double().numpy()


class LpipsAlex:
    """LPIPS 0.1 with the AlexNet backbone at 256 x 256 (area), from a local torchvision backbone file.

    Raises ``MissingWeightsError`` where the file is absent and ``IncompatibleCheckpointError`` where its hash is not
    the one in its name.
    """

    SIZE = 256

    def __init__(self, backbone: Path | None) -> None:
        if backbone is None or not backbone.is_file():
            problem = "no backbone file was given" if backbone is None else f"{backbone} does not exist"
            raise MissingWeightsError(
                f"LPIPS needs {ALEXNET_FILE}: {problem}. Get it from torchvision, {ALEXNET_URL} (233 MB; licence: "
                "BSD-3-Clause), and give its path; or use 'lpips-random-conv-v1', whose scores carry its own name."
            )
        digest = file_sha256(backbone)
        if not digest.startswith(ALEXNET_SHA256_PREFIX):
            raise IncompatibleCheckpointError(
                f"{backbone}: sha256 starts with {digest[:8]}, expected {ALEXNET_SHA256_PREFIX}; get {ALEXNET_URL}"
            )
        self.backend_id = f"lpips0.1.4-alex@sha256:{digest[:12]}"
        self._net = _lpips_network(torch.load(backbone, map_location="cpu", weights_only=True))

    @torch.inference_mode()
    def distance(self, prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
        """See ``PerceptualDistance.distance``."""
        a_FCHW, b_FCHW = _pair(prediction, truth, self.SIZE)
        batches = zip(a_FCHW.split(BATCH_FRAMES), b_FCHW.split(BATCH_FRAMES), strict=True)
        return torch.cat([self._net(a, b).flatten() for a, b in batches]).double().numpy()


def load_perceptual(
    name: str = "lpips-random-conv-v1", *, backbone: Path | None = None
) -> PerceptualDistance:
    """The distance called ``name``: ``lpips-random-conv-v1`` or ``lpips-alex`` (needs ``backbone``)."""
    if name == "lpips-random-conv-v1":
        return RandomPerceptual()
    if name == "lpips-alex":
        return LpipsAlex(backbone)
    raise BadInputError(f"unknown perceptual distance {name!r}; known: lpips-random-conv-v1, lpips-alex")


def _lpips_network(backbone: dict[str, Tensor]) -> Any:
    """LPIPS with its own bundled heads and the given AlexNet weights; raises on a key that does not fit."""
    from lipforcing_core.torchvision_shim import ensure_torchvision

    ensure_torchvision()
    import lpips

    network = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False).eval().requires_grad_(False)
    wanted = network.net.state_dict()
    for index, slice_number in _ALEX_SLICES.items():
        for part in ("weight", "bias"):
            source, target = f"features.{index}.{part}", f"slice{slice_number}.{index}.{part}"
            if source not in backbone or backbone[source].shape != wanted[target].shape:
                raise IncompatibleCheckpointError(
                    f"AlexNet backbone: key {source} is missing or of another shape"
                )
            wanted[target] = backbone[source]
    network.net.load_state_dict(wanted)
    return network


def _pair(prediction: np.ndarray, truth: np.ndarray, size: int) -> tuple[Tensor, Tensor]:
    if prediction.shape != truth.shape:
        raise ValueError(f"clips differ in shape: {prediction.shape} and {truth.shape}")
    return to_unit_range(prediction, size), to_unit_range(truth, size)


def _unit(x_BCHW: Tensor) -> Tensor:
    return x_BCHW / (x_BCHW.square().sum(1, keepdim=True).sqrt() + _EPSILON)
