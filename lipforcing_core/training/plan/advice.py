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
    """A change in words, what to write for it, and the plan that it leads to."""

    words: str
    option: str
    plan: StagePlan
    setup: Setup

    def __str__(self) -> str:
        return f"{self.words} ({self.option}; {gib(self.plan.needed)} GiB)"


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
    changed = [*_settings_changed(setup, name)]
    for words, option, other in changed:
        yield Knob(words=words, option=option, setup=other, plan=plan_stage(other, name))
    more = _more_gpus(setup, name)
    if more is not None:
        yield more
    for words, option, other in _modes_changed(setup, name):
        yield Knob(words=words, option=option, setup=other, plan=plan_stage(other, name))
    for gpu in sorted(GPUS, key=lambda gpu: gpu.memory_gib):
        if gpu.memory_gib > setup.layout.gpu.memory_gib:
            other = replace(setup, layout=replace(setup.layout, gpu=gpu))
            plan = plan_stage(other, name)
            if plan.fits:
                yield Knob(words="larger GPUs", option=f"--gpu {gpu.name}", setup=other, plan=plan)
                return


def _settings_changed(setup: Setup, name: StageName) -> Iterator[tuple[str, str, Setup]]:
    section, settings = settings_of(setup.preset, name)
    if not settings.recompute:
        other = replace(setup, preset=_with(setup.preset, name, {"recompute": True}))
        yield "blocks that are computed again", f"--set {section}.recompute=true", other
    if settings.batch_size > 1:
        accumulation = settings.accumulation * settings.batch_size
        other = replace(
            setup, preset=_with(setup.preset, name, {"batch_size": 1, "accumulation": accumulation})
        )
        option = f"--set {section}.batch_size=1 --set {section}.accumulation={accumulation}"
        yield "accumulation instead of a batch", option, other


def _modes_changed(setup: Setup, name: StageName) -> Iterator[tuple[str, str, Setup]]:
    if name != "lora" and not setup.adapters:
        yield "adapters instead of all weights", "--lora", replace(setup, adapters=True)
    if not setup.layout.offload:
        other = replace(setup, layout=replace(setup.layout, offload=True))
        yield "weights and optimiser in the memory of the host", "--offload", other


def _more_gpus(setup: Setup, name: StageName) -> Knob | None:
    gpus = 2 * setup.layout.gpus
    while gpus <= MOST_GPUS:
        other = replace(setup, layout=replace(setup.layout, gpus=gpus))
        plan = plan_stage(other, name)
        if plan.fits:
            return Knob(words=f"{gpus} GPUs", option=f"--gpus {gpus}", setup=other, plan=plan)
        gpus *= 2
    return None


def _together(setup: Setup, name: StageName) -> list[Knob]:
    """All changes of settings and modes, one after the other until it fits, then more GPUs."""
    words: list[str] = []
    options: list[str] = []
    for changes in (_settings_changed, _modes_changed):
        while (change := next(changes(setup, name), None)) is not None:
            words.append(change[0])
            options.append(change[1])
            setup = change[2]
            plan = plan_stage(setup, name)
            if plan.fits:
                return [Knob(words=" and ".join(words), option=" ".join(options), setup=setup, plan=plan)]
    more = _more_gpus(setup, name)
    if more is None:
        return []
    return [replace(more, words=" and ".join([*words, more.words]), option=" ".join([*options, more.option]))]


def _with(preset: Preset, name: StageName, values: dict[str, Any]) -> Preset:
    """A preset with other settings of a stage."""
    settings = settings_of(preset, name)[1].model_copy(update=values)
    if name == "distill":
        return preset.model_copy(update={"distill": preset.distill.model_copy(update={"student": settings})})
    return preset.model_copy(update={name: settings})
