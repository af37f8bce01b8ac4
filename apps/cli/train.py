"""``lipforcing train``: the three stages of the paper, each as a Ray job that resumes, the base and the sync expert."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from apps.cli.flow_commands import Changes, run_command
from apps.cli.output import say
from apps.cli.train_plan import EPILOG, plan
from tasks.training_device import AUTO, DEVICE_HELP, WORKERS_HELP

app = typer.Typer(
    help="Train the teacher, the student, the distilled student, a base checkpoint, or the embedded sync expert."
)

Manifest = Annotated[
    Path,
    typer.Argument(
        help="manifest.parquet written by `lipforcing curate`, or the folder of an export of latents."
    ),
]
PresetName = Annotated[str, typer.Option(help="Preset name or TOML file.")]
StagePreset = Annotated[
    str | None,
    typer.Option(
        "--preset", help="Preset name or TOML file, where this stage differs from the teacher's preset."
    ),
]
Output = Annotated[Path, typer.Option("--output", "-o", help="Folder to write the model bundle to.")]
Where = Annotated[str, typer.Option(help=DEVICE_HELP)]
Workers = Annotated[int, typer.Option(min=1, help=WORKERS_HELP)]
Teacher = Annotated[Path, typer.Option(help="Bundle of the trained teacher.")]


@app.command(
    epilog="Example: [bold]lipforcing train teacher runs/curate/latest/manifest.parquet -o teacher[/bold]"
)
def teacher(
    context: typer.Context,
    manifest: Manifest,
    output: Output,
    preset: PresetName = "nano",
    device: Where = AUTO,
    workers: Workers = 1,
    changes: Changes = None,
) -> None:
    """Train the bidirectional teacher: base weights where none are public, then LoRA (method D.3)."""
    given = _changed(preset, changes)
    _run(
        "train_teacher",
        context,
        manifest=manifest,
        preset=given,
        device=device,
        workers=workers,
        output=output,
    )


@app.command(
    epilog="Example: [bold]lipforcing train student runs/curate/latest/manifest.parquet "
    "--teacher teacher -o student[/bold]"
)
def student(
    context: typer.Context,
    manifest: Manifest,
    teacher: Teacher,
    output: Output,
    preset: StagePreset = None,
    device: Where = AUTO,
    workers: Workers = 1,
    changes: Changes = None,
) -> None:
    """Pre-train the causal student by Diffusion Forcing, from the teacher's weights (method D.4)."""
    given = _changed(preset or _preset_of(teacher), changes) if changes else preset
    _run(
        "pretrain_student",
        context,
        manifest=manifest,
        teacher=teacher,
        preset=given,
        device=device,
        workers=workers,
        output=output,
    )


@app.command(
    epilog="Example: [bold]lipforcing train distill runs/curate/latest/manifest.parquet --teacher teacher "
    "--student student -o distilled[/bold]  Add [bold]--set distill.reward_beta=0[/bold] to try another setting."
)
def distill(
    context: typer.Context,
    manifest: Manifest,
    teacher: Teacher,
    student: Annotated[Path, typer.Option(help="Bundle of the pre-trained student.")],
    output: Output,
    preset: StagePreset = None,
    device: Where = AUTO,
    workers: Workers = 1,
    changes: Changes = None,
) -> None:
    """Distil the student: Self-Forcing rollout, Sync-Window DMD, SyncNet reward (method D.5)."""
    given = _changed(preset or _preset_of(teacher), changes) if changes else preset
    _run(
        "distill_student",
        context,
        manifest=manifest,
        teacher=teacher,
        student=student,
        preset=given,
        device=device,
        workers=workers,
        output=output,
    )


@app.command(epilog="Example: [bold]lipforcing train base -o base[/bold]")
def base(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for corpus, states and weights.")],
    preset: PresetName = "nano",
    seed: Annotated[int, typer.Option(help="Seed of the puppets that are drawn.")] = 2026,
    clips: Annotated[int, typer.Option(min=1, help="Performances of 6.8 s that are drawn.")] = 48,
) -> None:
    """Train a base checkpoint and its codec from nothing on puppets; the shipped base of nano comes from this command.

    It takes about an hour of one core; killed and started again, it goes on where it was.
    """
    from lipforcing_core.presets import load_preset
    from lipforcing_core.training.base_checkpoint import make_base
    from lipforcing_core.training.base_corpus import BaseCorpusSettings
    from tasks.progress import step

    chosen, corpus = load_preset(preset), BaseCorpusSettings(seed=seed, num_clips=clips)
    steps = chosen.base.steps if chosen.base is not None else 0
    with step("draw puppets and train the base", "clips and steps") as advance:
        result = make_base(
            chosen,
            corpus,
            output,
            on_progress=lambda stage, done, _: advance(
                done + (clips if stage == "train" else 0), clips + steps
            ),
        )
    say(f"{result.model_file}: loss {result.loss:.3f}, SHA-256 {result.model_sha256}")
    say(f"{result.codec_file}: SHA-256 {result.codec_sha256}")


@app.command(epilog="Example: [bold]lipforcing train sync --seed 0 -o sync_expert[/bold]")
def sync(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write the weights to.")],
    seed: Annotated[int, typer.Option(help="Seed of data, initialisation and batches.")] = 0,
) -> None:
    """Train the small sync expert on synthetic puppets; the shipped weights come from this command."""
    from lipforcing_core.sync.train import SyncTrainSettings, train_sync_expert
    from tasks.progress import step

    with step("train the sync expert", "steps") as advance:
        result = train_sync_expert(
            SyncTrainSettings(seed=seed), output, on_progress=lambda _stage, done, total: advance(done, total)
        )
    say(f"{result.weights}: {result.backend_id}, loss {result.final_loss:.3f}")
    for accuracy in result.accuracy:
        say(f"  held-out offsets: {accuracy}")


app.command("plan", epilog=EPILOG)(plan)


def _changed(preset: str | dict[str, Any], changes: list[str] | None) -> str | dict[str, Any]:
    """A preset, named or whole, with changes, as a request says it."""
    from lipforcing_core.base.layers import apply_overrides

    if not changes:
        return preset
    return apply_overrides({"extends": preset} if isinstance(preset, str) else preset, changes)


def _preset_of(teacher: Path) -> dict[str, Any]:
    """The whole preset that a teacher was trained with."""
    from tasks.training_runs import student_preset

    return student_preset(None, teacher).model_dump(mode="json")


def _run(flow: str, context: typer.Context, **values: Any) -> None:
    from apps.cli.show import show

    show(run_command(context, flow, values))
