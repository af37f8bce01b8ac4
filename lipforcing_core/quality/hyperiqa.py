"""HyperIQA (Su et al. 2020), the KonIQ-10k model, through pyiqa and from a local weight file.

100 is best, 0 worst. pyiqa and its weights are licensed for non-commercial use only (PolyForm Noncommercial
1.0.0).
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np

from lipforcing_core.base.errors import BadInputError, LipForcingError
from lipforcing_core.base.products import file_sha256
from lipforcing_core.base.torchvision_shim import ensure_torchvision
from lipforcing_core.quality.protocol import CROP_SIZE, QualityScore, centre_crop, sample_frames

if TYPE_CHECKING:
    import torch


class HyperIqaScorer:
    """``QualityScorer``: mean HyperIQA of the central 224 x 224 pixels of first, middle and last frame, times 100.

    One crop a frame and no resizing, as LatentSync filters (method F.1); pyiqa itself would average 25 crops.
    """

    def __init__(self, path: Path) -> None:
        self._model = _load(path)
        self._device: torch.device | str = "cpu"
        self.backend_id = f"hyperiqa-pyiqa{version('pyiqa')}@sha256:{file_sha256(path)[:12]}"

    def to(self, device: torch.device) -> None:
        """Work on this device from now on."""
        self._model.to(device)
        self._device = device

    def score(self, frames: np.ndarray) -> QualityScore:
        """Score of [F, H, W, 3] uint8 RGB frames; raises ``BadInputError`` below 224 x 224 or without frames."""
        import torch

        sampled = sample_frames(frames)
        if min(sampled.shape[1:3]) < CROP_SIZE:
            raise BadInputError(
                f"hyperiqa needs frames of at least 224 x 224 pixels, not {list(sampled.shape[1:3])}"
            )
        crops = np.ascontiguousarray(centre_crop(sampled, CROP_SIZE, CROP_SIZE).transpose(0, 3, 1, 2))
        with torch.inference_mode():
            values = self._model.forward_patch(torch.from_numpy(crops).to(self._device).float() / 255)
        return QualityScore(value=float(values.mean()) * 100, backend=self.backend_id, higher_is_better=True)


def build_hyperiqa() -> Any:
    """pyiqa's HyperIQA network in evaluation mode with fresh weights, without touching the network.

    pyiqa always asks timm for pretrained backbone weights; the call is intercepted while the network is built.
    """
    ensure_torchvision()
    try:
        import timm
        from pyiqa.archs.hypernet_arch import HyperNet
    except ModuleNotFoundError as error:
        raise LipForcingError(
            f"the hyperiqa measure needs pyiqa: {error}; run `pip install pyiqa`"
        ) from error
    create_model = timm.create_model

    def create_untrained(name: str, pretrained: bool = False, **options: Any) -> Any:
        return create_model(name, pretrained=False, **options)

    with mock.patch("timm.create_model", create_untrained):
        return HyperNet(pretrained=False).eval()


def _load(path: Path) -> Any:
    """The network with the weights of a file that holds them under ``params``, as pyiqa publishes it."""
    import torch

    from lipforcing_core.weights.load import load_network

    with torch.device("meta"):
        network = build_hyperiqa()
    load_network(network, path, root="params", dtype=torch.float32)
    return network
