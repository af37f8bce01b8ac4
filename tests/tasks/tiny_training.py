"""Training steps on a tiny world, in this process: real stages of a step or two, with a reward of known answers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lipforcing_core.models.codecs.block import BlockCodec
from lipforcing_core.presets import Preset
from lipforcing_core.training import inputs
from tasks import training, training_sets
from tasks.training_sets import TrainingSet
from tests.training.conftest import make_clip, tiny_preset, write_clip
from tests.training.fakes import FakeReward


def short_preset(**changes: Any) -> Preset:
    """The tiny preset with a base of its own, two steps a stage and no warm-up."""
    values = tiny_preset().model_dump() | {"base_checkpoint": None} | changes
    for stage in ("base", "lora", "diffusion_forcing"):
        values[stage] |= {"steps": 2, "warmup_steps": 0}
    values["distill"]["student"] |= {"steps": 1}
    return Preset.model_validate(values)


def tiny_training_set(folder: Path) -> TrainingSet:
    """Latent windows of two clips, in a folder that exists."""
    (folder / "windows").mkdir()
    codec = BlockCodec.fit(make_clip(seed, 48)[0] for seed in range(2))
    codec.save(folder / "codec.safetensors")
    for seed in range(2):
        path = folder / "windows" / f"clip{seed}.safetensors"
        write_clip(path, *make_clip(seed, 57), codec, short_preset())
    return TrainingSet(folder=folder)


def train_in_process(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Run training jobs in this process from now on; the list gets the name of every one, such as ``train-lora``."""
    names: list[str] = []

    def run_job(
        function: Callable[..., Any],
        *args: Any,
        name: str,
        watch: Callable[[], None] = lambda: None,
        **_: Any,
    ) -> Any:
        names.append(name.rpartition("-")[0])
        result = function(*args)
        watch()
        return result

    monkeypatch.setattr(training, "run_job", run_job)
    monkeypatch.setattr(training_sets, "run_job", run_job)
    # threads of a test would wait for each other on a busy machine
    monkeypatch.setattr(training, "NUM_THREADS", 1)
    monkeypatch.setattr(inputs, "load_reward", lambda *_: FakeReward())
    return names
