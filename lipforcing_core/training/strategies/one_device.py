"""The whole of every network on one device."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from lipforcing_core.models.layers import recompute_blocks
from lipforcing_core.training.precision import ComputePrecision
from lipforcing_core.training.strategies.protocol import M
from lipforcing_core.training.strategies.workers import OneWorker


class OneDevice:
    """Training on the CPU or on one GPU."""

    workers = OneWorker()

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)

    def build(
        self,
        make: Callable[[], M],
        fill: Callable[[M], object],
        *,
        trained: bool,
        precision: ComputePrecision,
        recompute: bool = False,
    ) -> M:
        """Construct on the meta device, materialise, fill. The precision is that of the calls, not of the weights."""
        with torch.device("meta"):
            network = make()
        network.to_empty(device=self.device)
        fill(network)
        if not trained:
            network.requires_grad_(False)
        if recompute:
            recompute_blocks(network)
        return network.train(trained)

    def backward(self, loss: Tensor) -> None:
        """Gradients add up where they are."""
        loss.backward()  # type: ignore[no-untyped-call]

    def clip(self, network: nn.Module, max_norm: float) -> float:
        """Norm over all parameters that have a gradient."""
        parameters = [parameter for parameter in network.parameters() if parameter.grad is not None]
        return float(nn.utils.clip_grad_norm_(parameters, max_norm, error_if_nonfinite=True))
