"""The random networks: the numbers that stand behind their ids, and their parts by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from lipforcing_core.metrics.networks import random_conv, random_features, random_perceptual
from lipforcing_core.metrics.networks.pictures import pair_to_unit_range, to_unit_interval, to_unit_range
from lipforcing_core.metrics.networks.random_conv import RandomConvNet
from lipforcing_core.metrics.networks.random_features import RandomImageFeatures, RandomVideoFeatures
from lipforcing_core.metrics.networks.random_perceptual import RandomPerceptual


def waves(num_frames: int, phase: float = 0.0) -> np.ndarray:
    """Coloured waves that move, [F, 70, 90, 3] uint8."""
    time, row, column, colour = np.indices((num_frames, 70, 90, 3))
    return (128 + 100 * np.sin(row / 5 + colour + phase) * np.cos(column / 7 - time / 3)).astype(np.uint8)


IMAGE = [-7.6265, -13.783, -3.217, -9.0745, -4.4822, -0.5796, -2.2848, 6.4662]
VIDEO = [-0.5924, -7.9729, -3.337, 7.2605, 2.8985, 2.3405, 4.4265, 6.6262]
PERCEPTUAL = [0.834894, 0.831514, 0.832003]


def test_the_numbers_behind_the_ids() -> None:
    """Scores of one id compare, so these numbers change only together with the id."""
    images = RandomImageFeatures().embed(waves(18))
    assert images.shape == (18, 64)
    np.testing.assert_allclose([*images[0, :4], *images[17, -3:], images.std()], IMAGE, rtol=1e-3, atol=5e-3)
    videos = RandomVideoFeatures().embed(waves(40))
    assert videos.shape == (4, 32)
    np.testing.assert_allclose([*videos[0, :4], *videos[3, -3:], videos.std()], VIDEO, rtol=1e-3, atol=5e-3)
    distances = RandomPerceptual().distance(waves(18), waves(18, 0.5))
    assert (distances.shape, distances.dtype) == ((18,), np.float64)
    np.testing.assert_allclose([distances[0], distances[17], distances.mean()], PERCEPTUAL, rtol=1e-3)


def test_three_filters_in_four_see_contrast_only_and_all_have_the_same_length() -> None:
    filters = random_conv._filters(np.random.default_rng(0), (9, 3, 5, 5))
    flat = filters.reshape(9, -1).astype(np.float64)
    np.testing.assert_allclose(np.linalg.norm(flat, axis=1), np.sqrt(2 / 1.04), rtol=1e-6)
    assert filters.dtype == np.float32
    sees_brightness = np.abs(flat.mean(axis=1)) > 1e-6
    assert sees_brightness.tolist() == [True, False, False, False, True, False, False, False, True]
    drawn = np.random.default_rng(0).standard_normal((9, 75))
    for number in range(9):
        direction = drawn[number] - (0 if sees_brightness[number] else drawn[number].mean())
        np.testing.assert_allclose(
            flat[number], direction * np.sqrt(2 / 1.04) / np.linalg.norm(direction), atol=1e-6
        )


def test_layers_of_an_image_network_by_their_definition() -> None:
    network = RandomConvNet(widths=(4, 6), kernels=((5, 5), (3, 3)), seed=3)
    x = torch.rand(2, 3, 16, 20) - 0.5
    rng = np.random.default_rng(3)
    expected = []
    for shape, padding in (((4, 3, 5, 5), 2), ((6, 4, 3, 3), 1)):
        weight = torch.from_numpy(random_conv._filters(rng, shape))
        before = functional.conv2d(expected[-1] if expected else x, weight, stride=2, padding=padding)
        expected.append(torch.where(before > 0, before, 0.2 * before))
    found = network(x)
    assert [tuple(layer.shape) for layer in found] == [(2, 4, 8, 10), (2, 6, 4, 5)]
    for layer, want in zip(found, expected, strict=True):
        torch.testing.assert_close(layer, want)
    assert not network.training
    assert network.state_dict() == {}
    assert list(network.parameters()) == []


def test_time_is_halved_from_the_second_layer_on() -> None:
    network = RandomConvNet(widths=(2, 3, 4), kernels=((3, 5, 5), (3, 3, 3), (3, 3, 3)), seed=0)
    layers = network(torch.rand(1, 3, 16, 32, 24))
    assert [tuple(layer.shape) for layer in layers] == [(1, 2, 16, 16, 12), (1, 3, 8, 8, 6), (1, 4, 4, 4, 3)]
    with pytest.raises(ValueError, match="zip"):
        RandomConvNet(widths=(2, 3), kernels=((3, 3),), seed=0)


def test_means_and_deviations_of_all_layers_stand_side_by_side() -> None:
    a, b = torch.rand(2, 3, 4, 5), torch.rand(2, 2, 3, 4, 5)
    pooled = random_features._mean_and_spread([a, b])
    want = [a.mean((2, 3)), a.std((2, 3), correction=0), b.mean((2, 3, 4)), b.std((2, 3, 4), correction=0)]
    torch.testing.assert_close(pooled, torch.cat(want, dim=1))


def test_directions_are_orthonormal_and_their_signs_fixed() -> None:
    q = random_features._orthonormal(12, 5, seed=4).numpy().astype(np.float64)
    np.testing.assert_allclose(q.T @ q, np.eye(5), atol=1e-6)
    drawn = np.random.default_rng(4).standard_normal((12, 5))
    r = q.T @ drawn
    np.testing.assert_allclose(q @ r, drawn, atol=1e-5)  # they span what was drawn, column by column
    np.testing.assert_allclose(np.tril(r, -1), 0, atol=1e-5)
    assert (np.diag(r) > 0).all()


def test_features_are_those_of_each_seed() -> None:
    frames = waves(16)
    for kind in (RandomImageFeatures, RandomVideoFeatures):
        assert kind().backend_id.endswith("@seed0")
        np.testing.assert_array_equal(kind().embed(frames), kind(seed=0).embed(frames))
        assert not np.allclose(kind(seed=1).embed(frames), kind().embed(frames), rtol=0.05)
    assert RandomPerceptual().backend_id == "lpips-random-conv-v1@seed0"
    other = RandomPerceptual(seed=1).distance(frames, waves(16, 0.5))
    assert not np.allclose(other, RandomPerceptual().distance(frames, waves(16, 0.5)), rtol=0.01)


def test_video_windows_are_those_of_the_clip_cut_by_hand() -> None:
    extractor, frames = RandomVideoFeatures(), waves(33)
    found = extractor.embed(frames)
    assert found.shape == (3, 32)
    for number, start in enumerate((0, 8, 16)):
        np.testing.assert_allclose(
            found[number], extractor.embed(frames[start : start + 16])[0], rtol=1e-3, atol=1e-3
        )
    empty = extractor.embed(frames[:15])
    assert (empty.shape, empty.dtype) == ((0, 32), np.float32)


def test_lengths_over_channels_are_one() -> None:
    x = torch.tensor([3.0, 4.0, 0.0])[None, :, None, None].expand(2, 3, 2, 5)
    torch.testing.assert_close(random_perceptual._unit(x), x / 5)
    assert (random_perceptual._unit(torch.zeros(1, 3, 2, 2)) == 0).all()
    tiny = torch.tensor([1e-10, 0.0])[None, :, None, None]  # as long as what is added to every length
    torch.testing.assert_close(random_perceptual._unit(tiny), torch.tensor([0.5, 0.0])[None, :, None, None])


def test_pictures_as_tensors() -> None:
    frames = np.zeros((2, 4, 6, 3), np.uint8)
    frames[1, :2, :3] = (0, 255, 51)
    whole = to_unit_interval(frames)
    assert (whole.shape, whole.dtype) == ((2, 3, 4, 6), torch.float32)
    assert whole[1, :, 0, 0].tolist() == pytest.approx([0.0, 1.0, 0.2])
    reduced = to_unit_range(frames, 2)
    assert (reduced.shape, reduced.dtype) == ((2, 3, 2, 2), torch.float32)
    assert reduced[1, :, 0, 0].tolist() == pytest.approx([-1.0, 1.0, -0.6])
    assert (reduced[1, :, 1, 1] == -1).all()
    board = np.zeros((1, 4, 4, 3), np.uint8)
    board[0, ::2, ::2] = 200
    assert to_unit_range(board, 2)[0, 0].flatten().tolist() == pytest.approx([50 / 127.5 - 1] * 4)
    prediction, truth = pair_to_unit_range(frames, 255 - frames, 3)
    torch.testing.assert_close(prediction, to_unit_range(frames, 3))
    torch.testing.assert_close(truth, to_unit_range(255 - frames, 3))


@pytest.mark.parametrize(
    "wrong", [np.zeros((2, 4, 6), np.uint8), np.zeros((2, 4, 6, 4), np.uint8), np.zeros((2, 4, 6, 3))]
)
def test_what_are_no_pictures(wrong: np.ndarray) -> None:
    for function in (to_unit_interval, lambda frames: to_unit_range(frames, 4)):
        with pytest.raises(ValueError, match=r"expected \[F, H, W, 3\] uint8"):
            function(wrong)
    frames = np.zeros((2, 4, 6, 3), np.uint8)
    with pytest.raises(ValueError, match="clips differ in shape"):
        pair_to_unit_range(frames, frames[:1], 4)
