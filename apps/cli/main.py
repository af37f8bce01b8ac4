"""The ``lipforcing`` command line. Heavy imports happen inside the commands, so ``--help`` answers at once."""

from __future__ import annotations

import errno
import sys
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from apps.cli import train as cli_train
from apps.cli import warehouse as cli_warehouse
from apps.cli import weights as cli_weights
from lipforcing_core import __version__
from lipforcing_core.base.catalogue import file_help
from lipforcing_core.base.errors import BadInputError, LipForcingError
from lipforcing_core.faces.detectors.catalogue import DETECTORS
from lipforcing_core.sync.experts.catalogue import SYNC_EXPERTS, advice_for_people
from lipforcing_core.weights.chosen import weights_to_find
from tasks.environment import INTERRUPTED, configure, make_prefect_home
from tasks.workspace import Workspace

app = typer.Typer(
    name="lipforcing",
    help="Curate talking-head video, train and distil lip-sync students, generate, evaluate, and ask in SQL.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    add_completion=False,
)
puppets_app = typer.Typer(help="The synthetic talking-head corpus with known truth.")
app.add_typer(cli_train.app, name="train")
app.add_typer(cli_warehouse.app, name="warehouse")
app.add_typer(cli_weights.app, name="weights")
app.add_typer(puppets_app, name="puppets")

console = Console(highlight=False)

NANO = "\nA nano model knows only the puppets it was trained on: on real people expect moving, blurred lips."
SLOW = (
    "[yellow]slow:[/yellow] a model of preset {preset} is made for a GPU; on a CPU a second of video takes minutes to "
    "hours, and the 14B model 40 GB of memory"
)


USER_ERRNOS = {
    errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR, errno.EEXIST
}  # fmt: skip


class OutputFormat(StrEnum):
    """How rows are printed."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    MARKDOWN = "markdown"


class Device(StrEnum):
    """Where a model runs."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


@dataclass
class Options:
    """Options that come before the command."""

    workspace: Workspace


@app.callback()
def options(
    context: typer.Context,
    workspace: Annotated[
        Path, typer.Option("--workspace", "-w", help="Folder for runs, state and the warehouse.")
    ] = Path(),
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Remember the options and prepare the environment of the libraries."""
    configure(workspace)
    context.obj = Options(workspace=Workspace(workspace))


@app.command(epilog="Example: [bold]lipforcing demo --videos ~/my_clips[/bold]")
def demo(
    context: typer.Context,
    videos: Annotated[
        Path | None, typer.Option(help="A folder of your own videos, curated and re-synced as well.")
    ] = None,
    seed: Annotated[
        int, typer.Option(help="Seed of the puppets and the bootstrap; that of training is in the preset.")
    ] = 0,
) -> None:
    """Run the whole factory, small: curate, train, distil, generate, evaluate, report.

    At most 15 minutes on 2 cores; a second run reuses what is finished and ends in under a minute.
    """
    make_prefect_home()
    from flows.demo import run_demo

    run_demo(context.obj.workspace, seed=seed, videos=videos)


@app.command(epilog="Example: [bold]lipforcing doctor[/bold]")
def doctor(context: typer.Context) -> None:
    """Show what this machine can do, what is missing, and the command that fixes it."""
    from apps.cli.doctor import Health, examine

    marks = {Health.OK: "[green]ok      [/green]", Health.OPTIONAL: "[yellow]optional[/yellow]"}
    broken = 0
    for finding in examine(context.obj.workspace):
        mark = marks.get(finding.health, "[red]broken  [/red]")
        detail = escape(finding.detail)
        console.print(f"{mark} [bold]{finding.subject:<26}[/bold] {detail}", soft_wrap=True)
        if finding.remedy:
            console.print(f"{'':9}{'':26} -> {escape(finding.remedy)}", soft_wrap=True)
        broken += finding.health is Health.BROKEN
    if broken:
        raise typer.Exit(1)


@app.command(
    epilog="Example: [bold]lipforcing curate ~/talks --detector scrfd --detector-model scrfd.onnx[/bold]"
)
def curate(
    context: typer.Context,
    source: Annotated[
        Path, typer.Argument(help="A video file or a folder of videos (searched recursively).")
    ],
    settings: Annotated[Path | None, typer.Option(help="TOML file with a \\[curation] table.")] = None,
    detector: Annotated[str | None, typer.Option(help=DETECTORS.help)] = None,
    detector_model: Annotated[Path | None, typer.Option(help=file_help(DETECTORS))] = None,
    min_seconds: Annotated[float | None, typer.Option(help="Shortest clip to keep (default 5).")] = None,
    sync_filter: Annotated[
        bool | None,
        typer.Option(help=f"Reject and correct by sync scores. {advice_for_people(SYNC_EXPERTS.default)}"),
    ] = None,
) -> None:
    """Turn raw videos into aligned, synchronised, checked clips with a Parquet manifest.

    Every source ends as accepted clips, rejection rows or a quarantine row; a killed run resumes.
    """
    make_prefect_home()
    from flows.curate import run_curate

    run_curate(
        context.obj.workspace,
        source,
        settings_file=settings,
        overrides={
            "detector": detector,
            "detector_model": detector_model,
            "min_segment_s": min_seconds,
            "sync_filter": sync_filter,
        },
    )


@app.command(
    epilog="Examples: [bold]lipforcing generate talk.mp4 speech.wav -o synced.mp4[/bold]  "
    "[bold]lipforcing generate talk.mp4 speech.wav -o synced.mp4 --model lipforcing-14b --device cuda[/bold]"
)
def generate(
    context: typer.Context,
    video: Annotated[Path, typer.Argument(help="The video whose lips are redrawn.")],
    audio: Annotated[Path, typer.Argument(help="The speech that drives them (any audio or video file).")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The .mp4 to write.")],
    model: Annotated[
        str | None,
        typer.Option(
            help="A model bundle, or a released student (lipforcing-14b); default: the student of the last demo."
        ),
    ] = None,
    device: Annotated[
        Device, typer.Option(help="auto: the GPU, if there is one, for all but the embedded models.")
    ] = Device.AUTO,
    detector: Annotated[str, typer.Option(help=DETECTORS.help)] = DETECTORS.default,
    detector_model: Annotated[Path | None, typer.Option(help=file_help(DETECTORS))] = None,
    seed: Annotated[int, typer.Option(help="Seed of the noise.")] = 42,
) -> None:
    """Re-sync a video to a speech track, streaming, chunk by chunk.

    A released student and its codec and encoders are read from the weights folder (`lipforcing weights fetch`).
    """
    make_prefect_home()
    from lipforcing_core.metrics.speed import speed_values
    from lipforcing_core.runtime.bundle import find_model, model_preset, require_files
    from lipforcing_core.runtime.encoders import choose_device, is_embedded
    from lipforcing_core.streaming.files import check_files
    from tasks.generation import GenerationJob, generate_file, load_model
    from tasks.progress import step

    workspace: Workspace = context.obj.workspace
    demo_model = workspace.runs / "demo" / "latest" / "models" / "distilled"
    if model is None and not demo_model.exists():
        raise BadInputError(
            f"no demo has run in the workspace {workspace.root.absolute()}: run `lipforcing demo`, name the workspace "
            "of one (lipforcing -w FOLDER generate ...), or give a bundle with --model"
        )
    of_detector = weights_to_find(DETECTORS[detector], detector_model)
    check_files(video, audio, output)
    bundle = demo_model if model is None else find_model(model)
    preset = model_preset(bundle)
    chosen_device = choose_device(device.value, preset)
    require_files(bundle, workspace.weights, also=of_detector)
    job = GenerationJob(
        name=output.name,
        video=video,
        audio=audio,
        bundle=bundle,
        seed=seed,
        detector=detector,
        detector_model=workspace.detector_model(detector, detector_model),
        weights=workspace.weights,
        device=chosen_device,
    )
    loaded = None
    if not is_embedded(preset):
        if job.device == "cpu":
            console.print(SLOW.format(preset=escape(preset.name)), soft_wrap=True)
        with step(f"load {job.bundle} (MB)") as advance:
            loaded = load_model(
                job.bundle,
                job.weights,
                job.device,
                lambda done, total: advance(done // 1_000_000, total // 1_000_000),
            )
    with step(f"generate {output.name}") as advance:
        report = generate_file(job, output, advance, bundle=loaded)
    speed = speed_values(report.ledger)
    console.print(
        f"{escape(str(output))}: {report.num_frames} frames by {report.model_id}, "
        f"{report.num_passed_through} of them without a face and passed through\n"
        f"pipeline {speed['fps_pipeline']:.1f} frames/s, first frames after {speed['ttff_pipeline_s']:.3f} s; "
        f"end to end {speed['fps_end_to_end']:.1f} frames/s" + (NANO if loaded is None else ""),
        soft_wrap=True,
    )


@app.command(
    epilog="Example: [bold]lipforcing evaluate predictions.csv --items items.csv --name my_run[/bold]"
)
def evaluate(
    context: typer.Context,
    predictions: Annotated[Path, typer.Argument(help="CSV: clip_id, system, path, sha256[, driven_by].")],
    items: Annotated[
        Path,
        typer.Option(
            help="CSV: clip_id, identity, truth_video, driving_audio[, source_video, unrelated_audio]."
        ),
    ],
    name: Annotated[str, typer.Option(help="Name of the run in the warehouse.")] = "evaluation",
    frames: Annotated[
        int | None, typer.Option(min=16, help="Score the first N frames; default: the whole truth.")
    ] = None,
    detector: Annotated[str, typer.Option(help=DETECTORS.help)] = DETECTORS.default,
    detector_model: Annotated[Path | None, typer.Option(help=file_help(DETECTORS))] = None,
    networks: Annotated[
        str, typer.Option(help="Networks that score: embedded (no files) or learned (weights you fetch).")
    ] = "embedded",
    sync_expert: Annotated[
        str | None, typer.Option(help=f"{SYNC_EXPERTS.help} Default: the one of the networks.")
    ] = None,
) -> None:
    """Score predictions of any lip-sync system with one protocol, into the warehouse.

    With learned networks FID, FVD, CSIM, LPIPS and sync scores are of Inception-v3, I3D, ArcFace, AlexNet and
    SyncNet-v2, from the weights folder. Scores of different networks are never compared.
    """
    make_prefect_home()
    from flows.evaluate import run_evaluate
    from tasks.evaluation import Scorers

    scorers = Scorers(
        detector=detector,
        detector_model=detector_model,
        networks=networks,
        sync_expert=sync_expert,
        weights=context.obj.workspace.weights,
    )
    run_evaluate(context.obj.workspace, predictions, items, name=name, scorers=scorers, num_frames=frames)


@app.command(epilog='Example: [bold]lipforcing sql "select * from leaderboard"[/bold]')
def sql(
    context: typer.Context,
    query: Annotated[str, typer.Argument(help="A SELECT statement (DuckDB's SQL).")],
    output_format: Annotated[
        OutputFormat, typer.Option("--format", "-f", help="How to print the rows.")
    ] = OutputFormat.TABLE,
) -> None:
    """Ask the warehouse (read-only). `lipforcing warehouse tables` lists what there is to ask."""
    from warehouse.query import fetch, render

    columns, rows = fetch(context.obj.workspace.warehouse, query)
    typer.echo(render(columns, rows, output_format.value), nl=output_format is OutputFormat.TABLE)


@puppets_app.command(
    "render", epilog="Example: [bold]lipforcing puppets render out --reels 4 --pairs 2[/bold]"
)
def puppets_render(
    out: Annotated[Path, typer.Argument(help="Folder to write reels/, defects/ and heldout/ into.")],
    seed: Annotated[int, typer.Option(help="Same seed, same corpus.")] = 0,
    reels: Annotated[int, typer.Option(min=0, help="Number of reels of several shots.")] = 4,
    pairs: Annotated[int, typer.Option(min=0, help="Number of held-out evaluation items.")] = 2,
    size: Annotated[int, typer.Option(min=256, help="Frame side in pixels.")] = 320,
    defects: Annotated[bool, typer.Option(help="Also the reels with planted defects.")] = True,
) -> None:
    """Render talking puppets with a JSON truth file beside each clip."""
    from lipforcing_core.puppets.corpus import render_corpus
    from tasks.progress import step

    with step("render puppets") as advance:
        render_corpus(
            out, seed=seed, num_reels=reels, num_pairs=pairs, size=size, defects=defects, on_progress=advance
        )
    console.print(f"Puppets and their truth are in {escape(str(out))}", soft_wrap=True)


@app.command(hidden=True)
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


def main() -> None:
    """Entry point: one clear sentence and a non-zero exit for every error a user can cause."""
    debug = "--debug" in sys.argv  # the parser may be what fails
    try:
        app(standalone_mode=True)
    except LipForcingError as error:
        _fail(str(error), error.exit_code, error if debug else None)
    except SystemExit as stop:
        if stop.code == INTERRUPTED:  # what typer makes of Ctrl-C
            _fail("interrupted; start the same command again to continue", INTERRUPTED, None)
        raise
    except OSError as error:
        if error.errno not in USER_ERRNOS:
            raise
        where = f" ({error.filename})" if error.filename else ""
        _fail(f"{error.strerror}{where}; nothing was left half-written", 5, error if debug else None)


def _fail(message: str, code: int, error: BaseException | None) -> None:
    if error is not None:
        raise error
    text = f"[red]error:[/red] {escape(message)}"
    Console(stderr=True, highlight=False).print(text, soft_wrap=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
