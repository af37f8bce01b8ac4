"""SyncNet parts against the golden vectors of the reference implementations."""

from __future__ import annotations

import re
from itertools import accumulate
from pathlib import Path

import numpy as np
import pytest
import torch

from lipforcing_core.sync.experts.syncnet_v2 import SyncNetV2, SyncNetV2Expert, mfcc_windows
from lipforcing_core.sync.mfcc import filterbank, mel_filters, mfcc
from lipforcing_core.sync.offset import (
    Edges,
    framewise_confidence,
    mean_distances,
    offset_search,
    shift_distances,
)
from tests.parity.filler import Vectors, assert_close, fill_module, load_vectors

KINDS = ("mfcc", "offset", "network")
FILTERS = "mfcc_filterbank"


@pytest.fixture(scope="module")
def vectors(parity_dir: Path) -> Vectors:
    return load_vectors(parity_dir, "syncnet")


def waveform_of(wav_int16: torch.Tensor) -> np.ndarray:
    return (wav_int16.numpy() / 32768).astype(np.float32)


def check(got: np.ndarray | float, want: torch.Tensor, atol: float, what: str) -> None:
    assert_close(torch.as_tensor(got), want, atol, what)


def test_every_mfcc(vectors: Vectors) -> None:
    """Filter outputs and energies are compared as they enter the cepstra: logarithms, with a floor under silence."""
    for case in vectors.cases_of_kind("mfcc", known=KINDS):
        name, atol, data = case["name"], case["atol"], vectors.of(case["name"])
        waveform = waveform_of(data["in.wav_int16"])
        filtered, energy = filterbank(waveform)
        for what, got in (("fbank", filtered), ("energy", energy)):
            want = data[f"mid.{what}"]
            floor = torch.finfo(want.dtype).eps
            check(np.log(got.clip(floor)), want.clamp(floor).log(), atol, f"{name} {what}")
        check(mfcc(waveform), data["out.mfcc"], atol, name)
        from_float = data["out.mfcc_from_float_times_32768"]
        check(mfcc(emphasised_in_float32(waveform)), from_float, atol, f"{name} float32")
        assert len(energy) == case["frames"]
        data.assert_all_checked(name)


def emphasised_in_float32(waveform: np.ndarray) -> np.ndarray:
    """The float64 waveform whose pre-emphasis is that of python_speech_features for this float32 one.

    Given float32 samples it subtracts in float32, which moves cepstra by some 1e-5; the rest is in float64.
    """
    samples = waveform * np.float32(32768)
    emphasised = np.append(samples[0], samples[1:] - np.float32(0.97) * samples[:-1]).astype(np.float64)
    undone = accumulate(emphasised.tolist(), lambda last, value: value + 0.97 * last)
    return np.array(list(undone)) / 32768


def test_filters(vectors: Vectors) -> None:
    """Quotients of small whole numbers, so they are equal but for the last digit of the stored type."""
    loose = vectors.outside_cases()
    if not loose:
        pytest.skip("the syncnet vectors hold no filters")
    assert set(loose) == {FILTERS}
    check(mel_filters(), loose[FILTERS], torch.finfo(loose[FILTERS].dtype).eps, "filters")


def test_every_offset(vectors: Vectors) -> None:
    for case in vectors.cases_of_kind("offset", known=KINDS):
        name, atol, data = case["name"], case["atol"], vectors.of(case["name"])
        lips, sound = data["in.lip_feat"].numpy(), data["in.aud_feat"].numpy()
        others = [key for key in data if not re.match(r"in\.|out\.vshift\d+\.", key)]
        assert not others, f"{name}: no test looks at {others}"
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
            want.assert_all_checked(what)


@torch.no_grad()
def test_every_network(vectors: Vectors, tmp_path: Path) -> None:
    """The network's steps, and the expert that reads the public file."""
    settings = vectors.meta["config"]
    for case in vectors.cases_of_kind("network", known=KINDS):
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
        data.assert_all_checked(name)


def test_state_dict_has_the_checkpoint_names(vectors: Vectors) -> None:
    state = SyncNetV2().state_dict()
    assert {name: list(value.shape) for name, value in state.items()} == vectors.meta["state_dict"]
