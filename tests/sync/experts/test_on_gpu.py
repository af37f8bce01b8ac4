"""Networks that are moved: inputs go where the network is, results come back, and a GPU says what the CPU says."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lipforcing_core.base.movable import Movable
from lipforcing_core.curation import backends
from lipforcing_core.curation.settings import CurationSettings
from lipforcing_core.sync.experts.syncnet_v2 import SyncNetV2, SyncNetV2Expert

RNG = np.random.default_rng(1)


def clip(num_frames: int = 25) -> tuple[np.ndarray, np.ndarray]:
    frames = RNG.integers(0, 256, (num_frames, 64, 64, 3), dtype=np.uint8)
    return frames, RNG.normal(scale=0.1, size=640 * num_frames).astype(np.float32)


class Elsewhere:
    """A network on a device that this machine has not: notes where its inputs are, and answers on the CPU."""

    def __init__(self) -> None:
        self.at, self.seen = "cpu", set[str]()

    def eval(self) -> Elsewhere:
        return self

    def to(self, device: torch.device) -> None:
        self.at = device.type

    def forward_lip(self, frames_NCFHW: Tensor) -> Tensor:
        self.seen.add(frames_NCFHW.device.type)
        return torch.zeros(len(frames_NCFHW), 1024)

    def forward_audio(self, mfcc_N1CT: Tensor) -> Tensor:
        self.seen.add(mfcc_N1CT.device.type)
        return torch.zeros(len(mfcc_N1CT), 1024)


def test_inputs_go_where_the_network_is() -> None:
    network: Any = Elsewhere()
    expert = SyncNetV2Expert(network, "syncnet")
    frames, waveform = clip()
    expert.score(frames, waveform)
    assert (network.at, network.seen) == ("cpu", {"cpu"})
    network.seen.clear()
    expert.to(torch.device("meta"))
    assert expert.embed_video(frames).shape == (21, 1024)
    assert expert.embed_audio(waveform, 25).shape == (20, 1024)
    assert (network.at, network.seen) == ("meta", {"meta"})


def test_what_scores_clips_is_moved_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    moved: list[tuple[str, str]] = []

    class Model(SimpleNamespace):
        def to(self, device: torch.device) -> None:
            moved.append((self.name, device.type))

    assert isinstance(Model(), Movable)
    for loader, name in (
        ("load_detector", "detector"),
        ("load_sync_expert", "sync"),
        ("load_activity", "speech"),
    ):
        monkeypatch.setattr(backends, loader, lambda *_, name=name, **__: Model(name=name))
    monkeypatch.setattr(backends, "load_quality", lambda *_: SimpleNamespace(name="piqe"))
    backends.load_backends(CurationSettings())
    assert moved == []
    backends.load_backends(CurationSettings(), on_gpu=True)
    assert moved == [("sync", "cuda")]


@pytest.mark.gpu
def test_a_gpu_scores_as_the_cpu_does() -> None:
    torch.manual_seed(0)
    expert = SyncNetV2Expert(SyncNetV2(), "syncnet")
    frames, waveform = clip(40)
    before = expert.embed_video(frames), expert.embed_audio(waveform, 40)
    expert.to(torch.device("cuda"))
    for cpu, gpu in zip(before, (expert.embed_video(frames), expert.embed_audio(waveform, 40)), strict=True):
        assert np.abs(cpu - gpu).max() < 1e-3 * np.abs(cpu).max()
