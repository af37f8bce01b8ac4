"""How a run is laid out on GPUs: what of weights, gradients and optimiser lies where, and what travels for it.

This is the one place of the plan that knows how the training strategies work; counts of the computation itself are
taken from the code. On one GPU everything lies there whole, in fp32, and calls compute under autocast
(``strategies.one_device``). On several, or with ``offload``, weights, gradients and moments are cut in as many shards
as there are GPUs, and networks that are not trained lie there in the precision of the computation (FSDP2,
``strategies.sharded``). The weights of a block are gathered in that precision before it runs, forward and backward,
those of the next block meanwhile; its gradients are added up over the GPUs in fp32 after every micro-batch.
"""

from __future__ import annotations

from dataclasses import dataclass

from lipforcing_core.presets.schema import StageSettings
from lipforcing_core.training.plan.calls import Counts
from lipforcing_core.training.plan.gpus import Gpu
from lipforcing_core.training.plan.networks import Weights

FP32, BF16 = 4, 2
MOMENTS = 2
"""AdamW keeps two averages of every trained weight."""
BLOCKS_GATHERED = 2
"""The block that computes, and the next."""
RESERVE_BYTES = 2.0e9
"""What CUDA, cuBLAS and NCCL take beside PyTorch's tensors: the context, workspaces and channels."""
FRAGMENTED = 0.05
"""Share of the tensors that the caching allocator holds beyond them."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """gpus: how many there are, all alike. offload: whether weights, gradients and moments wait on the host."""

    gpu: Gpu
    gpus: int = 1
    offload: bool = False

    @property
    def is_sharded(self) -> bool:
        """Whether weights are gathered block by block."""
        return self.gpus > 1 or self.offload

    def gathers_bf16(self, settings: StageSettings) -> bool:
        """Whether networks compute on weights in bf16, and not under autocast or in fp32."""
        return self.is_sharded and settings.precision == "bf16"

    def micro_batches(self, settings: StageSettings) -> int:
        """How many micro-batches of a step a GPU takes: where they do not divide evenly, some repeat one."""
        return -(-settings.accumulation // self.gpus)

    def stored_bytes(self, num_weights: float, bytes_each: float = FP32) -> float:
        """What a GPU holds of something that has a value for every weight."""
        return 0.0 if self.offload else num_weights * bytes_each / self.gpus

    def frozen_bytes(self, num_weights: float, settings: StageSettings) -> float:
        """What a GPU holds of the weights of networks that are not trained."""
        return self.stored_bytes(num_weights, BF16 if self.gathers_bf16(settings) else FP32)

    def gathered_bytes(self, networks: list[Weights], settings: StageSettings) -> float:
        """Whole weights on a GPU: of the network that computes two blocks and what is in no block.

        With the gradients of one block on their way to the other GPUs, in the precision of the computation and in fp32.
        """
        if not self.is_sharded:
            return 0.0
        each = self._gathered_each(settings)
        return max(
            (BLOCKS_GATHERED * weights.block + weights.outside) * each
            + (weights.block * (each + FP32) if weights.trained else 0.0)
            for weights in networks
        )

    def traffic(self, counts: Counts, settings: StageSettings, *, passes: float = 0.0) -> Traffic:
        """What travels for one micro-batch through a network. passes: beside those counted, without gradient."""
        weights = counts.weights
        returned = weights.trained * FP32 if counts.graded_passes else 0.0
        passes += counts.passes + counts.graded_passes  # gathered once more on the way back
        conditions = 2.0 if counts.graded_passes else 1.0  # encoded once, by what is outside of the blocks
        gathered = passes * weights.total + conditions * weights.outside
        return Traffic(
            link_bytes=(self.gpus - 1) / self.gpus * (gathered * self._gathered_each(settings) + returned),
            host_bytes=(gathered * FP32 + returned) / self.gpus if self.offload else 0.0,
        )

    def _gathered_each(self, settings: StageSettings) -> int:
        return BF16 if settings.precision == "bf16" else FP32


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """Bytes that a GPU receives from other GPUs, and that it exchanges with its host."""

    link_bytes: float = 0.0
    host_bytes: float = 0.0

    def plus(self, other: Traffic, times: float = 1.0) -> Traffic:
        """This, and ``times`` the other."""
        return Traffic(
            link_bytes=self.link_bytes + times * other.link_bytes,
            host_bytes=self.host_bytes + times * other.host_bytes,
        )
