"""``lipforcing warehouse``: rebuild it, see what is in it, compare two, and write the data dictionary."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

app = typer.Typer(help="The DuckDB warehouse: rebuild, tables, digest, dictionary.")
console = Console(highlight=False)


@app.command(epilog="Example: [bold]lipforcing warehouse rebuild[/bold]")
def rebuild(context: typer.Context) -> None:
    """Build the snapshot again from the inbox; the content is the same as before."""
    from warehouse.loader import rebuild as rebuild_warehouse

    workspace = context.obj.workspace
    result = rebuild_warehouse(workspace.inbox, workspace.warehouse)
    for name, count in result.rows.items():
        if count:
            console.print(f"{name:<24} {count:>8} rows")
    for item in result.quarantined:
        words = escape(f"{item.path}: {item.problem}")
        console.print(f"[yellow]left out[/yellow] {words}", soft_wrap=True)
    console.print(f"{escape(str(result.path))} from {result.num_files} inbox files", soft_wrap=True)


@app.command(epilog="Example: [bold]lipforcing warehouse tables[/bold]")
def tables(context: typer.Context) -> None:
    """List tables and views with what they hold."""
    from warehouse.connection import open_snapshot
    from warehouse.schema import relations

    with open_snapshot(context.obj.workspace.warehouse):  # what cannot be asked is not listed
        for name, relation in sorted(relations().items()):
            console.print(f"[bold]{name:<24}[/bold] {escape(relation.comment)}", soft_wrap=True)


@app.command(epilog="Example: [bold]lipforcing warehouse digest[/bold]")
def digest(context: typer.Context) -> None:
    """Print a content hash per table, leaving out what a clock measured: equal runs give equal hashes."""
    from warehouse.digest import digest as content_digest

    for name, value in content_digest(context.obj.workspace.warehouse).items():
        console.print(f"{name:<24} {value}")


@app.command(epilog="Example: [bold]lipforcing warehouse dictionary -o docs/data_dictionary.md[/bold]")
def dictionary(
    output: Annotated[Path, typer.Option("--output", "-o", help="Markdown file to write.")],
) -> None:
    """Write the data dictionary, generated from the comments of the schema."""
    from warehouse.dictionary import write_data_dictionary

    write_data_dictionary(output)
    console.print(f"wrote {escape(str(output))}", soft_wrap=True)
