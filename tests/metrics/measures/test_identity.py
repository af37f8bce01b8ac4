from types import SimpleNamespace

import numpy as np
import pytest

from lipforcing_core.metrics.measures.identity import CSIM, mean_cosine
from lipforcing_core.metrics.networks.catalogue import load_extractor
from lipforcing_core.metrics.scored import ScoredClip, ScoredPicture
from lipforcing_core.metrics.values import UndefinedMeasure
from tests.metrics.networks.test_random_networks import blurred, clip


def csim(prediction: np.ndarray, truth: np.ndarray) -> float:
    backends = SimpleNamespace(identity_features=load_extractor())
    return CSIM.compute(ScoredClip(prediction, ScoredPicture(truth, backends)))


def test_cosine_by_hand():
    a = np.array([[1.0, 0.0], [3.0, 4.0]])
    b = np.array([[0.0, 2.0], [6.0, 8.0]])
    assert mean_cosine(a, b) == pytest.approx(0.5)
    assert mean_cosine(a, -a) == pytest.approx(-1.0)
    with pytest.raises(UndefinedMeasure, match="zero"):
        mean_cosine(a, np.zeros_like(a))
    for other in (b[:1], b[:, :1]):
        with pytest.raises(ValueError, match="shapes"):
            mean_cosine(a, other)
    with pytest.raises(ValueError, match="shapes"):
        mean_cosine(a[:0], b[:0])
    with pytest.raises(ValueError, match="shapes"):
        mean_cosine(a[0], b[0])


def test_csim_of_the_same_and_of_another_clip():
    assert csim(clip(0), clip(0)) == pytest.approx(1.0)
    assert csim(clip(0), clip(1)) == pytest.approx(csim(clip(1), clip(0)))
    assert csim(clip(0), clip(1)) < csim(clip(0), blurred(clip(0), 0.5)) < 1.0


def test_csim_looks_at_every_fourth_frame_and_embeds_the_truth_once():
    seen = []

    class Extractor:
        backend_id = "first pixel"

        def embed(self, frames: np.ndarray) -> np.ndarray:
            seen.append(frames[:, 0, 0, 0].tolist())
            return frames[:, 0, 0].astype(np.float32)

    frames = np.arange(1, 11, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)
    truth = ScoredPicture(frames, SimpleNamespace(identity_features=Extractor()))
    for _ in range(2):
        assert CSIM.compute(ScoredClip(frames, truth)) == pytest.approx(1.0)
    assert seen == [[1, 5, 9]] * 3
