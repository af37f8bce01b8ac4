"""SyncNet parts against the golden vectors of the reference implementations."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from lipforcing_core.sync.mfcc import filterbank, mel_filters, mfcc
from lipforcing_core.sync.offset import (
    Edges,
    framewise_confidence,
    mean_distances,
    offset_search,
    shift_distances,
)
from lipforcing_core.sync.syncnet_v2 import SyncNetV2, SyncNetV2Expert, mfcc_windows


@pytest.fixture(scope="module")
def meta(parity_dir: Path) -> dict[str, Any]:
    return json.loads((parity_dir / "syncnet" / "meta.json").read_text())


@pytest.fixture(scope="module")
def vectors(parity_dir: Path, meta: dict[str, Any]) -> dict[str, np.ndarray]:
    tensors: dict[str, np.ndarray] = {}
    for name in meta["files"]:
        tensors |= load_file(parity_dir / "syncnet" / name)
    return tensors


@pytest.mark.parametrize("case", ["mfcc_a", "mfcc_b"])
def test_mfcc(vectors: dict[str, np.ndarray], case: str) -> None:
    waveform = (vectors[f"{case}.in.wav_int16"] / 32768).astype(np.float32)
    filtered, energy = filterbank(waveform)
    np.testing.assert_allclose(filtered, vectors[f"{case}.mid.fbank"], rtol=1e-9)
    np.testing.assert_allclose(energy, vectors[f"{case}.mid.energy"], rtol=1e-9)
    np.testing.assert_allclose(mfcc(waveform), vectors[f"{case}.out.mfcc"], atol=1e-6)


def test_filters(vectors: dict[str, np.ndarray]) -> None:
    np.testing.assert_allclose(mel_filters(), vectors["mfcc_filterbank"], atol=1e-12)


@pytest.mark.parametrize(("case", "reach"), [("off_a", 10), ("off_a", 15), ("off_b", 15)])
def test_offset(vectors: dict[str, np.ndarray], case: str, reach: int) -> None:
    lips, sound = vectors[f"{case}.in.lip_feat"], vectors[f"{case}.in.aud_feat"]
    want = {
        name.split(".")[-1]: value
        for name, value in vectors.items()
        if name.startswith(f"{case}.out.vshift{reach}.")
    }
    distances = shift_distances(lips, sound, reach)
    np.testing.assert_allclose(distances, want["dists"], atol=1e-5)
    np.testing.assert_allclose(framewise_confidence(distances), want["framewise_conf_medfilt"], atol=1e-5)
    score = offset_search(lips, sound, reach, backend="test")
    np.testing.assert_allclose(score.distances, want["mean_dists"], atol=1e-5)
    assert score.offset_frames == want["offset"]
    assert score.distance == pytest.approx(float(want["min_dist"]), abs=1e-5)
    assert score.confidence == pytest.approx(float(want["confidence"]), abs=1e-5)
    overlap = mean_distances(lips, sound, reach, edges=Edges.OVERLAP)
    np.testing.assert_allclose(overlap, want["scorer_mean_dists"], atol=1e-5)
    reward = offset_search(lips, sound, reach, backend="test", edges=Edges.OVERLAP)
    assert reward.confidence == pytest.approx(float(want["scorer_sync_c"]), abs=1e-5)


@pytest.mark.parametrize("case", ["net_chirp", "net_sine"])
def test_network(vectors: dict[str, np.ndarray], meta: dict[str, Any], case: str, tmp_path: Path) -> None:
    spec = next(entry for entry in meta["cases"] if entry["name"] == case)
    state = {name: filled(name, shape, spec["filler"]) for name, shape in meta["state_dict"].items()}
    torch.save(state, tmp_path / "syncnet_v2.model")
    expert = SyncNetV2Expert.load(tmp_path / "syncnet_v2.model")
    frames_rgb = np.ascontiguousarray(vectors[f"{case}.in.frames_bgr_uint8"][..., ::-1])
    waveform = (vectors[f"{case}.in.wav_int16"] / 32768).astype(np.float32)

    count = len(vectors[f"{case}.out.aud"])
    np.testing.assert_allclose(mfcc(waveform).T, vectors[f"{case}.mid.mfcc"], atol=1e-6)
    assert mfcc_windows(waveform, count).shape == (count, 1, 13, 20)
    audio = expert.embed_audio(waveform, len(frames_rgb))
    np.testing.assert_allclose(audio, vectors[f"{case}.out.aud"], atol=spec["atol"]["aud"], rtol=0)
    lips = expert.embed_video(frames_rgb)[:count]
    np.testing.assert_allclose(lips, vectors[f"{case}.out.lip"], atol=spec["atol"]["lip"], rtol=0)


def test_state_dict_has_the_checkpoint_names(meta: dict[str, Any]) -> None:
    state = SyncNetV2().state_dict()
    assert {name: list(value.shape) for name, value in state.items()} == meta["state_dict"]


def filled(name: str, shape: list[int], kind: str) -> torch.Tensor:
    """The weight of this name by the rule of the parity README."""
    last = name.rsplit(".", 1)[-1]
    if last == "num_batches_tracked":
        return torch.tensor(0)
    index = np.arange(int(np.prod(shape)), dtype=np.int64)
    angle = 0.001 * (zlib.crc32(name.encode()) % 100003) + 0.7 * index.astype(np.float64)
    if kind == "chirp":
        angle += 0.37 * ((index * index) % 8191).astype(np.float64)
    wave = np.sin(angle)
    if last == "running_mean":
        value = 0.05 * wave
    elif last == "running_var":
        value = 1 + 0.5 * np.abs(wave)
    elif last == "weight" and len(shape) == 1:
        value = 1 + 0.1 * wave
    elif len(shape) >= 2:
        value = wave * ((2 if kind == "chirp" else 1) / np.sqrt(np.prod(shape[1:])))
    else:
        value = 0.02 * wave
    return torch.from_numpy(value.reshape(shape).astype(np.float32))
