"""Every network spread over the workers: each holds a part of every tensor (FSDP2, ``fully_shard``).

A block is put together when it is called and taken apart again at once, so that a worker never holds more than a block
or two of a network whole. Gradients are added up over the workers and taken apart likewise; each worker updates the
part that it holds. Weights that are trained, gradients and sums of gradients are float32; where the precision is bf16,
a block is put together in bf16 and computes in it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import (
    FSDPModule,
    MixedPrecisionPolicy,
    fully_shard,
    register_fsdp_forward_method,
)
from torch.distributed.tensor import DTensor

from lipforcing_core.models.layers import Block, recompute_blocks
from lipforcing_core.training.precision import ComputePrecision
from lipforcing_core.training.strategies.process_group import ProcessGroup
from lipforcing_core.training.strategies.protocol import M
from lipforcing_core.training.strategies.workers import Workers

_CALLS = ("encode_conditions", "forward_full", "denoise_chunk", "store_chunk")
"""What training calls of a network besides ``forward``."""
_CALLS_OF_BLOCK = ("own_keys_values",)

# An operation in place on what a network returns would break its backward pass; nobody makes one.
warnings.filterwarnings(
    "ignore", message="FSDP2-wrapped module .* returned a view tensor", category=UserWarning
)


class Sharded:
    """Training on the CPUs or GPUs of all workers of the process group, one device each."""

    def __init__(self, device: torch.device | str) -> None:
        """The default group of ``torch.distributed`` has been initialised."""
        self.device = torch.device(device)
        self.workers: Workers = ProcessGroup()
        self._mesh: DeviceMesh = init_device_mesh(self.device.type, (self.workers.count,))

    def build(
        self,
        make: Callable[[], M],
        fill: Callable[[M], object],
        *,
        trained: bool,
        precision: ComputePrecision,
        recompute: bool = False,
    ) -> M:
        """Construct on the meta device, spread, materialise the parts, fill them.

        A network that is not trained is held in the type that it computes in.
        """
        in_bf16 = precision == "bf16"
        with torch.device("meta"):
            network = make()
        if not trained:
            network.requires_grad_(False)
            if in_bf16:
                network.to(torch.bfloat16)
        if recompute:
            recompute_blocks(network)
        self._spread(network, torch.bfloat16 if in_bf16 else None)
        network.to_empty(device=self.device)
        fill(network)
        return network.train(trained)

    def backward(self, loss: Tensor) -> None:
        """Gradients are summed over the workers as they are made."""
        loss.backward()  # type: ignore[no-untyped-call]

    def clip(self, network: nn.Module, max_norm: float) -> float:
        """Norm over the parts of all workers."""
        parameters = [parameter for parameter in network.parameters() if parameter.grad is not None]
        norm = nn.utils.get_total_norm(
            [parameter.grad for parameter in parameters if parameter.grad is not None]
        )
        norm = norm.full_tensor() if isinstance(norm, DTensor) else norm
        if not torch.isfinite(norm):
            raise RuntimeError(
                f"The total norm of order 2.0 for gradients is non-finite ({float(norm)}), so it cannot be clipped"
            )
        nn.utils.clip_grads_with_norm_(parameters, max_norm, norm)
        return float(norm)

    def _spread(self, network: nn.Module, computes_in: torch.dtype | None) -> None:
        """Blocks are put together one at a time; what is around them is, once in a call, with the network."""
        # Inputs are left as they are: times are float64, and bf16 would round them to another noise level.
        policy = MixedPrecisionPolicy(
            param_dtype=computes_in, reduce_dtype=torch.float32, cast_forward_inputs=False
        )
        blocks = [module for module in network.modules() if isinstance(module, Block)]
        for module in (*blocks, network):
            # Said for the network too, which would else stay whole after a call without a backward pass.
            fully_shard(module, mesh=self._mesh, mp_policy=policy, reshard_after_forward=True)
            assert isinstance(module, FSDPModule)
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)
            for name in _CALLS_OF_BLOCK if isinstance(module, Block) else _CALLS:
                if hasattr(module, name):
                    register_fsdp_forward_method(module, name)
