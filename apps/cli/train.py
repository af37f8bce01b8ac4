"""``lipforcing train``: the three stages of the paper, each as a Ray job that resumes, and the sync expert."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tasks.environment import make_prefect_home

app = typer.Typer(help="Train the teacher, the student, the distilled student, or the embedded sync expert.")

Manifest = Annotated[Path, typer.Argument(help="manifest.parquet written by `lipforcing curate`.")]
PresetName = Annotated[str, typer.Option(help="Preset name or TOML file.")]
Output = Annotated[Path, typer.Option("--output", "-o", help="Folder to write the model bundle to.")]
Teacher = Annotated[Path, typer.Option(help="Bundle of the trained teacher.")]


@app.command(
    epilog="Example: [bold]lipforcing train teacher runs/curate/latest/manifest.parquet -o teacher[/bold]"
)
def teacher(context: typer.Context, manifest: Manifest, output: Output, preset: PresetName = "nano") -> None:
    """Train the bidirectional teacher: base weights where none are public, then LoRA (method D.3)."""
    make_prefect_home()
    from flows.train import run_train_teacher

    run_train_teacher(context.obj.workspace, manifest, preset, output)


@app.command(
    epilog="Example: [bold]lipforcing train student runs/curate/latest/manifest.parquet "
    "--teacher teacher -o student[/bold]"
)
def student(context: typer.Context, manifest: Manifest, teacher: Teacher, output: Output) -> None:
    """Pre-train the causal student by Diffusion Forcing, from the teacher's weights (method D.4)."""
    make_prefect_home()
    from flows.train import run_pretrain_student

    run_pretrain_student(context.obj.workspace, manifest, teacher, output)


@app.command(
    epilog="Example: [bold]lipforcing train distill runs/curate/latest/manifest.parquet --teacher teacher "
    "--student student -o distilled[/bold]"
)
def distill(
    context: typer.Context,
    manifest: Manifest,
    teacher: Teacher,
    student: Annotated[Path, typer.Option(help="Bundle of the pre-trained student.")],
    output: Output,
) -> None:
    """Distil the student: Self-Forcing rollout, Sync-Window DMD, SyncNet reward (method D.5)."""
    make_prefect_home()
    from flows.train import run_distill_student

    run_distill_student(context.obj.workspace, manifest, teacher, student, output)


@app.command(epilog="Example: [bold]lipforcing train sync --seed 0 -o sync_expert[/bold]")
def sync(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write the weights to.")],
    seed: Annotated[int, typer.Option(help="Seed of data, initialisation and batches.")] = 0,
) -> None:
    """Train the small sync expert on synthetic puppets; the shipped weights come from this command."""
    make_prefect_home()
    from flows.train import run_train_sync

    run_train_sync(output, seed)
