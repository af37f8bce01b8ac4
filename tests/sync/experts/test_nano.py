"""What the nano expert sees, and which clips and files it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from lipforcing_core.base.errors import BadInputError, IncompatibleCheckpointError, MissingWeightsError
from lipforcing_core.sync.experts.catalogue import load_sync_expert
from lipforcing_core.sync.experts.nano import (
    EMBEDDING_SCALE,
    MOUTH_REGION,
    NanoExpert,
    NanoSyncNet,
    log_mel,
    shipped_weights,
)


@pytest.fixture(scope="module")
def expert() -> NanoExpert:
    torch.manual_seed(0)
    return NanoExpert(NanoSyncNet(), "test")


def noise_clip(num_frames: int, size: int = 128, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    frames = rng.integers(0, 256, (num_frames, size, size, 3), dtype=np.uint8)
    return frames, rng.normal(0, 0.1, num_frames * 640).astype(np.float32)


def test_counts_and_lengths_of_embeddings(expert: NanoExpert) -> None:
    frames, waveform = noise_clip(81)
    lips, sound = expert.embed_video(frames), expert.embed_audio(waveform, 81)
    assert lips.shape == (77, 64)
    assert sound.shape == (76, 64)
    np.testing.assert_allclose(np.linalg.norm(lips, axis=1), EMBEDDING_SCALE, rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(sound, axis=1), EMBEDDING_SCALE, rtol=1e-5)
    assert expert.embed_audio(waveform[: 40 * 640 + 639], 81).shape == (35, 64)


def test_a_window_sees_its_own_fifth_of_a_second_only(expert: NanoExpert) -> None:
    _, waveform = noise_clip(30)
    log_mel_T = torch.from_numpy(log_mel(waveform)).T[None]
    changed_T = log_mel_T.clone()
    changed_T[..., 40:60] += 1  # window 10 covers columns 40 to 59
    network = NanoSyncNet().eval()
    with torch.inference_mode():
        difference = network.embed_sound(changed_T) - network.embed_sound(log_mel_T)
    touched = difference[0].abs().amax(dim=1).nonzero().flatten().tolist()
    assert touched == list(range(6, 15))  # windows 6 to 14 overlap columns 40 to 59


def test_only_the_mouth_region_matters(expert: NanoExpert) -> None:
    frames, _ = noise_clip(8)
    x0, y0, x1, y1 = (round(share * 128) for share in MOUTH_REGION)
    elsewhere = noise_clip(8, seed=1)[0]
    elsewhere[:, y0:y1, x0:x1] = frames[:, y0:y1, x0:x1]
    np.testing.assert_array_equal(expert.embed_video(elsewhere), expert.embed_video(frames))
    changed = frames.copy()
    changed[:, y0:y1, x0:x1] //= 2
    changed[4, y0:y1, x0:x1] = 0
    assert not np.allclose(expert.embed_video(changed), expert.embed_video(frames), atol=1e-3)


def test_loudness_does_not_matter(expert: NanoExpert) -> None:
    _, waveform = noise_clip(20)
    np.testing.assert_allclose(
        expert.embed_audio(0.25 * waveform, 20), expert.embed_audio(waveform, 20), atol=1e-3
    )


def test_lighting_does_not_matter(expert: NanoExpert) -> None:
    frames, _ = noise_clip(10)
    darker = frames // 2 + 20
    np.testing.assert_allclose(expert.embed_video(darker), expert.embed_video(frames), atol=0.5)


def test_a_long_silence_has_a_score(expert: NanoExpert) -> None:
    score = expert.score(noise_clip(40)[0], np.zeros(40 * 640, dtype=np.float32))
    assert np.isfinite(score.distances).all()


@pytest.mark.parametrize(
    "frames",
    [
        np.zeros((4, 64, 64, 3), np.uint8),
        np.zeros((8, 64, 32, 3), np.uint8),
        np.zeros((8, 64, 64, 3), np.float32),
    ],
)
def test_refuses_frames_that_are_no_crops(expert: NanoExpert, frames: np.ndarray) -> None:
    with pytest.raises(BadInputError, match="aligned crops"):
        expert.embed_video(frames)


def test_refuses_a_clip_without_a_whole_window(expert: NanoExpert) -> None:
    frames, waveform = noise_clip(5)
    with pytest.raises(BadInputError, match="at least 6 frames"):
        expert.score(frames, waveform)


def test_nano_checkpoint_errors(tmp_path: Path) -> None:
    with pytest.raises(
        MissingWeightsError, match=r"absent\.safetensors does not exist; without it .* shipped"
    ):
        load_sync_expert("nano", tmp_path / "absent.safetensors")
    state = load_file(shipped_weights())
    save_file({**state, "surplus": torch.zeros(1)}, tmp_path / "surplus.safetensors")
    with pytest.raises(IncompatibleCheckpointError, match="surplus is unexpected"):
        load_sync_expert("nano", tmp_path / "surplus.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"x")
    with pytest.raises(IncompatibleCheckpointError, match="not a safetensors file"):
        load_sync_expert("nano", tmp_path / "broken.safetensors")


def test_backend_id_follows_the_content(tmp_path: Path) -> None:
    shipped = load_sync_expert("nano")
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(shipped_weights().read_bytes())
    assert load_sync_expert("nano", copy).backend_id == shipped.backend_id
    assert shipped.backend_id.startswith("syncnet-nano-v1@sha256:")
    state = load_file(copy)
    state["lips.0.bias"] += 0.01
    save_file(state, copy)
    assert load_sync_expert("nano", copy).backend_id != shipped.backend_id
