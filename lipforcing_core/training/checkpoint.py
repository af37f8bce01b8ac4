"""The state of a training stage on disk: atomic, the last two kept, and resumed exactly.

Every random number of a stage is a function of (seed, stage, step), so a state needs no generator: weights, optimisers
and the step number continue a run to the same bits as if it had never stopped (at the same number of threads).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lipforcing_core.base.errors import IncompatibleCheckpointError
from lipforcing_core.base.products import atomic_path
from lipforcing_core.models.state import check_state

CHECKPOINTS_KEPT = 2


@dataclass(kw_only=True)
class TrainState:
    """What changes during a stage. Of the modules only the parameters that require a gradient are stored.

    ``key`` names the settings and data of the run; a state of another key is refused instead of continued.
    """

    key: str
    modules: Mapping[str, nn.Module]
    optimisers: Mapping[str, Optimizer]
    step: int = 0

    def save(self, folder: Path) -> Path:
        """Write ``step-<n>.pt`` atomically and remove all but the newest two."""
        path = folder / f"step-{self.step:08d}.pt"
        content = {
            "key": self.key,
            "step": self.step,
            "modules": {name: _trainable(module) for name, module in self.modules.items()},
            "optimisers": {name: optimiser.state_dict() for name, optimiser in self.optimisers.items()},
        }
        with atomic_path(path) as temporary:
            torch.save(content, temporary)
        for old in saved_states(folder)[:-CHECKPOINTS_KEPT]:
            old.unlink()
        return path

    def restore(self, folder: Path) -> bool:
        """Continue from the newest state in ``folder``; False if there is none.

        Raises ``IncompatibleCheckpointError`` if that state belongs to other settings or other modules.
        """
        states = saved_states(folder)
        if not states:
            return False
        path = states[-1]
        content = torch.load(path, map_location="cpu", weights_only=True)
        if content["key"] != self.key:
            raise IncompatibleCheckpointError(
                f"{path} was made with other settings or data ({content['key']}, now {self.key}); "
                "give this run a folder of its own"
            )
        for name, module in self.modules.items():
            _load_trainable(module, content["modules"][name], f"{path}: {name}")
        for name, optimiser in self.optimisers.items():
            optimiser.load_state_dict(content["optimisers"][name])
        self.step = content["step"]
        return True


def saved_states(folder: Path) -> list[Path]:
    """The complete states in a folder, oldest first."""
    return sorted(folder.glob("step-*.pt"))


def step_generator(seed: int, stage: str, step: int) -> torch.Generator:
    """The random numbers of one step of one stage: the same on every machine and after every restart."""
    digest = hashlib.sha256(f"{seed}/{stage}/{step}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))


def _trainable(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach() for name, value in module.named_parameters() if value.requires_grad}


def _load_trainable(module: nn.Module, stored: Mapping[str, Tensor], where: str) -> None:
    own = _trainable(module)
    check_state(own, stored, where)
    for name, value in own.items():
        value.copy_(stored[name])
