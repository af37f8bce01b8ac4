"""How long a step takes, by the roofline: the slowest of arithmetic, memory, launches and what travels.

Of these the hardware does much at the same time, so the longest counts and not the sum; the optimiser comes after.
"""

from __future__ import annotations

from dataclasses import dataclass

from lipforcing_core.presets.schema import StageSettings
from lipforcing_core.training.plan.gpus import Gpu
from lipforcing_core.training.plan.layout import Layout, Traffic
from lipforcing_core.training.plan.meter import Work

MFU = 0.4
"""Assumed share of the peak that matrix products reach all in all, those included that are computed again."""
LAUNCH_S = 8e-6
"""Assumed time of the host for one operation of eager PyTorch."""
OPTIMISER_BYTES = 36
"""Of a trained weight per update, 9 times fp32: AdamW reads weight, gradient and moments and writes all but the
gradient, and clipping reads the gradient and writes it."""
HOST_MEMORY_GB_S = 100.0
"""Assumed bandwidth of the host's memory, in which an offloaded optimiser works."""


@dataclass(frozen=True, kw_only=True)
class StepTime:
    """Work and seconds of one step on every GPU. ``total_s`` is the longest of ``bounds``, and the optimiser."""

    flops: float
    link_bytes: float
    arithmetic_s: float
    memory_s: float
    launch_s: float
    link_s: float
    host_s: float
    optimiser_s: float

    @property
    def total_s(self) -> float:
        """How long the step takes."""
        return self.bounds[self.bound] + self.optimiser_s

    @property
    def bounds(self) -> dict[str, float]:
        """What a step waits for, in words, and how long."""
        return {
            "arithmetic": self.arithmetic_s,
            "GPU memory": self.memory_s,
            "launches of operations": self.launch_s,
            "link between GPUs": self.link_s,
            "transfers from and to the host": self.host_s,
        }

    @property
    def bound(self) -> str:
        """The slowest of them."""
        return max(self.bounds, key=lambda name: self.bounds[name])


def step_time(
    work: Work, traffic: Traffic, trained: float, layout: Layout, settings: StageSettings
) -> StepTime:
    """The time of a step with this work and traffic on every GPU, which updates ``trained`` weights in all."""
    gpu = layout.gpu
    memory = HOST_MEMORY_GB_S if layout.offload else gpu.memory_gb_s
    return StepTime(
        flops=work.flops,
        link_bytes=traffic.link_bytes,
        arithmetic_s=work.flops / (MFU * peak_flops(gpu, settings)),
        memory_s=work.moved_bytes / (gpu.memory_gb_s * 1e9),
        launch_s=work.operations * LAUNCH_S,
        link_s=traffic.link_bytes / (gpu.link_gb_s * 1e9),
        host_s=traffic.host_bytes / (gpu.host_gb_s * 1e9),
        optimiser_s=trained / layout.gpus * OPTIMISER_BYTES / (memory * 1e9),
    )


def peak_flops(gpu: Gpu, settings: StageSettings) -> float:
    """FLOP/s at best in the precision of a stage."""
    return (gpu.bf16_tflops if settings.precision == "bf16" else gpu.fp32_tflops) * 1e12
