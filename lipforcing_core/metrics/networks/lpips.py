"""LPIPS (Zhang et al. 2018) through the package of its authors, on a local file of its backbone.

Activations of each layer are normalised to unit length over channels, the squared differences are weighted per channel,
averaged over space and summed over layers.
"""

from __future__ import annotations

import warnings
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from torch import nn

from lipforcing_core.base.products import file_sha256
from lipforcing_core.metrics.networks.pictures import pair_to_unit_range
from lipforcing_core.weights.load import load_network
from lipforcing_core.weights.registry import find_weight

BATCH_FRAMES = 16


class Lpips:
    """LPIPS 0.1 at 256 x 256 (area). ``network`` comes from ``lpips_network``."""

    SIZE = 256

    def __init__(self, network: nn.Module, backend_id: str) -> None:
        self.backend_id = backend_id
        self._network = network.eval()

    @classmethod
    def load(cls, backbone: str, path: Path | None) -> Lpips:
        """On the backbone ``alex`` or ``vgg`` in torchvision's file of it.

        Raises ``IncompatibleCheckpointError`` where it is another file, since the heads of LPIPS were fitted to that
        very one.
        """
        assert path is not None, "the catalogue gives the file of a learned network"
        find_weight(f"lpips-{backbone}").files[0].check_content(path)
        network = lpips_network(backbone, path)
        return cls(network, f"lpips{version('lpips')}-{backbone}@sha256:{file_sha256(path)[:12]}")

    @torch.inference_mode()
    def distance(self, prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
        """See ``PerceptualDistance.distance``."""
        a_FCHW, b_FCHW = pair_to_unit_range(prediction, truth, self.SIZE)
        batches = zip(a_FCHW.split(BATCH_FRAMES), b_FCHW.split(BATCH_FRAMES), strict=True)
        return torch.cat([self._network(a, b).flatten() for a, b in batches]).double().numpy()


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
