"""Learned extractors: what they ask for, what they load, and what they hand to their networks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from lipforcing_core.base.errors import IncompatibleCheckpointError, MissingWeightsError
from lipforcing_core.base.products import file_sha256
from lipforcing_core.metrics.networks.catalogue import FEATURE_NETWORKS, load_extractor
from lipforcing_core.metrics.networks.i3d import I3D, preprocess
from lipforcing_core.metrics.networks.i3d_features import I3DFeatures
from lipforcing_core.metrics.networks.inception import InceptionPool
from lipforcing_core.metrics.networks.inception_features import InceptionFeatures
from lipforcing_core.weights.registry import find_weight

NETWORKS = {"i3d-400": I3D, "inception-v3-fid": InceptionPool}


class Recorder(nn.Module):
    """Stands in for a network: keeps its inputs and returns the mean of each sample."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(x)
        return x.flatten(1).mean(1, keepdim=True)


@pytest.fixture
def states() -> dict[str, dict[str, Tensor]]:
    torch.manual_seed(0)
    return {name: network().state_dict() for name, network in NETWORKS.items()}


@pytest.mark.parametrize("name", [entry.name for entry in FEATURE_NETWORKS if entry.weights])
def test_without_its_file_it_says_what_it_needs(name: str, tmp_path: Path) -> None:
    spec = find_weight(name)
    for given in (None, tmp_path / "not there"):
        with pytest.raises(MissingWeightsError) as error:
            load_extractor(name, weights=given)
        for part in (
            name,
            Path(spec.file).name,
            spec.source,
            spec.url,
            spec.licence,
            FEATURE_NETWORKS[name].stand_in,
        ):
            assert part in str(error.value)
    assert "not there" in str(error.value)


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_a_file_fills_its_network_and_names_the_backend(
    name: str, tmp_path: Path, states: dict[str, dict[str, Tensor]]
) -> None:
    path = tmp_path / "weights.pt"
    torch.save(states[name], path)
    extractor = load_extractor(name, weights=path)
    assert extractor.backend_id == f"{name}@sha256:{file_sha256(path)[:12]}"
    network = extractor._network
    assert isinstance(network, NETWORKS[name])
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())
    torch.testing.assert_close(network.state_dict(), states[name], rtol=0, atol=0)


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_a_file_of_another_network_is_refused(
    name: str, tmp_path: Path, states: dict[str, dict[str, Tensor]]
) -> None:
    path = tmp_path / "weights.safetensors"
    last = next(key for key in states[name] if key.endswith("Conv3d_1a_7x7.bn.bias") or key == "fc.bias")
    for state in (
        {key: value for key, value in states[name].items() if key != last},
        states[name] | {last: states[name][last][1:].clone()},
        states[name] | {f"{last}es": torch.zeros(1)},
    ):
        save_file(state, path)
        with pytest.raises(IncompatibleCheckpointError, match=last):
            load_extractor(name, weights=path)


def test_video_windows_are_sixteen_frames_every_eight() -> None:
    network = Recorder()
    extractor = I3DFeatures(network, "test")  # type: ignore[arg-type]
    frames = np.empty((32, 30, 40, 3), dtype=np.uint8)
    frames[:] = np.arange(32)[:, None, None, None]
    features = extractor.embed(frames)
    expected = [(2 * np.arange(start, start + 16) / 255 - 1).mean() for start in (0, 8, 16)]
    np.testing.assert_allclose(features[:, 0], expected, atol=1e-6)
    assert [tuple(x.shape) for x in network.seen] == [(1, 3, 16, 224, 224)] * 3
    assert extractor.embed(frames[:15]).shape == (0, 400)
    with pytest.raises(ValueError, match="uint8"):
        extractor.embed(frames.astype(np.float32))


def test_images_enter_inception_in_batches_and_in_its_range() -> None:
    network = Recorder()
    extractor = InceptionFeatures(network, "test")  # type: ignore[arg-type]
    frames = np.zeros((18, 20, 30, 3), dtype=np.uint8)
    frames[17] = 255
    features = extractor.embed(frames)
    assert features[:, 0].tolist() == [-1.0] * 17 + [1.0]
    assert [tuple(x.shape) for x in network.seen] == [(16, 3, 20, 30), (2, 3, 20, 30)]


def test_i3d_input_is_truncated_centred_and_scaled() -> None:
    video = torch.zeros(1, 3, 2, 224, 300)
    video[..., 38] = 1.9 / 255  # the first column that the centre crop keeps
    video[..., 37] = 1.0
    video[:, 1, 1, :, 261] = 1.0  # the last one, in green of the second frame
    prepared = preprocess(video)
    assert prepared.shape == (1, 3, 2, 224, 224)
    torch.testing.assert_close(prepared[..., 0], torch.full((1, 3, 2, 224), 2 / 255 - 1))
    assert (prepared[:, 1, 1, :, -1] == 1).all()
    assert (prepared[..., 1:-1] == -1).all()
    tall = preprocess(torch.rand(1, 3, 1, 90, 60))
    assert tall.shape == (1, 3, 1, 224, 224)


@pytest.mark.parametrize("shape", [(1, 3, 8, 224, 224), (1, 3, 16, 112, 112), (1, 1, 16, 224, 224)])
def test_i3d_refuses_other_sizes(shape: tuple[int, ...]) -> None:
    with torch.device("meta"):
        network = I3D().eval()
        with pytest.raises(ValueError, match="at least 9 frames"):
            network(torch.zeros(shape))
        assert network(torch.zeros(2, 3, 9, 224, 224)).shape == (2, 400)
