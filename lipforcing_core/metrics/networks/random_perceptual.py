"""The embedded stand-in for LPIPS: its formula on a random network with equal weights for all channels.

Activations of each layer are normalised to unit length over channels, the squared differences averaged over space and
summed over channels and layers (Zhang et al. 2018, without the fitted weights).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from lipforcing_core.metrics.networks.pictures import pair_to_unit_range
from lipforcing_core.metrics.networks.random_conv import RandomConvNet

BATCH_FRAMES = 16

_EPSILON = 1e-10


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
        a_FCHW, b_FCHW = pair_to_unit_range(prediction, truth, self.SIZE)
        parts = []
        for a, b in zip(a_FCHW.split(BATCH_FRAMES), b_FCHW.split(BATCH_FRAMES), strict=True):
            layers = zip(self._net(a), self._net(b), strict=True)
            differences = [(_unit(x) - _unit(y)).square().sum(1).mean((1, 2)) for x, y in layers]
            parts.append(torch.stack(differences).sum(0))
        return torch.cat(parts).double().numpy()


def _unit(x_BCHW: Tensor) -> Tensor:
    return x_BCHW / (x_BCHW.square().sum(1, keepdim=True).sqrt() + _EPSILON)
