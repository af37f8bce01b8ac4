"""The shipped weights on freshly rendered puppets that they were not trained on."""

from __future__ import annotations

import numpy as np
import pytest

from lipforcing_core.base.products import file_sha256
from lipforcing_core.puppets.speech import synthesise
from lipforcing_core.sync.evaluate import through_codec
from lipforcing_core.sync.experts.catalogue import load_sync_expert
from lipforcing_core.sync.experts.nano import RECOMMENDED_MIN_CONFIDENCE, shipped_weights
from lipforcing_core.sync.experts.protocol import SyncExpert
from lipforcing_core.sync.puppet_data import PuppetClip, puppet_clips

NUM_FRAMES = 81


@pytest.fixture(scope="module")
def expert() -> SyncExpert:
    return load_sync_expert("nano")


@pytest.fixture(scope="module")
def clips() -> list[PuppetClip]:
    return list(puppet_clips(424_242, 4, NUM_FRAMES))


@pytest.fixture(scope="module")
def foreign() -> np.ndarray:
    return synthesise(515_151, NUM_FRAMES / 25).waveform


@pytest.mark.parametrize("coded", [False, True], ids=["rendered", "coded"])
def test_finds_injected_offsets(expert: SyncExpert, clips: list[PuppetClip], coded: bool) -> None:
    for clip, offset in zip(clips, (-10, -3, 4, 9), strict=True):
        frames = through_codec(clip.frames) if coded else clip.frames
        score = expert.score(frames, clip.sound(lead_samples=640 * offset))
        assert abs(score.offset_frames - offset) <= 1
        assert score.confidence > RECOMMENDED_MIN_CONFIDENCE
        assert score.num_windows == NUM_FRAMES - 5


def test_foreign_sound_and_still_lips_have_no_confidence(
    expert: SyncExpert, clips: list[PuppetClip], foreign: np.ndarray
) -> None:
    for clip in clips:
        own = expert.score(clip.frames, clip.sound())
        other = expert.score(clip.frames, foreign)
        still = expert.score(np.repeat(clip.frames[:1], NUM_FRAMES, axis=0), clip.sound())
        assert max(other.confidence, still.confidence) < RECOMMENDED_MIN_CONFIDENCE
        assert own.distance < 0.75 * min(other.distance, still.distance)


def test_reward_of_33_frames_ranks_own_sound_first(
    expert: SyncExpert, clips: list[PuppetClip], foreign: np.ndarray
) -> None:
    rewards = []
    for clip in clips:
        frames = through_codec(clip.frames)[20:53]
        own = clip.sound(start_frame=20, num_frames=33)
        rewards.append((expert.reward_score(frames, own), expert.reward_score(frames, foreign[: 33 * 640])))
    own_mean, foreign_mean = np.mean(rewards, axis=0)
    assert own_mean > foreign_mean + 2


def test_size_and_card(expert: SyncExpert) -> None:
    path = shipped_weights()
    assert path.stat().st_size <= 2_000_000
    card = path.with_name("MODEL_CARD.md").read_text(encoding="utf-8")
    assert file_sha256(path) in card
    assert expert.backend_id in card
