"""wav2vec2 features per video frame against OmniAvatar's model."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lipforcing_core.models.audio import SAMPLES_PER_FRAME
from lipforcing_core.models.wav2vec2 import (
    Wav2Vec2Encoder,
    Wav2Vec2Features,
    interpolate,
    normalise,
    wav2vec2_key,
)
from lipforcing_core.torchvision_shim import ensure_torchvision
from tests.parity.filler import Vectors, assert_close, filled_state, load_vectors


@pytest.fixture(scope="module")
def vectors(parity_dir: Path) -> Vectors:
    return load_vectors(parity_dir, "audio")


@torch.no_grad()
def test_every_case_step_by_step(vectors: Vectors) -> None:
    assert vectors.cases()
    for case in vectors.cases():
        network, data = build(vectors, case), vectors.of(case["name"])
        num_frames, atol = case["video_frames"], case["atol"]

        def check(got: Tensor, what: str, kind: str, data: Any = data, case: Any = case) -> None:
            assert_close(got, data[what], case["atol"][kind], f"{case['name']} {what}")

        normalised = torch.from_numpy(normalise(data["in.waveform"].numpy()))
        check(normalised, "mid.normalized", "normalized")
        padded = torch.zeros(1, case["padded_samples"])
        padded[0, : case["samples"]] = normalised
        features = network.conv_features(padded)
        check(features, "mid.conv_features", "conv_features")
        resampled = interpolate(features, num_frames)
        check(resampled, "mid.interpolated", "interpolated")
        states = network.hidden_states(resampled)
        assert len(states) == case["num_hidden_states"]
        for index, state in enumerate(states):
            check(state, f"out.hidden_state{index}", "hidden")
        check(states[-1], "out.last_hidden_state", "hidden")
        got = network(padded, num_frames)
        assert got.shape[-1] == network.feature_dim == case["concat_width"]
        assert_close(got, data["out.audio_emb"], atol["hidden"], case["name"])


def test_every_case_through_the_encoder(vectors: Vectors) -> None:
    assert vectors.cases()
    for case in vectors.cases():
        encoder = Wav2Vec2Encoder(build(vectors, case), backend_id="test")
        data, num_frames = vectors.of(case["name"]), case["video_frames"]
        assert case["padded_samples"] == num_frames * SAMPLES_PER_FRAME
        got = encoder.encode(data["in.waveform"].numpy(), num_frames)
        assert got.dtype == np.float32
        want = data["out.audio_emb"][0]
        assert_close(torch.from_numpy(got), want, case["atol"]["hidden"], case["name"])
        start = num_frames // 2
        part = torch.from_numpy(encoder.encode_range(data["in.waveform"].numpy(), start, num_frames))
        assert_close(part, want[start:], case["atol"]["hidden"], f"{case['name']} from frame {start}")


def test_interpolation(vectors: Vectors) -> None:
    names = {name.removesuffix(".in") for name in vectors.tensors if re.fullmatch(r"interp\..*\.in", name)}
    assert names
    for name in names:
        want = vectors.tensors[f"{name}.out"]
        got = interpolate(vectors.tensors[f"{name}.in"], want.shape[1])
        assert_close(got, want, vectors.meta["atol_interp"], name)


def build(vectors: Vectors, case: dict[str, Any]) -> Wav2Vec2Features:
    ensure_torchvision()
    from transformers import Wav2Vec2Config

    network = Wav2Vec2Features(Wav2Vec2Config(**case["config"])).eval()
    state = filled_state(vectors.meta["state_dict"][case["name"]], case["filler"])
    network.load_state_dict({str(wav2vec2_key(name)): value for name, value in state.items()})
    return network
