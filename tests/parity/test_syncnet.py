"""SyncNet parts against the golden vectors of the reference implementations."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from lipforcing_core.sync.mfcc import filterbank, mel_filters, mfcc
from lipforcing_core.sync.offset import (
    Edges,
    framewise_confidence,
    mean_distances,
    offset_search,
    shift_distances,
)
from lipforcing_core.sync.syncnet_v2 import SyncNetV2, SyncNetV2Expert, mfcc_windows
from tests.parity.filler import Vectors, assert_close, fill_module, load_vectors


@pytest.fixture(scope="module")
def vectors(parity_dir: Path) -> Vectors:
    return load_vectors(parity_dir, "syncnet")


def waveform_of(wav_int16: torch.Tensor) -> np.ndarray:
    return (wav_int16.numpy() / 32768).astype(np.float32)


def check(got: np.ndarray | float, want: torch.Tensor, atol: float, what: str) -> None:
    assert_close(torch.as_tensor(got), want, atol, what)


def test_every_mfcc(vectors: Vectors) -> None:
    """Filter outputs and energies are compared as they enter the cepstra: logarithms, with a floor under silence."""
    cases = vectors.cases(kind="mfcc")
    assert cases
    for case in cases:
        name, atol, data = case["name"], case["atol"], vectors.of(case["name"])
        waveform = waveform_of(data["in.wav_int16"])
        filtered, energy = filterbank(waveform)
        for what, got in (("fbank", filtered), ("energy", energy)):
            want = data[f"mid.{what}"]
            floor = torch.finfo(want.dtype).eps
            check(np.log(got.clip(floor)), want.clamp(floor).log(), atol, f"{name} {what}")
        check(mfcc(waveform), data["out.mfcc"], atol, name)
        assert len(energy) == case["frames"]


def test_filters(vectors: Vectors) -> None:
    atol = min(case["atol"] for case in vectors.cases(kind="mfcc"))
    check(mel_filters(), vectors.tensors["mfcc_filterbank"], atol, "filters")


def test_every_offset(vectors: Vectors) -> None:
    cases = vectors.cases(kind="offset")
    assert cases
    for case in cases:
        name, atol, data = case["name"], case["atol"], vectors.of(case["name"])
        lips, sound = data["in.lip_feat"].numpy(), data["in.aud_feat"].numpy()
        reaches = {int(m[1]) for key in data if (m := re.match(r"out\.vshift(\d+)\.", key))}
        assert reaches, name
        for reach in sorted(reaches):
            what = f"{name} vshift {reach}"
            want = vectors.of(f"{name}.out.vshift{reach}")
            distances = shift_distances(lips, sound, reach)
            check(distances, want["dists"], atol, what)
            framewise = framewise_confidence(distances)
            check(framewise, want["framewise_conf_medfilt"], atol, f"{what} frame by frame")
            score = offset_search(lips, sound, reach, backend="test")
            check(np.array(score.distances), want["mean_dists"], atol, f"{what} means")
            assert score.offset_frames == int(want["offset"]) == reach - int(want["min_index"]), what
            check(score.distance, want["min_dist"], atol, f"{what} Sync-D")
            check(score.confidence, want["confidence"], atol, f"{what} Sync-C")
            overlap = mean_distances(lips, sound, reach, edges=Edges.OVERLAP)
            check(overlap, want["scorer_mean_dists"], atol, f"{what} overlapping means")
            reward = offset_search(lips, sound, reach, backend="test", edges=Edges.OVERLAP)
            check(reward.confidence, want["scorer_sync_c"], atol, f"{what} reward")


@torch.no_grad()
def test_every_network(vectors: Vectors, tmp_path: Path) -> None:
    """The network's steps, and the expert that reads the public file."""
    cases, settings = vectors.cases(kind="network"), vectors.meta["config"]
    assert cases
    for case in cases:
        name, atol, data = case["name"], case["atol"], vectors.of(case["name"])
        network = SyncNetV2().eval()
        fill_module(network, vectors.meta["state_dict"], case["filler"])
        torch.save(network.state_dict(), tmp_path / f"{name}.model")
        expert = SyncNetV2Expert.load(tmp_path / f"{name}.model")

        waveform, count = waveform_of(data["in.wav_int16"]), case["windows"]
        cepstra = mfcc(waveform)
        check(cepstra.T, data["mid.mfcc"], case["atol_mfcc"], f"{name} mfcc")
        windows_N1CT = mfcc_windows(waveform, count)
        assert windows_N1CT.shape == (count, 1, cepstra.shape[1], settings["mfcc_window"])
        frames_bgr = data["in.frames_bgr_uint8"]
        assert len(frames_bgr) == case["frames"]
        audio = expert.embed_audio(waveform, len(frames_bgr))
        check(audio, data["out.aud"], atol["aud"], f"{name} sound")

        frames_NCHWF = frames_bgr.permute(0, 3, 1, 2).unfold(0, settings["lip_window"], 1)[:count]
        features = network.lip_features(frames_NCHWF.permute(0, 1, 4, 2, 3).float())
        assert_close(features, data["out.lip_mid"], atol["lip_mid"], f"{name} lips before the head")
        frames_rgb = np.ascontiguousarray(frames_bgr.numpy()[..., ::-1])
        lips = expert.embed_video(frames_rgb)[:count]
        check(lips, data["out.lip"], atol["lip"], f"{name} lips")


def test_state_dict_has_the_checkpoint_names(vectors: Vectors) -> None:
    state = SyncNetV2().state_dict()
    assert {name: list(value.shape) for name, value in state.items()} == vectors.meta["state_dict"]
