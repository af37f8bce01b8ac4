"""Training of the sync expert: same seed, same weights; learning; the files it leaves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.sync.experts.catalogue import load_sync_expert
from lipforcing_core.sync.puppet_data import PuppetClip, puppet_clips
from lipforcing_core.sync.train import SyncTrainSettings, contrastive_loss, fit_network, train_sync_expert

TINY = SyncTrainSettings(
    num_clips=3, num_frames=40, num_steps=4, batch_clips=2, batch_frames=36, held_out_clips=1
)


@pytest.fixture(scope="module")
def clips() -> list[PuppetClip]:
    return list(puppet_clips(3, 4, 40, mouths_only=True))


def quiet(stage: str, done: int, total: int) -> None:
    """No progress."""


def test_clips_carry_the_sound_around_them(clips: list[PuppetClip]) -> None:
    clip = clips[0]
    assert clip.frames.shape == (40, 56, 80, 3)
    assert len(clip.waveform) == (40 + 32) * 640
    late = clip.sound(start_frame=3, num_frames=10)
    early = clip.sound(start_frame=1, num_frames=10, lead_samples=2 * 640)
    assert (late == early).all()
    again = next(puppet_clips(3, 1, 40, mouths_only=True))
    assert (again.frames == clip.frames).all()
    assert (again.waveform == clip.waveform).all()


def test_same_seed_same_weights(clips: list[PuppetClip]) -> None:
    first, first_loss = fit_network(TINY, clips, quiet)
    again, again_loss = fit_network(TINY, clips, quiet)
    assert first_loss == again_loss
    for (name, value), other in zip(first.state_dict().items(), again.state_dict().values(), strict=True):
        assert torch.equal(value, other), name


def test_learns_the_clips_it_is_shown(clips: list[PuppetClip]) -> None:
    steps = {"num_clips": 4, "num_frames": 40, "batch_clips": 4, "batch_frames": 36}
    _, before = fit_network(SyncTrainSettings(num_steps=1, **steps), clips, quiet)
    network, after = fit_network(SyncTrainSettings(num_steps=20, **steps), clips, quiet)
    assert not network.training
    assert after < 0.9 * before


def test_loss_prefers_the_true_shift() -> None:
    generator = torch.Generator().manual_seed(0)
    sound = 10 * torch.nn.functional.normalize(torch.randn(2, 43, 64, generator=generator), dim=2)
    true = contrastive_loss(sound, sound, TINY)
    late = contrastive_loss(sound.roll(1, dims=1), sound, TINY)
    assert true < 0.05
    assert late > 5


def test_leaves_weights_that_load_and_a_result(tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    result = train_sync_expert(TINY, tmp_path, lambda *event: seen.append(event))
    assert {("render", 3, 3), ("train", 4, 4), ("evaluate", 1, 1)} <= set(seen)
    assert result.weights.stat().st_size < 2_000_000
    assert load_sync_expert("nano", result.weights).backend_id == result.backend_id
    written = json.loads((tmp_path / "result.json").read_text())
    assert written["settings"]["num_steps"] == 4
    assert [entry["num_frames"] for entry in written["accuracy"]] == [33, 81, 162] * 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["nano.safetensors", "result.json"]


@pytest.mark.parametrize("wrong", [{"batch_frames": 35}, {"batch_frames": 200}, {"batch_clips": 0}])
def test_refuses_impossible_batches(wrong: dict[str, int]) -> None:
    with pytest.raises(BadInputError, match="must be between"):
        SyncTrainSettings(**wrong)
