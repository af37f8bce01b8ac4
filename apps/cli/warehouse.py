"""``lipforcing warehouse``: rebuild it, see what is in it and what it means, compare two, write the data dictionary."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from apps.cli.output import console, escape

app = typer.Typer(help="The DuckDB warehouse: rebuild, tables, describe, digest, dictionary.")


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
    place = escape(str(result.path))
    console.print(f"{place} from {result.num_files} inbox files", soft_wrap=True)


@app.command(epilog="Example: [bold]lipforcing warehouse tables[/bold]")
def tables(context: typer.Context) -> None:
    """List tables and views with what they hold."""
    from warehouse.connection import open_snapshot

    with open_snapshot(context.obj.workspace.warehouse):  # what cannot be asked is not listed
        _list_relations()


@app.command(epilog="Example: [bold]lipforcing warehouse describe leaderboard[/bold]")
def describe(
    table: Annotated[
        str | None, typer.Argument(help="A table or view; without one, all of them in one sentence each.")
    ] = None,
) -> None:
    """Say what a table or view holds, and what each of its columns means."""
    from warehouse.dictionary import described, meaning

    if table is None:
        _list_relations()
        return
    relation = described(table)
    console.print(escape(meaning(relation.comment)), soft_wrap=True)
    if relation.key:
        console.print(f"Key: {', '.join(relation.key)}", soft_wrap=True)
    console.print()
    grid = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("column", "type", "null"):
        grid.add_column(heading, no_wrap=True)
    grid.add_column("meaning", overflow="fold")
    for column in relation.columns:
        null = "" if relation.is_view else "yes" if column.nullable else "no"
        grid.add_row(column.name, column.sql_type.lower(), null, escape(meaning(column.comment)))
    console.print(grid)


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


def _list_relations() -> None:
    """A line for every table and view."""
    from warehouse.dictionary import meaning
    from warehouse.schema import relations

    for name, relation in sorted(relations().items()):
        console.print(f"[bold]{name:<24}[/bold] {escape(meaning(relation.comment))}", soft_wrap=True)
