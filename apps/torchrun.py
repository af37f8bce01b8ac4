"""``torchrun -m apps.torchrun``: a training stage on several workers without Ray and Prefect.

Every worker runs this with the same arguments; which it is of how many, it reads from the environment that ``torchrun``
(or SLURM with ``RANK``, ``WORLD_SIZE``, ``MASTER_ADDR`` and ``MASTER_PORT``) gives it. Killed and started again, with
as many workers or with others, a stage goes on where it was.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lipforcing_core.base.errors import BadInputError, LipForcingError
from lipforcing_core.training.strategies.catalogue import STRATEGIES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lipforcing_core.presets import Preset
    from lipforcing_core.runtime.bundle import BundleKind
    from lipforcing_core.training.loop import StepMetrics
    from lipforcing_core.training.stages.protocol import Stage

SAY_EVERY_S = 10.0
STATES = "training"

app = typer.Typer(
    help="A training stage on the workers that torchrun starts, from latents (lipforcing export --to latents).",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Data = Annotated[Path, typer.Argument(help="Folder of latents: codec.safetensors and windows/.")]
Output = Annotated[
    Path, typer.Option("--output", "-o", help="Folder for states, metrics and the model bundle.")
]
Where = Annotated[str, typer.Option(help=STRATEGIES.help)]
Teacher = Annotated[Path, typer.Option(help="Bundle of the trained teacher.")]
StagePreset = Annotated[
    str | None, typer.Option("--preset", help="Preset name or TOML file; default: that of the teacher.")
]


@app.command()
def teacher(
    data: Data,
    output: Output,
    preset: Annotated[str, typer.Option(help="Preset name or TOML file.")] = "nano",
    base: Annotated[
        Path | None, typer.Option(help="Weights it starts from; default: those that ship for the preset.")
    ] = None,
    device: Where = "sharded",
) -> None:
    """Finetune the bidirectional teacher by LoRA (method D.3)."""
    from lipforcing_core.presets import load_preset
    from lipforcing_core.runtime.bundle import BundleKind
    from lipforcing_core.runtime.shipped_base import shipped_base
    from lipforcing_core.training.stages.teacher import BASE, TeacherLora

    chosen = load_preset(preset)
    if base is None:
        shipped = shipped_base(chosen)
        if shipped is None:
            raise BadInputError(f"no base ships for preset {chosen.name}: give its weights with --base")
        base = shipped.model_file
    _run(TeacherLora.of(chosen), chosen, data, {BASE: base}, output, device, BundleKind.TEACHER, "teacher")


@app.command()
def student(
    data: Data, teacher: Teacher, output: Output, preset: StagePreset = None, device: Where = "sharded"
) -> None:
    """Pre-train the causal student by Diffusion Forcing (method D.4)."""
    from lipforcing_core.runtime.bundle import MODEL_FILE, BundleKind
    from lipforcing_core.training.stages.forcing import TEACHER, StudentForcing

    chosen = _preset(preset, teacher, data)
    init = {TEACHER: teacher / MODEL_FILE}
    stage = StudentForcing.of(chosen)
    _run(stage, chosen, data, init, output, device, BundleKind.STUDENT, "pretrained")


@app.command()
def distill(
    data: Data,
    teacher: Teacher,
    student: Annotated[Path, typer.Option(help="Bundle of the pre-trained student.")],
    output: Output,
    preset: StagePreset = None,
    expert: Annotated[
        Path | None, typer.Option(help="File of the sync expert that rewards, where it needs one.")
    ] = None,
    device: Where = "sharded",
) -> None:
    """Distil the student: Self-Forcing rollout, Sync-Window DMD, SyncNet reward (method D.5)."""
    from lipforcing_core.runtime.bundle import MODEL_FILE, BundleKind
    from lipforcing_core.sync.experts.catalogue import SYNC_EXPERTS
    from lipforcing_core.training.stages.distillation import CRITIC, STUDENT, TEACHER, Distillation
    from lipforcing_core.weights.chosen import checked_files

    chosen = _preset(preset, teacher, data, also=student)
    checked_files(SYNC_EXPERTS, chosen.backends.sync, expert)
    init = {
        STUDENT: student / MODEL_FILE,
        TEACHER: teacher / MODEL_FILE,
        CRITIC: teacher / MODEL_FILE,
    }
    stage = Distillation.of(chosen)
    _run(stage, chosen, data, init, output, device, BundleKind.STUDENT, "distilled", expert)


def _preset(given: str | None, teacher: Path, data: Path, *, also: Path | None = None) -> Preset:
    """The preset given, or that of the teacher; its codec has to be that of the latents."""
    from lipforcing_core.presets import load_preset
    from lipforcing_core.runtime.bundle import CODEC_FILE, describe_bundle
    from lipforcing_core.training.inputs import check_codec

    preset = describe_bundle(teacher).preset
    check_codec(data / CODEC_FILE, [teacher] if also is None else [teacher, also])
    return preset if given is None else load_preset(given)


def _run(
    stage: Stage,
    preset: Preset,
    data: Path,
    init: Mapping[str, Path],
    output: Path,
    device: str,
    kind: BundleKind,
    name: str,
    expert: Path | None = None,
) -> None:
    from lipforcing_core.runtime.bundle import save_bundle
    from lipforcing_core.training.inputs import stage_inputs
    from lipforcing_core.training.latent_sets import CODEC_FILE, WINDOWS_FOLDER, window_files
    from lipforcing_core.training.strategies.catalogue import load_strategy

    entry = STRATEGIES[device]
    if entry.lacks:
        raise BadInputError(
            f"device {device} needs {entry.lacks}, and there is none; --device sharded-cpu tries it"
        )
    windows, codec_file = window_files(data), data / CODEC_FILE
    if not windows or not codec_file.is_file():
        raise BadInputError(
            f"{data}: holds no {CODEC_FILE} and {WINDOWS_FOLDER}/: give what `export --to latents` wrote"
        )
    with entry.meeting():
        strategy = load_strategy(device)
        inputs = stage_inputs(
            stage,
            preset,
            windows,
            codec_file,
            init,
            expert_file=expert,
            device=entry.torch_device,
        )
        say = _teller() if strategy.workers.rank == 0 else None
        result = stage.run(inputs, output / STATES, strategy=strategy, on_step=say)
        if strategy.workers.rank == 0:
            bundle = output / "bundle"
            save_bundle(
                bundle,
                kind=kind,
                stage=name,
                preset=preset,
                model_file=result.model_path,
                codec_file=codec_file,
            )
            print(f"{bundle}: {result.steps} steps on {strategy.workers.count} workers", flush=True)


def _teller() -> Callable[[StepMetrics], None]:
    """Says now and then how far a run is."""
    said = time.monotonic()

    def tell(metrics: StepMetrics) -> None:
        nonlocal said
        if time.monotonic() - said >= SAY_EVERY_S:
            said = time.monotonic()
            values = ", ".join(f"{name} {value:.4g}" for name, value in metrics.values.items())
            print(f"{metrics.stage} {metrics.step}/{metrics.num_steps}: {values}", flush=True)

    return tell


def main() -> None:
    """Entry point: one clear sentence and a non-zero exit for every error a user can cause."""
    try:
        app()
    except LipForcingError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
