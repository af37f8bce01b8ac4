"""The state of a training stage on disk: atomic, the last two kept, and resumed exactly.

Every random number of a stage is a function of (seed, stage, step), so a state needs no generator: weights, optimisers
and the step number continue a run to the same bits as if it had never stopped (at the same number of threads).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn
from torch.optim import Optimizer

from lipforcing_core.base.errors import IncompatibleCheckpointError
from lipforcing_core.base.products import atomic_path
from lipforcing_core.training.strategies.protocol import Strategy

CHECKPOINTS_KEPT = 2


class Stateful(Protocol):
    """Something else that changes during a stage, such as an average."""

    def state_dict(self) -> Mapping[str, Any]:
        """Tensors and plain values."""
        ...

    def load_state_dict(self, state: Mapping[str, Any], /) -> object:
        """Continue from them."""
        ...


@dataclass(kw_only=True)
class TrainState:
    """What changes during a stage. Of the modules only the parameters that require a gradient are stored.

    ``key`` names the settings and data of the run; a state of another key is refused instead of continued.
    """

    key: str
    strategy: Strategy
    modules: Mapping[str, nn.Module]
    optimisers: Mapping[str, Optimizer]
    others: Mapping[str, Stateful] = field(default_factory=dict)
    step: int = 0

    def save(self, folder: Path) -> Path:
        """Write ``step-<n>.pt`` atomically and remove all but the newest two."""
        path = folder / f"step-{self.step:08d}.pt"
        content = {
            "key": self.key,
            "step": self.step,
            "modules": {
                name: self.strategy.state_dict(module, trained_only=True)
                for name, module in self.modules.items()
            },
            "optimisers": {name: optimiser.state_dict() for name, optimiser in self.optimisers.items()},
            "others": {name: other.state_dict() for name, other in self.others.items()},
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
            self.strategy.load_state_dict(module, content["modules"][name], f"{path}: {name}")
        for name, optimiser in self.optimisers.items():
            optimiser.load_state_dict(content["optimisers"][name])
        for name, other in self.others.items():
            other.load_state_dict(content["others"][name])
        self.step = content["step"]
        return True


def saved_states(folder: Path) -> list[Path]:
    """The complete states in a folder, oldest first."""
    return sorted(folder.glob("step-*.pt"))
