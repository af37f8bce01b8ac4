"""A plan as text for people and as values for machines."""

from __future__ import annotations

from typing import Any

from lipforcing_core.training.plan.advice import Knob, gib
from lipforcing_core.training.plan.duration import LAUNCH_S, MFU, StepTime, peak_flops
from lipforcing_core.training.plan.layout import FRAGMENTED, RESERVE_BYTES
from lipforcing_core.training.plan.stages import STAGE_WORDS, Setup, StagePlan

_SHOWN_S = 0.0005


def plan_text(setup: Setup, plan: StagePlan, knobs: list[Knob]) -> str:
    """One stage, as a block of lines. knobs: what would make it fit, where it does not."""
    settings, layout = plan.settings, setup.layout
    windows = settings.batch_size * settings.accumulation
    teacher = "" if plan.teacher is None else f", the frozen teacher of {plan.teacher} among them"
    recompute = "blocks computed again" if settings.recompute else "activations kept"
    lines = [
        f"{STAGE_WORDS[plan.name]}: {_amount(plan.num_steps)} steps of {_number(windows, 'window')} in "
        f"micro-batches of {settings.batch_size}; {_number(plan.micro_batches, 'micro-batch')} on each GPU",
        f"  {_large(plan.weights)} parameters{teacher}; {_large(plan.trained)} trained; "
        f"{settings.precision}; {recompute}",
        "  memory of a GPU, GiB",
        *(f"    {what:<18}{gib(size):>8}" for what, size in plan.memory.items()),
        f"    {'needed':<18}{gib(plan.needed):>8} of {gib(plan.capacity)}: "
        f"{'fits' if plan.fits else 'DOES NOT FIT'}",
        "  time of a step, s",
        *_time_lines(setup, plan),
    ]
    if not plan.fits:
        lines.append("  what makes it fit" if knobs else "  no change of settings makes it fit on such GPUs")
        lines += [f"    {knob}" for knob in knobs]
    if settings.accumulation % layout.gpus:
        lines.append(
            f"  {settings.accumulation} micro-batches do not divide among {layout.gpus} GPUs: some repeat one that "
            "does not count"
        )
    return "\n".join(lines)


def head_text(setup: Setup) -> str:
    """What all stages of a plan share."""
    layout = setup.layout
    kept = "cut in shards over all GPUs (FSDP2)" if layout.is_sharded else "whole on the GPU"
    offload = ", waiting in the memory of the host" if layout.offload else ""
    adapters = ", adapters in all stages" if setup.adapters else ""
    return (
        f"{setup.preset.name} on {layout.gpus} x {layout.gpu.name} ({layout.gpu.memory_gib:g} GiB each): "
        f"weights {kept}{offload}{adapters}"
    )


def assumptions_text() -> str:
    """What the numbers rest on, in a paragraph."""
    return (
        "Counted on the real networks and losses, with tensors that have no memory. Assumed: matrix products, those "
        f"computed again included, reach {MFU:.0%} of the peak (MFU {MFU:g}); an operation takes {LAUNCH_S * 1e6:g} us "
        "to launch; arithmetic, memory, launches and transfers overlap, so that a step takes as long as the slowest; "
        f"the reserve is {RESERVE_BYTES / 1e9:g} GB and {FRAGMENTED:.0%} of the rest. Data, validation and checkpoints "
        "are not in the time."
    )


def plan_values(setup: Setup, plans: list[tuple[StagePlan, list[Knob]]]) -> dict[str, Any]:
    """The whole plan as JSON-able values; bytes and seconds."""
    layout = setup.layout
    return {
        "preset": setup.preset.name,
        "gpu": layout.gpu.name,
        "gpus": layout.gpus,
        "adapters": setup.adapters,
        "offload": layout.offload,
        "assumed": {
            "mfu": MFU,
            "launch_s": LAUNCH_S,
            "reserve_bytes": RESERVE_BYTES,
            "fragmented": FRAGMENTED,
        },
        "stages": {plan.name: _stage_values(setup, plan, knobs) for plan, knobs in plans},
    }


def _stage_values(setup: Setup, plan: StagePlan, knobs: list[Knob]) -> dict[str, Any]:
    step = plan.step
    return {
        "steps": plan.num_steps,
        "batch_size": plan.settings.batch_size,
        "accumulation": plan.settings.accumulation,
        "micro_batches_per_gpu": plan.micro_batches,
        "parameters": round(plan.weights),
        "trained_parameters": round(plan.trained),
        "memory_bytes": {what: round(size) for what, size in plan.memory.items()},
        "needed_bytes": round(plan.needed),
        "capacity_bytes": round(plan.capacity),
        "fits": plan.fits,
        "step": {
            "flops": round(step.flops),
            "arithmetic_s": step.arithmetic_s,
            "memory_s": step.memory_s,
            "launch_s": step.launch_s,
            "link_s": step.link_s,
            "link_bytes": round(step.link_bytes),
            "host_s": step.host_s,
            "optimiser_s": step.optimiser_s,
            "bound": step.bound,
            "total_s": step.total_s,
        },
        "total_s": plan.total_s,
        "gpu_hours": plan.total_s * setup.layout.gpus / 3600,
        "fits_with": [
            {"change": knob.words, "option": knob.option, "needed_bytes": round(knob.plan.needed)}
            for knob in knobs
        ],
    }


def _time_lines(setup: Setup, plan: StagePlan) -> list[str]:
    step, gpus = plan.step, setup.layout.gpus
    notes = _notes(setup, plan, step)
    lines = [
        f"    {what:<32}{_seconds(seconds):>8}{notes.get(what, '')}"
        for what, seconds in step.bounds.items()
        if seconds >= _SHOWN_S
    ]
    if step.optimiser_s >= _SHOWN_S:
        lines.append(f"    {'optimiser':<32}{_seconds(step.optimiser_s):>8}")
    return [
        *lines,
        f"    {'a step':<32}{_seconds(step.total_s):>8}   bound by {step.bound}",
        f"  all steps: {_span(plan.total_s)}, {_amount(plan.total_s * gpus / 3600)} GPU-hours",
    ]


def _notes(setup: Setup, plan: StagePlan, step: StepTime) -> dict[str, str]:
    peak = peak_flops(setup.layout.gpu, plan.settings)
    return {
        "arithmetic": f"   {_amount(step.flops / 1e12)} TFLOP at {MFU:.0%} of {peak / 1e12:g} TFLOP/s",
        "link between GPUs": f"   {_amount(step.link_bytes / 1e9)} GB at {setup.layout.gpu.link_gb_s:g} GB/s",
    }


def _seconds(value: float) -> str:
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"


def _span(seconds: float) -> str:
    for unit, size in (("days", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"


def _amount(number: float) -> str:
    return f"{number:,.0f}".replace(",", " ") if number >= 1000 else f"{number:.3g}"


def _large(number: float) -> str:
    return f"{number / 1e9:.3g} G" if number >= 1e9 else f"{number / 1e6:.3g} M"


def _number(number: int, what: str) -> str:
    plural = "es" if what.endswith("ch") else "s"
    return f"{number} {what}{'' if number == 1 else plural}"
