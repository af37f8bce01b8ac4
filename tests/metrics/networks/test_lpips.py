"""LPIPS on torchvision's backbones: which file it takes, and that the file is what it computes with."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from lipforcing_core.base.errors import IncompatibleCheckpointError, MissingWeightsError
from lipforcing_core.base.products import file_sha256
from lipforcing_core.metrics.networks.catalogue import load_perceptual
from lipforcing_core.metrics.networks.lpips import Lpips, lpips_network
from lipforcing_core.weights.registry import WeightFile, find_weight

LPIPS_BACKBONES = {"lpips-alex": "alex", "lpips-vgg": "vgg"}


def backbone(name: str) -> nn.Sequential:
    """The convolutions of torchvision's AlexNet or of VGG-16 without batch norm, random."""
    torch.manual_seed(0)
    if name == "lpips-alex":
        pool = nn.MaxPool2d(3, stride=2)
        return nn.Sequential(
            *(nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU(), pool),
            *(nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), pool),
            *(nn.Conv2d(192, 384, 3, padding=1), nn.ReLU()),
            *(nn.Conv2d(384, 256, 3, padding=1), nn.ReLU()),
            *(nn.Conv2d(256, 256, 3, padding=1), nn.ReLU()),
        )
    layers: list[nn.Module] = []
    width = 3
    for block, repeats in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        layers += [nn.MaxPool2d(2)] if layers else []
        for _ in range(repeats):
            layers += [nn.Conv2d(width, block, 3, padding=1), nn.ReLU()]
            width = block
    return nn.Sequential(*layers)


def state_of_file(features: nn.Module) -> dict[str, Tensor]:
    """As torchvision saves it, the classifier (not used) cut short."""
    state = {f"features.{name}": value for name, value in features.state_dict().items()}
    return state | {"classifier.6.weight": torch.zeros(1)}


@pytest.mark.parametrize("name", sorted(LPIPS_BACKBONES))
def test_it_needs_the_registered_file(name: str, tmp_path: Path) -> None:
    spec = find_weight(name)
    path = tmp_path / Path(spec.file).name
    for given in (None, path):
        with pytest.raises(MissingWeightsError, match=f"{path.name}.*BSD-3-Clause.*lpips-random-conv-v1"):
            load_perceptual(name, backbone=given)
    expected, other = spec.files[0].expected_hash, tmp_path / "other.pth"
    other.write_bytes(b"something else")
    with pytest.raises(IncompatibleCheckpointError, match=f"expected {expected}"):
        load_perceptual(name, backbone=other)


@pytest.mark.parametrize("name", sorted(LPIPS_BACKBONES))
@torch.no_grad()
def test_it_computes_with_the_given_file(name: str, tmp_path: Path) -> None:
    features, path = backbone(name).eval(), tmp_path / "backbone.pth"
    torch.save(state_of_file(features), path)
    network = lpips_network(LPIPS_BACKBONES[name], path)
    a, b = (torch.rand(2, 3, 64, 64) * 2 - 1 for _ in range(2))
    expected = by_formula(network, features, a, b)
    assert (expected > 0).all()
    torch.testing.assert_close(network(a, b).flatten(), expected, rtol=1e-4, atol=0)
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_distance_of_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "backbone.pth"
    torch.save(state_of_file(backbone("lpips-alex")), path)
    monkeypatch.setattr(WeightFile, "check_content", lambda self, path: None)  # no random file has that hash
    distance = load_perceptual("lpips-alex", backbone=path)
    assert distance.backend_id == f"lpips0.1.4-alex@sha256:{file_sha256(path)[:12]}"
    frame = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    prediction = np.stack([frame, *(cv2.GaussianBlur(frame, (0, 0), sigma) for sigma in (0.5, 2.0))])
    same, mild, strong = distance.distance(prediction, np.stack([frame] * 3))
    assert same == 0.0
    assert 0.0 < mild < strong


def by_formula(network: nn.Module, features: nn.Sequential, a: Tensor, b: Tensor) -> Tensor:
    """Zhang et al. 2018, equation 1: AlexNet compared after each of 5 activations, VGG-16 after each block's last."""
    mean = torch.tensor([-0.030, -0.088, -0.188])[:, None, None]
    spread = torch.tensor([0.458, 0.448, 0.450])[:, None, None]
    x, y = (a - mean) / spread, (b - mean) / spread
    heads = [head.model[-1].weight for head in network.lins]
    total = torch.zeros(len(a))
    compared = (1, 4, 7, 9, 11) if len(features) == 12 else (3, 8, 15, 22, 29)
    for index, layer in enumerate(features):
        x, y = layer(x), layer(y)
        if index in compared:
            difference = functional.normalize(x, dim=1, eps=1e-10) - functional.normalize(y, dim=1, eps=1e-10)
            total += functional.conv2d(difference.square(), heads.pop(0)).mean((1, 2, 3))
    assert not heads
    return total


def test_a_file_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    state, path = state_of_file(backbone("lpips-alex")), tmp_path / "backbone.pth"
    for wrong in (
        state | {"features.0.weight": torch.zeros(1)},
        state | {"features.12.weight": torch.zeros(1)},
        {key: value for key, value in state.items() if key != "features.10.bias"},
    ):
        torch.save(wrong, path)
        with pytest.raises(IncompatibleCheckpointError, match=r"features\.0\.weight|features\.12|10\.bias"):
            lpips_network("alex", path)


class Counting(nn.Module):
    """Stands in for LPIPS: keeps what it is given; the distance is the mean difference."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[int, ...]] = []

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        self.seen.append(tuple(a.shape))
        return (a - b).mean((1, 2, 3), keepdim=True)


def test_frames_pass_in_batches_at_256_pixels() -> None:
    network = Counting().train()
    distance = Lpips(network, "mine")
    assert not network.training
    prediction = np.full((18, 30, 40, 3), 255, np.uint8)
    prediction[17] = 102
    found = distance.distance(prediction, np.full((18, 30, 40, 3), 51, np.uint8))
    assert network.seen == [(16, 3, 256, 256), (2, 3, 256, 256)]
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, [1.6] * 17 + [0.4], atol=1e-6)
