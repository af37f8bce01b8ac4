"""wav2vec2 features per video frame against OmniAvatar's model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lipforcing_core.base.torchvision_shim import ensure_torchvision
from lipforcing_core.media.clock import SAMPLES_PER_FRAME
from lipforcing_core.models.audio_encoders.wav2vec2 import (
    Wav2Vec2Encoder,
    Wav2Vec2Features,
    interpolate,
    normalise,
)
from lipforcing_core.weights.keymaps import wav2vec2_key
from tests.parity.filler import Vectors, assert_close, filled_state, load_vectors


@pytest.fixture(scope="module")
def vectors(parity_dir: Path) -> Vectors:
    return load_vectors(parity_dir, "audio")


@torch.no_grad()
def test_every_case_step_by_step(vectors: Vectors) -> None:
    """The whole clip runs, even where the video is shorter and only its frames are kept (method A.5, steps 3 and 7)."""
    assert vectors.cases()
    for case in vectors.cases():
        network, data = build(vectors, case), vectors.of(case["name"])
        frames_run = case["padded_samples"] // SAMPLES_PER_FRAME

        def check(got: Tensor, what: str, kind: str, data: Any = data, case: Any = case) -> None:
            want = data[what]
            if kind == "hidden" and want.shape[1] == case["video_frames"]:
                got = got[:, : want.shape[1]]
            assert_close(got, want, case["atol"][kind], f"{case['name']} {what}")

        normalised = torch.from_numpy(normalise(data["in.waveform"].numpy()))
        check(normalised, "mid.normalized", "normalized")
        padded = torch.zeros(1, case["padded_samples"])
        padded[0, : case["samples"]] = normalised
        features = network.conv_features(padded)
        check(features, "mid.conv_features", "conv_features")
        assert features.shape[1] == case["conv_frames"]
        resampled = interpolate(features, frames_run)
        check(resampled, "mid.interpolated", "interpolated")
        states = network.hidden_states(resampled)
        assert len(states) == case["num_hidden_states"]
        for index, state in enumerate(states):
            check(state, f"out.hidden_state{index}", "hidden")
        check(states[-1], "out.last_hidden_state", "hidden")
        got = network(padded, frames_run)
        assert got.shape[-1] == network.feature_dim == case["concat_width"]
        check(got, "out.audio_emb", "hidden")
        data.assert_all_checked(case["name"])


def test_every_case_through_the_encoder(vectors: Vectors) -> None:
    assert vectors.cases()
    for case in vectors.cases():
        encoder = Wav2Vec2Encoder(build(vectors, case), backend_id="test")
        data, num_frames = vectors.of(case["name"]), case["video_frames"]
        frames_run = max(-(-case["samples"] // SAMPLES_PER_FRAME), num_frames)
        assert case["padded_samples"] == frames_run * SAMPLES_PER_FRAME
        got = encoder.encode(data["in.waveform"].numpy(), num_frames)
        assert got.dtype == np.float32
        want = data["out.audio_emb"][0, :num_frames]
        assert_close(torch.from_numpy(got), want, case["atol"]["hidden"], case["name"])
        start = num_frames // 2
        part = torch.from_numpy(encoder.encode_range(data["in.waveform"].numpy(), start, num_frames))
        assert_close(part, want[start:], case["atol"]["hidden"], f"{case['name']} from frame {start}")


def test_interpolation(vectors: Vectors) -> None:
    """The tensors of no case are ``NAME.in`` and ``NAME.out``."""
    loose = vectors.outside_cases()
    if not loose:
        pytest.skip("the audio vectors hold no interpolation by itself")
    for name in sorted({name.rpartition(".")[0] for name in loose}):
        data = vectors.of(name)
        want = data["out"]
        assert_close(interpolate(data["in"], want.shape[1]), want, vectors.meta["atol_interp"], name)
        assert set(data) == {"in", "out"}


def build(vectors: Vectors, case: dict[str, Any]) -> Wav2Vec2Features:
    ensure_torchvision()
    from transformers import Wav2Vec2Config

    network = Wav2Vec2Features(Wav2Vec2Config(**case["config"])).eval()
    state = filled_state(vectors.meta["state_dict"][case["name"]], case["filler"])
    network.load_state_dict({str(wav2vec2_key(name)): value for name, value in state.items()})
    return network
