"""An exponential average of a network's weights."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Generic, TypeVar

import torch
from torch import nn

M = TypeVar("M", bound=nn.Module)


class ExponentialAverage(Generic[M]):
    """A second copy of a network that follows its weights: average <- decay x average + (1 - decay) x weights.

    Until update number ``start`` (from 1) the copy keeps the weights it was made with; at ``start`` it takes those of
    the network, and from then on it follows.
    """

    def __init__(self, network: M, *, decay: float, start: int) -> None:
        self.network = copy.deepcopy(network).requires_grad_(False)
        self._decay, self._start = decay, start

    @torch.no_grad()
    def follow(self, network: nn.Module, update: int) -> None:
        """Account for update number ``update`` (from 1) of the network."""
        if update < self._start:
            return
        decay = 0.0 if update == self._start else self._decay
        for average, new in zip(self.network.parameters(), network.parameters(), strict=True):
            average.mul_(decay).add_(new, alpha=1.0 - decay)

    def state_dict(self) -> Mapping[str, Any]:
        """The averaged weights."""
        return self.network.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from averaged weights."""
        self.network.load_state_dict(state)
