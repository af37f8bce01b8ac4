"""An exponential average of a network's weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from lipforcing_core.training.strategies.tensors import trained_tensors


class ExponentialAverage:
    """Tensors that follow the trained weights of a network: average <- decay x average + (1 - decay) x weights.

    Until update number ``start`` (from 1) the average is the weights it was made with; at ``start`` it takes those of
    the network, and from then on it follows. Where the network is spread over workers, so is the average.
    """

    def __init__(self, network: nn.Module, *, decay: float, start: int) -> None:
        self.tensors: dict[str, Tensor] = {
            name: value.clone() for name, value in trained_tensors(network).items()
        }
        self._decay, self._start = decay, start

    @torch.no_grad()
    def follow(self, network: nn.Module, update: int) -> None:
        """Account for update number ``update`` (from 1) of the network."""
        if update < self._start:
            return
        decay = 0.0 if update == self._start else self._decay
        for average, new in zip(self.tensors.values(), trained_tensors(network).values(), strict=True):
            average.mul_(decay).add_(new, alpha=1.0 - decay)

    @torch.no_grad()
    def put_into(self, network: nn.Module) -> None:
        """Let the average be the weights of the network."""
        for weight, average in zip(trained_tensors(network).values(), self.tensors.values(), strict=True):
            weight.copy_(average)

    def state_dict(self) -> Mapping[str, Any]:
        """The averaged weights; writing to them changes the average."""
        return self.tensors

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from averaged weights."""
        for name, value in self.tensors.items():
            value.copy_(state[name])
