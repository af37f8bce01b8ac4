"""The parts of a training: settings, batches, losses and the learning rate, each against a plain statement of it."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.sync import train
from lipforcing_core.sync.experts.nano import NanoExpert, NanoSyncNet, log_mel, shipped_weights
from lipforcing_core.sync.puppet_data import PuppetClip
from lipforcing_core.sync.train import SyncTrainSettings, contrastive_loss, fit_network, train_sync_expert

SMALL = SyncTrainSettings(
    num_clips=3, num_frames=40, num_steps=3, batch_clips=2, batch_frames=36, held_out_clips=1
)


def settings_of_the_shipped_file() -> dict[str, Any]:
    with safe_open(shipped_weights(), "pt") as stream:
        settings: dict[str, Any] = json.loads(stream.metadata()["settings"])
    return settings


def test_the_defaults_are_those_that_the_shipped_weights_were_made_with() -> None:
    assert asdict(SyncTrainSettings()) == settings_of_the_shipped_file()


@pytest.mark.parametrize(
    ("fits", "does_not"),
    [
        ({"batch_frames": 36}, {"batch_frames": 35}),
        ({"batch_frames": 108}, {"batch_frames": 109}),
        ({"batch_clips": 1}, {"batch_clips": 0}),
        ({"batch_clips": 72}, {"batch_clips": 73}),
    ],
)
def test_the_smallest_and_the_largest_batches(fits: dict[str, int], does_not: dict[str, int]) -> None:
    SyncTrainSettings(**fits)  # type: ignore[arg-type]
    (name,) = fits
    with pytest.raises(BadInputError, match=f"{name} must be between (36|1) and num_"):
        SyncTrainSettings(**does_not)  # type: ignore[arg-type]


def test_the_learning_rate_rises_over_a_twentieth_and_falls_as_a_cosine() -> None:
    factors = [train._learning_rate_factor(step, 100) for step in range(101)]
    np.testing.assert_allclose(factors[:6], [0.2, 0.4, 0.6, 0.8, 1.0, 1.0])
    assert factors[100] == pytest.approx(0.0)
    # 95 steps of a cosine: a third of the way it has fallen by a quarter, two thirds of the way by three quarters.
    assert factors[5 + 19] == pytest.approx((1 + math.cos(math.pi / 5)) / 2)
    assert factors[5 + 57] == pytest.approx((1 + math.cos(math.pi * 3 / 5)) / 2)
    assert all(a > b for a, b in itertools.pairwise(factors[5:]))
    assert [train._learning_rate_factor(step, 1) for step in (0, 1)] == [1.0, 1.0]
    assert train._learning_rate_factor(1, 19) == 1.0
    assert train._learning_rate_factor(2, 2) == pytest.approx(0.0)


def plain_loss(lips: np.ndarray, sound: np.ndarray, settings: SyncTrainSettings) -> float:
    """Both losses written out window by window and clip by clip."""

    def cross_entropy(logits: list[float], right: int) -> float:
        return math.log(sum(math.exp(value) for value in logits)) - logits[right]

    num_clips, num_windows = sound.shape[:2]
    lips_of = [lips[b, n] for b in range(num_clips) for n in range(num_windows)]
    sound_of = [sound[b, n] for b in range(num_clips) for n in range(num_windows)]
    cosines = [[float(a @ b) / 100 for b in sound_of] for a in lips_of]
    rows = np.array(cosines) / settings.temperature
    of_lips = np.mean([cross_entropy(list(row), k) for k, row in enumerate(rows)])
    of_sound = np.mean([cross_entropy(list(row), k) for k, row in enumerate(rows.T)])
    shifts = []
    for b in range(num_clips):
        means = [
            np.mean([np.linalg.norm(lips[b, n] - sound[b, n + k]) for n in range(15, num_windows - 15)])
            for k in range(-15, 16)
        ]
        shifts.append(cross_entropy([-mean / (10 * settings.shift_temperature) for mean in means], 15))
    return float((of_lips + of_sound) / 2 + settings.shift_weight * np.mean(shifts))


@pytest.mark.parametrize("weights", [{}, {"temperature": 0.3, "shift_temperature": 0.2, "shift_weight": 2.0}])
def test_the_loss_written_out(weights: dict[str, float]) -> None:
    settings = replace(SMALL, **weights)  # type: ignore[arg-type]
    rng = np.random.default_rng(0)
    lips, sound = (rng.standard_normal((2, n, 8)) for n in (35, 34))
    lips, sound = (10 * x / np.linalg.norm(x, axis=2, keepdims=True) for x in (lips, sound))
    found = contrastive_loss(torch.from_numpy(lips), torch.from_numpy(sound), settings)
    assert float(found) == pytest.approx(plain_loss(lips[:, :34], sound, settings), rel=1e-9)


class Told:
    """Stands for a generator of random numbers: gives what it is told and keeps how it was asked."""

    def __init__(self, **answers: list[Any]) -> None:
        self.answers = {name: iter(values) for name, values in answers.items()}
        self.asked: list[tuple[Any, ...]] = []

    def _next(self, name: str, *arguments: Any) -> Any:
        self.asked.append((name, *arguments))
        return next(self.answers[name])

    def choice(self, count: int, size: int, *, replace: bool = True) -> Any:
        return self._next("choice", count, size, replace)

    def integers(self, low: int, high: int) -> Any:
        return self._next("integers", low, high)

    def uniform(self, low: float, high: float) -> Any:
        return self._next("uniform", low, high)

    def standard_normal(self, size: int) -> Any:
        return self._next("standard_normal", size)


def talking(seed: int) -> PuppetClip:
    rng = np.random.default_rng(seed)
    return PuppetClip(
        frames=rng.integers(0, 256, (40, 56, 80, 3), dtype=np.uint8),
        waveform=rng.normal(0, 0.1, 72 * 640).astype(np.float32),
    )


def test_a_batch_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clips 2 and 0 from frames 3 and 1, with the sound 50 samples early and 128 late."""
    clips = [talking(seed) for seed in range(3)]
    grain = np.random.default_rng(9).standard_normal((2, 36 * 640))
    rng = Told(
        choice=[[2, 0]],
        integers=[3, 50, 1, -128],
        uniform=[0.3, -2.0, -0.3, -4.0],
        standard_normal=list(grain),
    )
    handed: list[Tensor] = []

    def augmented(mouth_BFCHW: Tensor, generator: torch.Generator) -> Tensor:
        handed.append(mouth_BFCHW)
        return mouth_BFCHW[..., :40, :48]

    monkeypatch.setattr(train, "augment", augmented)
    mouths, mels = train._batch(SMALL, clips, rng, torch.Generator())  # type: ignore[arg-type]
    assert rng.asked == [
        ("choice", 3, 2, False),
        *[("integers", 0, 5), ("integers", -128, 129)],
        *[("uniform", -0.3, 0.3), ("uniform", -4, -2), ("standard_normal", 23040)],
        *[("integers", 0, 5), ("integers", -128, 129)],
        *[("uniform", -0.3, 0.3), ("uniform", -4, -2), ("standard_normal", 23040)],
    ]
    frames = np.stack([clips[2].frames[3:39], clips[0].frames[1:37]]).transpose(0, 1, 4, 2, 3)
    np.testing.assert_array_equal(handed[0], frames.astype(np.float32))
    pixels = frames[..., :40, :48].astype(np.float64)
    centred = pixels - pixels.mean(axis=(1, 3, 4), keepdims=True)
    np.testing.assert_allclose(
        mouths, centred / (pixels.std(axis=(1, 3, 4), keepdims=True, ddof=1) + 1), atol=1e-4
    )
    first, second = (16 + 3) * 640 + 50, (16 + 1) * 640 - 128
    sounds = [
        10**0.3 * (clips[2].waveform[first : first + 23040] + 0.01 * grain[0]),
        10**-0.3 * (clips[0].waveform[second : second + 23040] + 0.0001 * grain[1]),
    ]
    columns = 4 * (36 - 5 - 1) + 20  # 31 windows of 20 columns, 4 apart
    want = np.stack([log_mel(sound.astype(np.float32))[:columns].T for sound in sounds])
    assert mels.shape == (2, 26, columns)
    np.testing.assert_allclose(mels, want, atol=1e-4)


def test_training_step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against torch's own optimiser and schedule, on the batches that the training drew."""
    batches: list[tuple[Tensor, Tensor]] = []
    draw = train._batch

    def recorded(*arguments: Any) -> tuple[Tensor, Tensor]:
        batches.append(draw(*arguments))
        return batches[-1]

    monkeypatch.setattr(train, "_batch", recorded)
    clips, events = [talking(seed) for seed in range(3)], []
    settings = replace(SMALL, seed=11, learning_rate=0.01, weight_decay=0.3)
    before = torch.random.get_rng_state()
    network, mean_loss = fit_network(settings, clips, lambda *event: events.append(event))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert events == [("train", 1, 3), ("train", 2, 3), ("train", 3, 3)]
    assert not network.training

    torch.manual_seed(11)
    twin = NanoSyncNet().train()
    torch.random.set_rng_state(before)
    optimiser = torch.optim.AdamW(twin.parameters(), lr=0.01, betas=(0.9, 0.999), weight_decay=0.3)
    mean = None
    for step, (mouths, mels) in enumerate(batches):
        for group in optimiser.param_groups:
            group["lr"] = 0.01 * (1.0, 1.0, (1 + math.cos(math.pi / 2)) / 2)[step]
        loss = contrastive_loss(twin.embed_lips(mouths), twin.embed_sound(mels), settings)
        gradients = torch.autograd.grad(loss, list(twin.parameters()))
        length = math.sqrt(sum(float(g.square().sum()) for g in gradients))
        for parameter, gradient in zip(twin.parameters(), gradients, strict=True):
            parameter.grad = gradient * min(1.0, 5.0 / (length + 1e-6))
        optimiser.step()
        mean = loss.item() if mean is None else 0.98 * mean + 0.02 * loss.item()
    assert mean_loss == pytest.approx(mean, rel=1e-5)
    # The batch norm after it takes this bias out again: its gradient is rounding alone, which Adam enlarges.
    undecided = {"frame.10.bias", "lips.0.running_mean"}
    for name in twin.state_dict().keys() - undecided:
        value = twin.state_dict()[name]
        torch.testing.assert_close(network.state_dict()[name], value, rtol=1e-3, atol=1e-5, msg=name)


def test_a_seed_decides_on_network_batches_and_degradations(monkeypatch: pytest.MonkeyPatch) -> None:
    clips = [talking(seed) for seed in range(3)]
    drawn: list[tuple[float, float]] = []

    def batch(settings: SyncTrainSettings, clips: Any, rng: Any, generator: Any) -> tuple[Tensor, Tensor]:
        drawn.append((rng.random(), float(torch.rand((), generator=generator))))
        constant = torch.Generator().manual_seed(0)
        return torch.rand(2, 36, 3, 40, 48, generator=constant), torch.rand(2, 26, 140, generator=constant)

    monkeypatch.setattr(train, "_batch", batch)
    losses = {}
    for seed in (1, 1, 2):
        _, losses[seed] = fit_network(replace(SMALL, num_steps=1, seed=seed), clips, lambda *event: None)
    first, again, other = drawn
    assert first == again
    assert first[0] != other[0]
    assert first[1] != other[1]
    assert losses[1] != losses[2]


def test_what_a_training_asks_of_its_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clips of its seed and evaluation on puppets of another; its threads are its own; the file says its settings."""
    calls: list[tuple[Any, ...]] = []
    threads = torch.get_num_threads()

    def clips(seed: int, num_clips: int, num_frames: int, *, mouths_only: bool = False) -> list[PuppetClip]:
        calls.append(("clips", seed, num_clips, num_frames, mouths_only, torch.get_num_threads()))
        return [talking(k) for k in range(num_clips)]

    def accuracy(expert: NanoExpert, *, seed: int, num_clips: int, on_progress: Any) -> tuple[()]:
        calls.append(("accuracy", expert.backend_id, seed, num_clips))
        on_progress(1, num_clips)
        return ()

    monkeypatch.setattr(train, "puppet_clips", clips)
    monkeypatch.setattr(train, "offset_accuracy", accuracy)
    events: list[tuple[str, int, int]] = []
    settings = replace(SMALL, seed=5, num_threads=threads + 1, held_out_clips=7, num_steps=1)
    result = train_sync_expert(settings, tmp_path, lambda *event: events.append(event))
    assert calls == [
        ("clips", 5, 3, 40, True, threads + 1),
        ("accuracy", result.backend_id, 1_000_008, 7),
    ]
    assert torch.get_num_threads() == threads
    assert events == [
        *[("render", k, 3) for k in (1, 2, 3)],
        ("train", 1, 1),
        ("evaluate", 1, 7),
    ]
    with safe_open(result.weights, "pt") as stream:
        assert stream.metadata() == {
            "format": "pt",
            "settings": json.dumps(asdict(settings), sort_keys=True),
        }
    written = json.loads((tmp_path / "result.json").read_text())
    assert written["weights"] == "nano.safetensors"
    assert written["final_loss"] == result.final_loss > 0
    assert (written["backend_id"], written["accuracy"]) == (result.backend_id, [])
    assert written["settings"] == asdict(settings)


def test_a_failed_training_gives_its_threads_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    threads = torch.get_num_threads()

    def nothing(*arguments: Any, **options: Any) -> list[PuppetClip]:
        raise BadInputError("no puppets")

    monkeypatch.setattr(train, "puppet_clips", nothing)
    with pytest.raises(BadInputError, match="no puppets"):
        train_sync_expert(replace(SMALL, num_threads=threads + 1), tmp_path)
    assert torch.get_num_threads() == threads
    assert list(tmp_path.iterdir()) == []
