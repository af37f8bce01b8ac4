"""Which knob makes a stage fit: every change is planned in full before it is recommended."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from lipforcing_core.presets.schema import Preset
from lipforcing_core.training.plan.gpus import GPUS
from lipforcing_core.training.plan.stages import Setup, StageName, StagePlan, plan_stage, settings_of

MOST_GPUS = 64
ENOUGH = 3
"""Changes of which each is enough: no more of them are looked for."""


@dataclass(frozen=True, kw_only=True)
class Knob:
    """A change in words, and the plan that it leads to.

    option: what to write for it, of ``train plan``. training: of the training itself; empty where it cannot do it yet.
    """

    words: str
    option: str
    training: str
    setup: Setup
    plan: StagePlan

    def __str__(self) -> str:
        later = "" if self.training else "; training cannot do that yet"
        return f"{self.words} ({self.option}; {gib(self.plan.needed)} GiB{later})"


def advise(setup: Setup, name: StageName) -> list[Knob]:
    """Changes of which each makes a stage fit that does not fit.

    If none does alone, as many of them as are needed together; empty where not even all of them are enough.
    """
    found: list[Knob] = []
    for knob in _single(setup, name):
        if knob.plan.fits:
            found.append(knob)
        if len(found) == ENOUGH:
            break
    return found or _together(setup, name)


def gib(size: float) -> str:
    """Bytes in GiB as a plan prints them: one digit after the point, or three that count."""
    value = size / 2**30
    return f"{value:.1f}" if value >= 1 else f"{value:.3g}"


def _single(setup: Setup, name: StageName) -> Iterator[Knob]:
    yield from _settings_changed(setup, name)
    if (more := _more_gpus(setup, name)) is not None:
        yield more
    yield from _modes_changed(setup, name)
    for gpu in sorted(GPUS, key=lambda gpu: gpu.memory_gib):
        if gpu.memory_gib > setup.layout.gpu.memory_gib:
            other = replace(setup, layout=replace(setup.layout, gpu=gpu))
            knob = _knob(other, name, "larger GPUs", f"--gpu {gpu.name}", training=gpu.summary)
            if knob.plan.fits:
                yield knob
                return


def _settings_changed(setup: Setup, name: StageName) -> Iterator[Knob]:
    section, settings = settings_of(setup.preset, name)
    if not settings.recompute:
        other = replace(setup, preset=_with(setup.preset, name, {"recompute": True}))
        option = f"--set {section}.recompute=true"
        yield _knob(other, name, "blocks that are computed again", option)
    if settings.batch_size > 1:
        accumulation = settings.accumulation * settings.batch_size
        other = replace(
            setup, preset=_with(setup.preset, name, {"batch_size": 1, "accumulation": accumulation})
        )
        option = f"--set {section}.batch_size=1 --set {section}.accumulation={accumulation}"
        yield _knob(other, name, "accumulation instead of a batch", option)


def _modes_changed(setup: Setup, name: StageName) -> Iterator[Knob]:
    if name != "lora" and not setup.adapters:
        other = replace(setup, adapters=True)
        yield _knob(other, name, "adapters instead of all weights", "--lora", training="")
    if not setup.layout.offload:
        other = replace(setup, layout=replace(setup.layout, offload=True))
        words = "weights and optimiser in the memory of the host"
        yield _knob(other, name, words, "--offload", training="")


def _more_gpus(setup: Setup, name: StageName) -> Knob | None:
    gpus = 2 * setup.layout.gpus
    while gpus <= MOST_GPUS:
        other = replace(setup, layout=replace(setup.layout, gpus=gpus))
        knob = _knob(other, name, f"{gpus} GPUs", f"--gpus {gpus}", training=f"--workers {gpus}")
        if knob.plan.fits:
            return knob
        gpus *= 2
    return None


def _together(setup: Setup, name: StageName) -> list[Knob]:
    """All changes of settings and modes, one after the other until it fits, then more GPUs."""
    done: list[Knob] = []
    for changes in (_settings_changed, _modes_changed):
        while (knob := next(changes(setup, name), None)) is not None:
            done.append(knob)
            setup = knob.setup
            if knob.plan.fits:
                return [_joined(done)]
    more = _more_gpus(setup, name)
    return [] if more is None else [_joined([*done, more])]


def _joined(knobs: list[Knob]) -> Knob:
    return replace(
        knobs[-1],
        words=" and ".join(knob.words for knob in knobs),
        option=" ".join(knob.option for knob in knobs),
        training=" ".join(knob.training for knob in knobs) if all(knob.training for knob in knobs) else "",
    )


def _knob(setup: Setup, name: StageName, words: str, option: str, *, training: str | None = None) -> Knob:
    """training: what to write for it there, where that is something else."""
    return Knob(
        words=words,
        option=option,
        training=option if training is None else training,
        setup=setup,
        plan=plan_stage(setup, name),
    )


def _with(preset: Preset, name: StageName, values: dict[str, Any]) -> Preset:
    """A preset with other settings of a stage."""
    settings = settings_of(preset, name)[1].model_copy(update=values)
    if name == "distill":
        return preset.model_copy(update={"distill": preset.distill.model_copy(update={"student": settings})})
    return preset.model_copy(update={name: settings})
