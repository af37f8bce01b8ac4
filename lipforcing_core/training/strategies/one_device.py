"""The whole of every network on one device."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from lipforcing_core.models.state import check_state
from lipforcing_core.training.strategies.protocol import M


class OneDevice:
    """Training on the CPU or on one GPU."""

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)

    def build(self, make: Callable[[], M], fill: Callable[[M], object]) -> M:
        """Construct on the meta device, materialise, fill."""
        with torch.device("meta"):
            network = make()
        network.to_empty(device=self.device)
        fill(network)
        return network

    def wrap(self, network: M, *, trained: bool) -> M:
        """The network itself, in training mode if it is trained."""
        return network.train(trained)

    def backward(self, loss: Tensor, *, last: bool) -> None:
        """Gradients add up where they are."""
        loss.backward()  # type: ignore[no-untyped-call]

    def clip(self, network: nn.Module, max_norm: float) -> float:
        """Norm over all parameters that have a gradient."""
        parameters = [parameter for parameter in network.parameters() if parameter.grad is not None]
        return float(nn.utils.clip_grad_norm_(parameters, max_norm, error_if_nonfinite=True))

    def state_dict(self, network: nn.Module, *, trained_only: bool) -> dict[str, Tensor]:
        """The tensors as they are, detached."""
        if trained_only:
            return {name: value.detach() for name, value in network.named_parameters() if value.requires_grad}
        return dict(network.state_dict())  # which torch detaches

    def load_state_dict(self, network: nn.Module, state: Mapping[str, Tensor], where: str) -> None:
        """Copy into the parameters that require a gradient."""
        own = self.state_dict(network, trained_only=True)
        check_state(own, state, where)
        for name, value in own.items():
            value.copy_(state[name])
