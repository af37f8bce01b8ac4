"""The networks of a stage as a plan sees them: of the real classes, but without memory, and of any depth.

All blocks of a transformer are alike (half of them hear sound), so every count is a straight line in the number of
blocks. Two shallow networks give that line; nothing is ever made in full depth.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import lru_cache
from typing import TypeVar

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from lipforcing_core.models.causal import CausalStudent
from lipforcing_core.models.layers import recompute_blocks
from lipforcing_core.models.lora import FULLY_TRAINED, inject_lora
from lipforcing_core.models.wan import WanTransformer
from lipforcing_core.presets.schema import ModelPreset, WindowPreset

SHALLOW, DEEPER = 4, 6
"""The two depths that are counted: the least that a network with sound may have, and the next."""

V = TypeVar("V")


@dataclass(frozen=True, kw_only=True)
class NetworkSpec:
    """One network of a stage.

    window: of the causal student; None for a bidirectional one. rank: of the adapter that is trained in place of all
    weights; None without one. weights_bf16: whether it computes on weights in bf16, as FSDP gathers them, and not on
    fp32 ones under autocast. recompute: whether every block is computed again in the backward pass.
    """

    model: ModelPreset
    window: WindowPreset | None = None
    rank: int | None = None
    trained: bool = True
    weights_bf16: bool = False
    recompute: bool = False

    def build(self, num_layers: int) -> nn.Module:
        """The network with that many blocks, its gradients allocated; call it where tensors are fake."""
        config = replace(self.model.config(), num_layers=num_layers)
        network = (
            WanTransformer(config) if self.window is None else CausalStudent(config, self.window.config())
        )
        if self.rank is not None:
            inject_lora(network, rank=self.rank, alpha=1.0, also_train=FULLY_TRAINED)
        if not self.trained:
            network.requires_grad_(False)
        if self.weights_bf16:
            cast_weights(network, torch.bfloat16)
        for parameter in network.parameters():
            if parameter.requires_grad:
                parameter.grad = torch.zeros_like(parameter)
        if self.recompute:
            recompute_blocks(network)
        return network.train(self.trained)


@dataclass(frozen=True, kw_only=True)
class Weights:
    """The parameters of a network: all, those that are trained, those of one block and those outside of the blocks."""

    total: float
    trained: float
    block: float
    outside: float


def count_weights(network: WanTransformer) -> Weights:
    """The parameters of a network, counted on the module itself."""
    total = sum(parameter.numel() for parameter in network.parameters())
    blocks = [sum(parameter.numel() for parameter in block.parameters()) for block in network.blocks]
    return Weights(
        total=total,
        trained=sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad),
        block=max(blocks),
        outside=total - sum(blocks),
    )


@lru_cache(maxsize=64)
def weights_of(spec: NetworkSpec) -> Weights:
    """The parameters of a network in full depth, without counting what it computes."""

    def count(num_layers: int) -> Weights:
        with FakeTensorMode():
            network = spec.build(num_layers)
        assert isinstance(network, WanTransformer)
        return count_weights(network)

    return at_depth(count, spec.model.num_layers)


def cast_weights(network: nn.Module, dtype: torch.dtype) -> None:
    """Give a network other weights of that type; ``Module.to`` does not take tensors without memory."""
    for module in network.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            cast = nn.Parameter(parameter.detach().to(dtype), requires_grad=parameter.requires_grad)
            module.register_parameter(name, cast)


def at_depth(count: Callable[[int], V], num_layers: int) -> V:
    """What ``count`` gives for ``num_layers`` blocks, from what it gives for few: a dataclass of numbers, or nested."""
    return _on_line(count(SHALLOW), count(DEEPER), (num_layers - SHALLOW) / (DEEPER - SHALLOW))


def _on_line(first: V, second: V, share: float) -> V:
    if is_dataclass(first) and not isinstance(first, type):
        values = {
            field.name: _on_line(getattr(first, field.name), getattr(second, field.name), share)
            for field in fields(first)
        }
        return replace(first, **values)
    return first + share * (second - first)  # type: ignore[operator, no-any-return]
