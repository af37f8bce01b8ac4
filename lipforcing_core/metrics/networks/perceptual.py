"""Perceptual distances between aligned crops: LPIPS, and its embedded stand-in on random features.

Both follow Zhang et al. 2018: activations of each layer are normalised to unit length over channels, the squared
differences are weighted per channel, averaged over space and summed over layers.
"""

from __future__ import annotations

import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.products import file_sha256
from lipforcing_core.metrics.networks.protocol import to_unit_range
from lipforcing_core.metrics.networks.random_conv import RandomConvNet
from lipforcing_core.weights.load import load_network
from lipforcing_core.weights.registry import find_weight, given_weight

BATCH_FRAMES = 16
LPIPS_BACKBONES = {"lpips-alex": "alex", "lpips-vgg": "vgg"}
"""Names, as in the registry of weights, and what the package lpips calls the backbone."""

_EPSILON = 1e-10


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


class Lpips:
    """LPIPS 0.1 at 256 x 256 (area). ``network`` comes from ``lpips_network``."""

    SIZE = 256

    def __init__(self, network: nn.Module, backend_id: str) -> None:
        self.backend_id = backend_id
        self._network = network.eval()

    @torch.inference_mode()
    def distance(self, prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
        """See ``PerceptualDistance.distance``."""
        a_FCHW, b_FCHW = _pair(prediction, truth, self.SIZE)
        batches = zip(a_FCHW.split(BATCH_FRAMES), b_FCHW.split(BATCH_FRAMES), strict=True)
        return torch.cat([self._network(a, b).flatten() for a, b in batches]).double().numpy()


def load_perceptual(
    name: str = "lpips-random-conv-v1", *, backbone: Path | None = None
) -> PerceptualDistance:
    """The distance called ``name``: ``lpips-random-conv-v1``, or ``lpips-alex`` or ``lpips-vgg`` on ``backbone``.

    ``backbone`` is torchvision's file of that network. Raises ``MissingWeightsError`` where it is absent,
    ``IncompatibleCheckpointError`` where it is another file, since the heads of LPIPS were fitted to that very one,
    and ``BadInputError`` for any other name.
    """
    if name == "lpips-random-conv-v1":
        return RandomPerceptual()
    if name not in LPIPS_BACKBONES:
        known = ", ".join(["lpips-random-conv-v1", *LPIPS_BACKBONES])
        raise BadInputError(f"unknown perceptual distance {name!r}; known: {known}")
    path = given_weight(name, backbone, instead="lpips-random-conv-v1")
    find_weight(name).files[0].check_content(path)
    network = lpips_network(LPIPS_BACKBONES[name], path)
    implementation = f"lpips{version('lpips')}-{LPIPS_BACKBONES[name]}"
    return Lpips(network, f"{implementation}@sha256:{file_sha256(path)[:12]}")


def lpips_network(backbone: str, path: Path) -> nn.Module:
    """LPIPS with its own bundled heads and the backbone (``alex`` or ``vgg``) of a torchvision file, frozen.

    Maps two batches ``[B, 3, H, W]`` in [-1, 1] to distances ``[B, 1, 1, 1]``. Raises ``IncompatibleCheckpointError``
    where the file does not fit; its classifier is not used.
    """
    from lipforcing_core.base.torchvision_shim import ensure_torchvision

    ensure_torchvision()
    import lpips

    with warnings.catch_warnings():  # lpips uses an argument that torchvision has renamed
        warnings.simplefilter("ignore", UserWarning)
        network = lpips.LPIPS(net=backbone, pnet_rand=True, verbose=False).eval().requires_grad_(False)
    # layer I of torchvision's `features` is `sliceK.I` there
    names = {f"features.{key.partition('.')[2]}": key for key in network.net.state_dict()}

    def name_in_lpips(name: str) -> str | None:
        return None if name.startswith("classifier.") else names.get(name, name)

    load_network(network.net, path, key_map=name_in_lpips)
    return network


def _pair(prediction: np.ndarray, truth: np.ndarray, size: int) -> tuple[Tensor, Tensor]:
    if prediction.shape != truth.shape:
        raise ValueError(f"clips differ in shape: {prediction.shape} and {truth.shape}")
    return to_unit_range(prediction, size), to_unit_range(truth, size)


def _unit(x_BCHW: Tensor) -> Tensor:
    return x_BCHW / (x_BCHW.square().sum(1, keepdim=True).sqrt() + _EPSILON)
