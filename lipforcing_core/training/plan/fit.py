"""Refuses a run that cannot fit before anything is loaded."""

from __future__ import annotations

import os
from dataclasses import replace

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.presets.schema import Preset
from lipforcing_core.training.plan.advice import Knob, advise, gib
from lipforcing_core.training.plan.gpus import GIB, GPUS, Gpu
from lipforcing_core.training.plan.layout import Layout
from lipforcing_core.training.plan.stages import (
    STAGE_NAMES,
    STAGE_WORDS,
    Setup,
    StageName,
    StagePlan,
    least_memory,
    plan_stage,
)

_LARGEST_NAMED = 3


def require_fit(preset: Preset, stage: str, device: str, *, gpus: int = 1) -> None:
    """Raise ``BadInputError`` where a stage does not fit into the memory of a device, with what would make it fit.

    stage: as it is called; what is not planned passes. device: as torch calls it. On a CPU only weights, gradients and
    optimiser are counted, which takes no time, and compared with all memory of the machine: work is refused where it is
    clearly short. gpus: how many devices of this kind share the weights.
    """
    name = next((known for known in STAGE_NAMES if known == stage), None)
    if name is None:
        return
    if device.startswith("cuda"):
        require_fit_on(Setup(preset=preset, layout=Layout(gpu=_this_gpu(device), gpus=gpus)), name)
        return
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    require_fit_on_cpu(preset, name, memory)


def require_fit_on(setup: Setup, name: StageName) -> None:
    """As ``require_fit``, for a GPU that is known."""
    plan = plan_stage(setup, name)
    if not plan.fits:
        raise BadInputError(refusal(setup, plan))


def require_fit_on_cpu(preset: Preset, name: StageName, memory: float) -> None:
    """As ``require_fit``, for a machine with that many bytes of memory."""
    setup = Setup(preset=preset, layout=Layout(gpu=GPUS[GPUS.default]))
    needed = sum(least_memory(setup, name).values())
    if needed > memory:
        raise BadInputError(
            f"{STAGE_WORDS[name]} of preset {preset.name} needs {gib(needed)} GiB for weights, gradients and optimiser "
            f"alone, and this machine has {gib(memory)} GiB: train it on GPUs (`lipforcing train plan --preset "
            f"{preset.name}` says on how many)"
        )


def refusal(setup: Setup, plan: StagePlan) -> str:
    """Why a stage does not fit and what would make it fit, in a sentence."""
    layout, preset = setup.layout, setup.preset
    where = f"each of {layout.gpus} GPUs" if layout.gpus > 1 else "the GPU"
    largest = sorted(plan.memory.items(), key=lambda item: -item[1])[:_LARGEST_NAMED]
    shares = ", ".join(f"{what} {gib(size)}" for what, size in largest)
    return (
        f"{STAGE_WORDS[plan.name]} of preset {preset.name} needs {gib(plan.needed)} GiB on {where} "
        f"({shares}), which has {gib(plan.capacity)} GiB; {_remedy(advise(setup, plan.name))}"
    )


def _remedy(knobs: list[Knob]) -> str:
    """What training can do; what it cannot do yet only where nothing else helps."""
    possible = [
        f"{knob.words} ({knob.training}; {gib(knob.plan.needed)} GiB)" for knob in knobs if knob.training
    ]
    if possible:
        return f"it fits with {' or with '.join(possible)}"
    if knobs:
        return f"it would fit with {' or with '.join(str(knob) for knob in knobs)}"
    return "no change of the settings makes it fit on GPUs of this kind: train a smaller preset"


def _this_gpu(device: str) -> Gpu:
    """The GPU of this machine by its memory; how fast it is does not matter for whether a stage fits."""
    import torch

    properties = torch.cuda.get_device_properties(device)
    memory_gib = properties.total_memory / GIB
    return replace(GPUS[GPUS.default], name="this", summary=properties.name, memory_gib=memory_gib)
