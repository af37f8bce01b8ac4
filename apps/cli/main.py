"""The ``lipforcing`` command line. Heavy imports happen inside the commands, so ``--help`` answers at once."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from apps.cli import curate as cli_curate
from apps.cli import flow_commands, puppets, services
from apps.cli import presets as cli_presets
from apps.cli import runs as cli_runs
from apps.cli import settings as cli_settings
from apps.cli import train as cli_train
from apps.cli import warehouse as cli_warehouse
from apps.cli import weights as cli_weights
from apps.cli.encoding import use_utf8
from apps.cli.export import export
from apps.cli.output import Options, console, escape
from apps.cli.progress import TerminalReporter
from lipforcing_core import __version__
from lipforcing_core.base.errors import LipForcingError
from tasks.environment import INTERRUPTED, configure, end_on_signals
from tasks.progress import report_to
from tasks.workspace import Workspace
from warehouse.formats import OutputFormat

app = typer.Typer(
    name="lipforcing",
    help="Curate talking-head video, train and distil lip-sync students, generate, evaluate, and ask in SQL.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.add_typer(cli_curate.app, name="curate")
app.add_typer(cli_train.app, name="train")
app.add_typer(cli_runs.app, name="runs")
app.add_typer(cli_presets.app, name="presets")
app.add_typer(cli_settings.app, name="settings")
app.add_typer(cli_warehouse.app, name="warehouse")
app.add_typer(cli_weights.app, name="weights")
app.add_typer(puppets.app, name="puppets")

EXAMPLES: dict[Callable[..., None], str] = {
    flow_commands.demo: "lipforcing demo --videos ~/my_clips",
    flow_commands.train_eval: "lipforcing train-eval experiment.toml",
    flow_commands.ablate: "lipforcing ablate --table cfg_schedule --table steps",
    flow_commands.generate: "lipforcing generate talk.mp4 speech.wav -o synced.mp4[/bold]  [bold]"
    "lipforcing generate talk.mp4 speech.wav -o synced.mp4 --model lipforcing-14b --device cuda",
    flow_commands.evaluate: "lipforcing evaluate predictions.csv --items items.csv --name my_run",
    export: "lipforcing export runs/curate/RUN/manifest.parquet --to webdataset -o talks-shards",
    services.run: "lipforcing run curate --request request.json --json",
    services.flows: "lipforcing flows --schema train_eval",
    services.serve: "lipforcing serve --source ~/talks",
}
for command, example in EXAMPLES.items():
    app.command(epilog=f"Example: [bold]{example}[/bold]")(command)

USER_ERRNOS = {
    errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR, errno.EEXIST
}  # fmt: skip


@app.callback()
def options(
    context: typer.Context,
    workspace: Annotated[
        Path, typer.Option("--workspace", "-w", help="Folder for runs, state, the warehouse and weights.")
    ] = Path(),
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Remember the options and prepare the environment of the libraries."""
    configure(workspace)
    report_to(TerminalReporter())
    context.obj = Options(workspace=Workspace(workspace))


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


@app.command(epilog='Example: [bold]lipforcing sql "select * from leaderboard"[/bold]')
def sql(
    context: typer.Context,
    query: Annotated[str, typer.Argument(help="A SELECT statement (DuckDB's SQL).")],
    output_format: Annotated[
        OutputFormat, typer.Option("--format", "-f", help="How to print the rows.")
    ] = OutputFormat.TABLE,
    full: Annotated[
        bool, typer.Option("--full", help="Show long text whole; tables cut it otherwise.")
    ] = False,
) -> None:
    """Ask the warehouse (read-only). `lipforcing warehouse describe` says what there is to ask."""
    from warehouse.query import fetch, render

    columns, rows = fetch(context.obj.workspace.warehouse, query)
    text = render(columns, rows, output_format, full=full, terminal=sys.stdout.isatty())
    typer.echo(text, nl=output_format is OutputFormat.TABLE)


@app.command(hidden=True)
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


def main() -> None:
    """Entry point: one clear sentence and a non-zero exit for every error a user can cause."""
    debug = "--debug" in sys.argv  # the parser may be what fails
    use_utf8()
    end_on_signals()
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
