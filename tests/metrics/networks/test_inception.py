"""The FID Inception-v3 against torchvision's Inception-v3 with its poolings replaced, and against plain formulas."""

from __future__ import annotations

from unittest import mock

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from lipforcing_core.base.torchvision_shim import ensure_torchvision
from lipforcing_core.metrics.networks.inception import InceptionPool


@pytest.fixture(scope="module")
def network() -> InceptionPool:
    torch.manual_seed(0)
    network = InceptionPool().eval()
    for (
        module
    ) in network.modules():  # so that the image reaches the last layer, and no two channels are alike
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.1)
    return network


@torch.inference_mode()
def test_agrees_with_torchvision_but_for_the_poolings(network: InceptionPool) -> None:
    """torchvision has nine 3x3 averages (3 A, 4 C, 2 E); FID's network does them otherwise, the last by maximum."""
    torchvision = ensure_torchvision()
    reference = torchvision.models.inception_v3(
        weights=None, num_classes=1008, aux_logits=False, transform_input=False, init_weights=False
    ).eval()
    reference.load_state_dict(network.state_dict(), strict=True)
    pooled: list[Tensor] = []
    reference.avgpool.register_forward_hook(lambda module, inputs, output: pooled.append(output.flatten(1)))
    images = torch.rand(2, 3, 80, 64) * 2 - 1
    resized = functional.interpolate(images, (299, 299), mode="bilinear", align_corners=False)

    average, calls = functional.avg_pool2d, 0

    def pool(x: Tensor, **settings: int) -> Tensor:
        nonlocal calls
        calls += 1
        if calls == 9:
            return functional.max_pool2d(x, 3, stride=1, padding=1)
        return average(x, **settings, count_include_pad=False)

    with mock.patch("torch.nn.functional.avg_pool2d", pool):
        reference(resized)
    assert calls == 9
    features = network(images)
    assert features.shape == (2, 2048)
    assert features.std() > 0.01
    assert (features[0] - features[1]).abs().max() > 0.01
    torch.testing.assert_close(features, pooled[0], rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        reference(resized)  # with its own poolings
    assert (features - pooled[1]).abs().max() > 0.01


def test_names_and_shapes_of_the_public_file() -> None:
    with torch.device("meta"):
        shapes = {name: tuple(value.shape) for name, value in InceptionPool().state_dict().items()}
    assert len(shapes) == 94 * 6 + 2  # 94 convolutions with a batch norm each, and the classifier
    expected = {
        "Conv2d_1a_3x3.conv.weight": (32, 3, 3, 3),
        "Conv2d_1a_3x3.bn.running_var": (32,),
        "Conv2d_4a_3x3.conv.weight": (192, 80, 3, 3),
        "Mixed_5b.branch_pool.conv.weight": (32, 192, 1, 1),
        "Mixed_6b.branch7x7dbl_2.conv.weight": (128, 128, 7, 1),
        "Mixed_6e.branch7x7_2.conv.weight": (192, 192, 1, 7),
        "Mixed_7a.branch7x7x3_4.conv.weight": (192, 192, 3, 3),
        "Mixed_7c.branch3x3dbl_3b.conv.weight": (384, 384, 3, 1),
        "Mixed_7c.branch_pool.bn.num_batches_tracked": (),
        "fc.weight": (1008, 2048),
        "fc.bias": (1008,),
    }
    assert expected.items() <= shapes.items()


@pytest.mark.parametrize(("block", "channels", "pool"), [
    ("Mixed_5b", 192, np.mean), ("Mixed_6e", 768, np.mean), ("Mixed_7b", 1280, np.mean), ("Mixed_7c", 2048, np.max),
])  # fmt: skip
@torch.inference_mode()
def test_pooling_branch_by_hand(block: str, channels: int, pool: object) -> None:
    """The branch passes channel 0 on unchanged, so the block shows what it pooled: border windows are cut off."""
    module = getattr(InceptionPool().eval(), block)
    unit = module.branch_pool
    unit.conv.weight.zero_()[0, 0] = 1.0
    x = torch.rand(1, channels, 5, 6)
    picture = x[0, 0].numpy()
    windows = [[picture[max(y - 1, 0) : y + 2, max(c - 1, 0) : c + 2] for c in range(6)] for y in range(5)]
    expected = np.array([[pool(window) for window in row] for row in windows])  # type: ignore[operator]
    first_pooled = module(x).shape[1] - unit.conv.out_channels
    got = module(x)[0, first_pooled].numpy() * np.sqrt(1 + 0.001)
    np.testing.assert_allclose(got, expected, rtol=1e-5)
