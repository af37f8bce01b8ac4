"""``lipforcing export``: a curated data set in the form of another library."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from apps.cli.output import remark, say
from lipforcing_core.base.errors import BadInputError
from lipforcing_core.export.catalogue import EXPORTS


def export(
    context: typer.Context,
    manifest: Annotated[
        Path, typer.Argument(help="manifest.parquet of a curation run, or the folder that holds it.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder to write; an equal export in it is reused.")
    ],
    to: Annotated[str, typer.Option("--to", help=EXPORTS.help)] = EXPORTS.default,
    name: Annotated[
        str,
        typer.Option(help="Name of the data set in the card; default: its own, or else that of the folder."),
    ] = "",
    preset: Annotated[
        str | None,
        typer.Option(
            help="Preset whose codec and audio encoder make the latents, for --to latents; default: nano."
        ),
    ] = None,
    shard_mb: Annotated[int, typer.Option("--shard-mb", min=1, help="Largest shard in megabytes.")] = 500,
    url: Annotated[str, typer.Option(help="Where the data set is or will be published.")] = "",
    creator: Annotated[str, typer.Option(help="Who made the data set.")] = "",
    published: Annotated[str, typer.Option(help="Date of publication, YYYY-MM-DD.")] = "",
) -> None:
    """Write a curated data set in the form of another library, with its data-set card.

    The folder appears when it is complete. An export that was interrupted goes on where it was.
    """
    entry = EXPORTS[to]  # an unknown form is told before anything heavy is imported
    if preset is not None and not entry.encodes:
        raise BadInputError(f"--preset: an export as {to} holds no latents; it goes with --to latents")
    from lipforcing_core.export.card import known
    from lipforcing_core.export.card_text import COMMERCIAL, count, length
    from lipforcing_core.export.curated import name_of_set
    from lipforcing_core.export.protocol import ExportSettings
    from lipforcing_core.export.run import write_export
    from tasks.progress import step

    settings = ExportSettings(
        name=name or name_of_set(manifest) or output.resolve().name,
        url=url,
        creator=creator,
        published=published,
        max_shard_bytes=shard_mb * 1_000_000,
    )
    made = only = None
    if entry.encodes:
        from tasks.exporting import latents_form

        made = latents_form(context.obj.workspace, manifest, preset or "nano")
        only = made.files
    with step(f"export as {to}", "clips") as advance:
        report = write_export(
            manifest, output, form=to, settings=settings, made=made, only=only, advance=advance
        )
    card = report.card
    there = " (it was there already)" if report.reused else ""
    size = f"{report.num_bytes / 1e6:,.1f} MB"
    say(
        f"{count(card.num_clips, 'clip')} ({length(card.seconds)}) in {count(len(report.files), 'file')}, {size}{there}"
    )
    say(
        f"{count(card.num_identities, 'identity', 'identities')}, "
        f"{count(len(known(card.licences)), 'licence')}, commercial use: {COMMERCIAL[card.commercial_ok]}"
    )
    say(f"card: {output / 'README.md'}")
    if report.broken:
        pages = (manifest if manifest.is_dir() else manifest.parent) / "data_docs.html"
        words = "was exported all the same; do not publish it or train on it before"
        remark("warning", f"the contract of this data set is broken ({pages}), and it {words} you know why:")
        for line in report.broken:
            remark("broken", line)
