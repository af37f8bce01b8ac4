"""The state of a training stage: what has to be kept to continue it exactly, on one worker or on several.

Every random number of a stage is a function of (seed, stage, step), so a state needs no generator: weights, optimisers
and the step number continue a run to the same bits as if it had never stopped (at the same number of threads and of
workers; with other numbers, to the rounding of sums that are made in another order).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lipforcing_core.base.errors import IncompatibleCheckpointError
from lipforcing_core.models.state import check_state
from lipforcing_core.training.state_files import (
    StateWriter,
    read_plain,
    read_tensors,
    saved_states,
    stored_shapes,
)
from lipforcing_core.training.strategies.protocol import Strategy
from lipforcing_core.training.strategies.tensors import trained_tensors

_log = logging.getLogger("lipforcing")


class Stateful(Protocol):
    """Something else that changes during a stage, such as an average."""

    def state_dict(self) -> Mapping[str, Any]:
        """Tensors and plain values; what is written to one of the tensors changes the object."""
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
    _writer: StateWriter | None = field(default=None, init=False)

    def save(self, folder: Path) -> None:
        """Write a state to ``folder/step-<n>`` while the training goes on; all but the newest two are removed.

        Complete after ``wait``, or when the next one is written.
        """
        if self._writer is None:
            self._writer = StateWriter(folder, self.strategy.workers)
        tensors: dict[str, Tensor] = {}
        for name, module in self.modules.items():
            tensors |= _named(f"modules.{name}.", trained_tensors(module))
        moments = {}
        for name in self.optimisers:
            moments[name] = self._moments(name)
            for parameter, values in moments[name].items():
                tensors |= _named(f"optimisers.{name}.{parameter}.", _tensors_of(values))
        for name, other in self.others.items():
            tensors |= _named(f"others.{name}.", _tensors_of(other.state_dict()))
        plain = {
            "key": self.key,
            "step": self.step,
            "optimisers": {
                name: {parameter: _plain_of(values) for parameter, values in of_module.items()}
                for name, of_module in moments.items()
            },
            "others": {name: _plain_of(other.state_dict()) for name, other in self.others.items()},
        }
        self._writer.write(self.step, plain, tensors)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """At its end the state that is being written is complete, also after an error on a single worker."""
        try:
            yield
        except BaseException:
            if self.strategy.workers.count == 1:  # several may wait for one that is no more
                self.wait()
            raise
        self.wait()

    def wait(self) -> None:
        """Return once the state that is being written is complete."""
        if self._writer is not None:
            self._writer.wait()

    def restore(self, folder: Path) -> bool:
        """Continue from the newest state in ``folder``; False if there is none.

        Raises ``IncompatibleCheckpointError`` if that state is damaged, or belongs to other settings or other modules.
        """
        states = saved_states(folder)
        if not states:
            if older := sorted(folder.glob("step-*.pt")):
                _log.warning(
                    "%s: an earlier version wrote it; it is not continued, the stage starts anew", older[-1]
                )
            return False
        path = states[-1]
        plain = read_plain(path)
        if plain["key"] != self.key:
            raise IncompatibleCheckpointError(
                f"{path} was made with other settings or data ({plain['key']}, now {self.key}); "
                "give this run a folder of its own"
            )
        stored = stored_shapes(path)
        tensors: dict[str, Tensor] = {}
        for name, module in self.modules.items():
            own, prefix = trained_tensors(module), f"modules.{name}."
            found = {key.removeprefix(prefix): of for key, of in stored.items() if key.startswith(prefix)}
            check_state(own, found, f"{path}: {name}")
            tensors |= _named(prefix, own)
        for name, moments in plain["optimisers"].items():
            tensors |= self._renew_moments(name, moments, stored.keys())
        others = {name: dict(other.state_dict()) for name, other in self.others.items()}
        for name, values in others.items():
            tensors |= _named(f"others.{name}.", _tensors_of(values))
        read_tensors(path, tensors, self.strategy.workers)
        for name, other in self.others.items():
            other.load_state_dict(others[name] | plain["others"][name])
        self.step = plain["step"]
        return True

    def _moments(self, name: str) -> dict[str, dict[str, Any]]:
        """What an optimiser remembers of each parameter of its module, by the name of the parameter."""
        remembered = self.optimisers[name].state
        return {
            parameter: remembered[value]
            for parameter, value in self.modules[name].named_parameters()
            if value in remembered
        }

    def _renew_moments(
        self, name: str, moments: Mapping[str, Mapping[str, float]], stored: Any
    ) -> dict[str, Tensor]:
        """Let an optimiser remember what it did; returns its tensors, which are still to be filled."""
        optimiser, parameters = self.optimisers[name], dict(self.modules[name].named_parameters())
        optimiser.state.clear()
        unfilled: dict[str, Tensor] = {}
        for parameter, values in moments.items():
            prefix, own = f"optimisers.{name}.{parameter}.", parameters[parameter]
            names = [key.removeprefix(prefix) for key in stored if key.startswith(prefix)]
            tensors = {key: torch.zeros_like(own, requires_grad=False) for key in names}
            counts = {key: torch.tensor(value) for key, value in values.items()}
            optimiser.state[own] = counts | tensors
            unfilled |= _named(prefix, tensors)
        return unfilled


def _named(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}{name}": value for name, value in tensors.items()}


def _tensors_of(values: Mapping[str, Any]) -> dict[str, Tensor]:
    """Those that are not a single number."""
    return {name: value for name, value in values.items() if isinstance(value, Tensor) and value.ndim > 0}


def _plain_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """The plain values, single numbers among them."""
    plain = {}
    for name, value in values.items():
        if not isinstance(value, Tensor):
            plain[name] = value
        elif value.ndim == 0:
            plain[name] = value.item()
    return plain
