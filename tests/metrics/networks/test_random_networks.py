import cv2
import numpy as np
import pytest

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.metrics.frechet import frechet_distance
from lipforcing_core.metrics.networks.catalogue import load_extractor, load_perceptual
from lipforcing_core.metrics.networks.random_features import RandomImageFeatures


def clip(seed: int, num_frames: int = 8, size: int = 64) -> np.ndarray:
    rng = np.random.default_rng(seed)
    picture = cv2.resize(rng.integers(0, 256, (12, 12, 3), dtype=np.uint8), (size, size))
    return np.stack([np.roll(picture, k, axis=1) for k in range(num_frames)])


def blurred(frames: np.ndarray, sigma: float) -> np.ndarray:
    return np.stack([cv2.GaussianBlur(frame, (0, 0), sigma) for frame in frames])


def test_image_features_are_fixed_and_named():
    extractor = load_extractor("random-conv-v1")
    features = extractor.embed(clip(0))
    assert extractor.backend_id == "random-conv-v1@seed0"
    assert features.shape == (8, 64)
    assert features.dtype == np.float32
    np.testing.assert_array_equal(features, load_extractor("random-conv-v1").embed(clip(0)))
    other = RandomImageFeatures(seed=1)
    assert other.backend_id == "random-conv-v1@seed1"
    assert not np.allclose(features, other.embed(clip(0)))


def test_image_features_do_not_depend_on_the_rest_of_the_clip():
    extractor, frames = load_extractor("random-conv-v1"), clip(0, num_frames=20)
    np.testing.assert_allclose(
        extractor.embed(frames)[17], extractor.embed(frames[17:18])[0], rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize(("num_frames", "num_windows"), [(15, 0), (16, 1), (23, 1), (24, 2), (81, 9)])
def test_video_features_have_one_vector_a_window(num_frames: int, num_windows: int):
    extractor = load_extractor("random-conv3d-v1")
    assert extractor.backend_id == "random-conv3d-v1@seed0"
    assert extractor.embed(clip(0, num_frames, size=32)).shape == (num_windows, 32)


def test_video_features_see_motion():
    extractor = load_extractor("random-conv3d-v1")
    moving = clip(0, 32)
    frozen = np.repeat(moving[:1], 32, axis=0)
    shuffled = moving[np.random.default_rng(0).permutation(32)]
    assert np.linalg.norm(extractor.embed(moving) - extractor.embed(frozen)) > 0.1
    assert np.linalg.norm(extractor.embed(moving) - extractor.embed(shuffled)) > 0.1


@pytest.mark.parametrize("name", ["random-conv-v1", "random-conv3d-v1"])
def test_frechet_distance_of_random_features_orders_blur(name: str):
    extractor = load_extractor(name)
    truth = np.concatenate([clip(k, 24) for k in range(3)])
    distances = [
        frechet_distance(extractor.embed(truth), extractor.embed(x))
        for x in (truth, blurred(truth, 1.0), blurred(truth, 3.0))
    ]
    assert distances[0] == pytest.approx(0.0, abs=1e-6)
    assert distances[0] < distances[1] < distances[2]


def test_unknown_extractor_is_refused():
    with pytest.raises(BadInputError, match="random-conv3d-v1"):
        load_extractor("resnet")


def test_perceptual_identity_symmetry_and_order():
    distance = load_perceptual()
    truth = clip(3)
    assert distance.backend_id == "lpips-random-conv-v1@seed0"
    assert distance.distance(truth, truth).tolist() == [0.0] * 8
    mild, strong = blurred(truth, 1.0), blurred(truth, 3.0)
    np.testing.assert_allclose(distance.distance(mild, truth), distance.distance(truth, mild))
    assert (distance.distance(mild, truth) < distance.distance(strong, truth)).all()
    with pytest.raises(ValueError, match="shape"):
        distance.distance(truth, truth[:1])


def test_unknown_distance_is_refused():
    with pytest.raises(BadInputError, match="lpips-alex"):
        load_perceptual("vgg")
