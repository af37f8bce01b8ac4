"""``lipforcing train plan``: memory and time of every stage of a training, before it starts."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Annotated

import typer

from apps.cli.output import say
from lipforcing_core.training.plan.gpus import GPUS

EPILOG = (
    "Examples: [bold]lipforcing train plan --preset 14b --gpus 4 --gpu h200[/bold]  "
    "[bold]lipforcing train plan --preset 1.3b --gpu rtx4090 --stage lora --set lora.recompute=true[/bold]  "
    "[bold]lipforcing train plan --preset 14b --gpus 8 --memory-gb 64 --json[/bold]"
)
SET_HELP = "Change a setting of the preset; may be given again."


def plan(
    preset: Annotated[str, typer.Option(help="Preset name or TOML file.")] = "nano",
    gpus: Annotated[int, typer.Option(min=1, max=4096, help="How many GPUs train together.")] = 1,
    gpu: Annotated[str, typer.Option(help=GPUS.help)] = GPUS.default,
    memory_gb: Annotated[
        float | None,
        typer.Option(
            min=1.0, help="Memory of a GPU in GiB, as nvidia-smi says, where it is another than the table's."
        ),
    ] = None,
    stage: Annotated[
        str | None, typer.Option(help="One stage alone: lora, diffusion_forcing or distill.")
    ] = None,
    lora: Annotated[
        bool, typer.Option("--lora", help="Students and critic train adapters of the teacher's rank.")
    ] = False,
    offload: Annotated[
        bool, typer.Option("--offload", help="Weights, gradients and optimiser wait in the host's memory.")
    ] = False,
    changes: Annotated[
        list[str] | None, typer.Option("--set", metavar="SECTION.KEY=VALUE", help=SET_HELP)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON: bytes and seconds.")] = False,
) -> None:
    """Say what each stage needs on every GPU, whether it fits, how long it takes, and which knob to turn.

    Counted on the real networks and losses without loading or computing anything; the 14B model takes about a minute.
    The exit status is 1 where a stage does not fit.
    """
    from lipforcing_core.base.errors import BadInputError
    from lipforcing_core.base.suggestions import unknown
    from lipforcing_core.presets import load_preset
    from lipforcing_core.training.plan.advice import advise
    from lipforcing_core.training.plan.layout import Layout
    from lipforcing_core.training.plan.stages import STAGE_NAMES, Setup, plan_stage
    from lipforcing_core.training.plan.text import assumptions_text, head_text, plan_text, plan_values

    if stage is not None and stage not in STAGE_NAMES:
        raise BadInputError(unknown("stage", stage, STAGE_NAMES))
    kind = GPUS[gpu]
    if memory_gb is not None:
        kind = replace(kind, memory_gib=memory_gb)
    setup = Setup(
        preset=load_preset(preset, overrides=changes or ()),
        layout=Layout(gpu=kind, gpus=gpus, offload=offload),
        adapters=lora,
    )
    planned = []
    if not as_json:
        say(head_text(setup))
    for name in STAGE_NAMES:
        if stage not in (None, name):
            continue
        found = plan_stage(setup, name)
        knobs = [] if found.fits else advise(setup, name)
        planned.append((found, knobs))
        if not as_json:
            say(f"\n{plan_text(setup, found, knobs)}")
    if as_json:
        typer.echo(json.dumps(plan_values(setup, planned), indent=2))
    else:
        say(f"\n{assumptions_text()}")
    if not all(found.fits for found, _ in planned):
        raise typer.Exit(1)
