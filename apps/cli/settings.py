"""``lipforcing settings``: every setting with its unit, its default, what it means and what it decides."""

from __future__ import annotations

from typing import Annotated

import typer

from apps.cli.output import console, escape

app = typer.Typer(
    help="Settings in words: name, unit, default, meaning, what it decides.", no_args_is_help=True
)


@app.callback()
def settings() -> None:
    """Settings in words: name, unit, default, meaning, what it decides."""


@app.command(
    epilog="Examples: [bold]lipforcing settings curation[/bold]  "
    "[bold]lipforcing settings curation --toml > curation.toml[/bold]"
)
def curation(
    toml: Annotated[
        bool, typer.Option("--toml", help="A commented TOML file to start from, for `curate --settings`.")
    ] = False,
) -> None:
    """Print the settings of curation: what each means and decides, in which unit, and its default."""
    from lipforcing_core.base.describe import describe, toml_value, values_by_name
    from lipforcing_core.base.describe_toml import commented_toml
    from lipforcing_core.curation.settings import CurationSettings

    rows, defaults = describe(CurationSettings), values_by_name(CurationSettings())
    if toml:
        typer.echo(
            "# Settings of `lipforcing curate --settings FILE`: take the `# ` of a line away to change one."
        )
        typer.echo(commented_toml(rows, defaults, table="curation"), nl=False)
        return
    for row in rows:
        default = toml_value(defaults[row.name]) if row.name in defaults else "not set"
        unit = f"  [dim]{escape(row.unit)}[/dim]" if row.unit else ""
        console.print(f"[bold]{row.name}[/bold] = {escape(default)}{unit}", soft_wrap=True)
        console.print(f"    {escape(row.meaning)} ({escape(row.type)})", soft_wrap=True)
        console.print(f"    decides {escape(row.decides)}", soft_wrap=True)
