"""What a stage is: a declaration of everything its result depends on, and a way to run it.

The fields of a stage are all settings that it reads. It is given no preset, so its content key, which is made of the
fields, cannot miss anything, and holds nothing that it does not read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Protocol

import torch

from lipforcing_core.base.products import as_json, content_key
from lipforcing_core.runtime.prompts import Prompts
from lipforcing_core.training.dataset import Batch
from lipforcing_core.training.loop import OnStep, StageResult
from lipforcing_core.training.reward import RewardModel
from lipforcing_core.training.strategies.protocol import Strategy

_NOT_READ = ("checkpoint_every", "recompute")
"""The settings of every stage that say how it runs, and not what comes out."""


class Batches(Protocol):
    """Where a stage draws its batches from, for example ``LatentWindows``."""

    key: str

    def batch(self, size: int, seed: int, step: int) -> Batch:
        """The batch of a step; equal arguments give equal batches."""
        ...


@dataclass(frozen=True, kw_only=True)
class StageInputs:
    """What a stage is run on. init: the weights it starts from, by the names in ``Stage.starts_from``."""

    data: Batches
    prompts: Prompts
    init: Mapping[str, Path]
    reward: RewardModel | None = None

    def prompts_on(self, device: torch.device) -> Prompts:
        """The prompts where a network is."""
        text, negative = self.prompts.text_BLD, self.prompts.negative_text_BLD
        return replace(self.prompts, text_BLD=text.to(device), negative_text_BLD=negative.to(device))


class Stage(Protocol):
    """One stage of the training, as a frozen dataclass of the settings it reads.

    version: counts what the stage computes; it changes where equal settings give another result than before.
    starts_from: the names of the weights it starts from.
    """

    name: ClassVar[str]
    starts_from: ClassVar[tuple[str, ...]]

    @property
    def version(self) -> int:
        """See above."""
        ...

    @property
    def num_steps(self) -> int:
        """How many steps ``run`` makes, each of which is logged."""
        ...

    def run(
        self, inputs: StageInputs, out_dir: Path, *, strategy: Strategy, on_step: OnStep | None = None
    ) -> StageResult:
        """Train, and write ``model.safetensors`` and ``metrics.jsonl``; a killed run continues exactly.

        Raises ``IncompatibleCheckpointError`` for weights that do not fit, and where ``out_dir`` holds the state of
        another run.
        """
        ...


def stage_key(stage: Stage, data_key: str, parents: Mapping[str, str]) -> str:
    """The content key of a stage's result: its fields, its data, and the keys of what it starts from.

    parents: by the names in ``Stage.starts_from``, and "reward" where one takes part.
    """
    assert is_dataclass(stage), "a stage is a dataclass of the settings it reads"
    read = {field.name: getattr(stage, field.name) for field in fields(stage)}
    return content_key(stage.name, stage.version, _read(json.loads(as_json(read))), data_key, parents)


def _read(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {key: _read(item) for key, item in value.items() if key not in _NOT_READ}
