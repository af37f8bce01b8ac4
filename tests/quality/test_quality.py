"""Quality scores: order of known distortions, frames looked at, errors a user can cause, no network."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from lipforcing_core.base.errors import BadInputError, IncompatibleCheckpointError, MissingWeightsError
from lipforcing_core.quality.catalogue import load_quality
from lipforcing_core.quality.protocol import QualityScorer, centre_crop, sample_frames


@pytest.fixture(scope="module")
def piqe() -> QualityScorer:
    return load_quality("piqe")


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("something tried to use the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture(scope="module")
def portrait() -> np.ndarray:
    from skimage.data import astronaut

    return np.ascontiguousarray(astronaut()[:256, 100:356])


def clip(picture: np.ndarray) -> np.ndarray:
    return np.stack([picture] * 3)


def test_first_middle_last() -> None:
    frames = np.arange(10, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), dtype=np.uint8)
    assert sample_frames(frames)[:, 0, 0, 0].tolist() == [0, 5, 9]
    assert sample_frames(frames[:2])[:, 0, 0, 0].tolist() == [0, 1]
    assert sample_frames(frames[:1])[:, 0, 0, 0].tolist() == [0]


def test_centre_crop_is_central() -> None:
    frames = np.zeros((1, 10, 12, 3), dtype=np.uint8)
    frames[0, 3:7, 4:8] = 1
    assert centre_crop(frames, 4, 4).all()


def test_piqe_tells_distortions_from_the_original(piqe: QualityScorer, portrait: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    noisy = np.clip(portrait + rng.normal(0, 25, portrait.shape), 0, 255).astype(np.uint8)
    blocky = cv2.imdecode(cv2.imencode(".jpg", portrait, [cv2.IMWRITE_JPEG_QUALITY, 5])[1], cv2.IMREAD_COLOR)
    blurred = cv2.GaussianBlur(portrait, (0, 0), 4)
    original = piqe.score(clip(portrait))
    assert original.backend == piqe.backend_id == "piqe-pyiqa0.1.16"
    assert original.higher_is_better is False
    for distorted in (noisy, blocky, blurred):
        assert piqe.score(clip(distorted)).value > original.value + 5
    assert piqe.score(clip(portrait)) == original


def test_piqe_is_the_mean_of_the_three_frames(piqe: QualityScorer, portrait: np.ndarray) -> None:
    frames = np.stack([portrait, portrait[::-1], portrait // 2, portrait[:, ::-1], portrait // 3])
    alone = [piqe.score(frames[index : index + 1]).value for index in (0, 2, 4)]
    assert piqe.score(frames).value == pytest.approx(np.mean(alone))


@pytest.mark.parametrize("level", [0, 1, 128, 255])
def test_a_flat_picture_has_the_worst_score(piqe: QualityScorer, level: int) -> None:
    assert piqe.score(np.full((3, 64, 80, 3), level, dtype=np.uint8)).value == pytest.approx(100.0)


def test_piqe_of_frames_of_any_size(piqe: QualityScorer, portrait: np.ndarray) -> None:
    for height, width in ((16, 16), (100, 130), (256, 240)):
        assert 0 <= piqe.score(clip(portrait[:height, :width])).value <= 100
    with pytest.raises(BadInputError, match="16 x 16"):
        piqe.score(np.zeros((1, 15, 40, 3), dtype=np.uint8))
    with pytest.raises(BadInputError, match="at least one"):
        piqe.score(np.zeros((0, 40, 40, 3), dtype=np.uint8))


def test_wrong_requests(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="piqe, hyperiqa"):
        load_quality("niqe")
    with pytest.raises(BadInputError, match=r"quality scorer 'piqe' takes no file, but .*w\.pth was given"):
        load_quality("piqe", tmp_path / "w.pth")


@pytest.mark.usefixtures("no_network")
def test_hyperiqa_without_weights_says_what_to_get(tmp_path: Path) -> None:
    for path in (None, tmp_path / "absent.pth"):
        with pytest.raises(MissingWeightsError) as caught:
            load_quality("hyperiqa", path)
        assert "Noncommercial" in str(caught.value)
        assert "https://" in str(caught.value)


@pytest.mark.usefixtures("no_network")
def test_hyperiqa_from_a_local_file(tmp_path: Path, portrait: np.ndarray) -> None:
    import torch

    from lipforcing_core.quality.hyperiqa import build_hyperiqa

    torch.manual_seed(0)
    model = build_hyperiqa()
    path = tmp_path / "hyperiqa.pth"
    torch.save({"params": model.state_dict()}, path)
    scorer = load_quality("hyperiqa", path)
    assert scorer.backend_id.startswith("hyperiqa-pyiqa0.1.16@sha256:")
    score = scorer.score(clip(portrait))
    crop = torch.from_numpy(portrait[16:240, 16:240].copy()).permute(2, 0, 1)[None].float() / 255
    with torch.inference_mode():
        assert score.value == pytest.approx(100 * float(model.forward_patch(crop)), rel=1e-4)
    assert score.higher_is_better is True
    with pytest.raises(BadInputError, match="224 x 224"):
        scorer.score(np.zeros((1, 200, 300, 3), dtype=np.uint8))


@pytest.mark.usefixtures("no_network")
def test_hyperiqa_with_a_wrong_file(tmp_path: Path) -> None:
    import torch

    (tmp_path / "junk.pth").write_bytes(b"junk" * 100)
    with pytest.raises(IncompatibleCheckpointError, match=r"junk\.pth"):
        load_quality("hyperiqa", tmp_path / "junk.pth")
    torch.save({"params": {"weight": torch.zeros(2)}}, tmp_path / "other.pth")
    with pytest.raises(IncompatibleCheckpointError, match="is missing"):
        load_quality("hyperiqa", tmp_path / "other.pth")
    torch.save({"weight": torch.zeros(2)}, tmp_path / "bare.pth")
    with pytest.raises(IncompatibleCheckpointError, match="has no 'params'"):
        load_quality("hyperiqa", tmp_path / "bare.pth")
