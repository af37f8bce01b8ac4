"""``lipforcing puppets``: the synthetic talking-head corpus with known truth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from apps.cli.output import say

app = typer.Typer(help="The synthetic talking-head corpus with known truth.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """The synthetic talking-head corpus with known truth."""


@app.command("render", epilog="Example: [bold]lipforcing puppets render out --reels 4 --pairs 2[/bold]")
def render(
    out: Annotated[
        Path,
        typer.Argument(help="Folder to write reels/, defects/ and heldout/ into; finished clips are kept."),
    ],
    seed: Annotated[int, typer.Option(help="Same seed, same corpus.")] = 0,
    reels: Annotated[int, typer.Option(min=0, help="Number of reels of several shots.")] = 4,
    pairs: Annotated[int, typer.Option(min=0, help="Number of held-out evaluation items.")] = 2,
    size: Annotated[int, typer.Option(min=256, help="Frame side in pixels.")] = 320,
    defects: Annotated[bool, typer.Option(help="Also the reels with planted defects.")] = True,
) -> None:
    """Render talking puppets with a JSON truth file beside each clip."""
    from lipforcing_core.puppets.corpus import render_corpus
    from tasks.progress import step

    with step("render puppets", "clips") as advance:
        render_corpus(
            out, seed=seed, num_reels=reels, num_pairs=pairs, size=size, defects=defects, on_progress=advance
        )
    say(f"Puppets and their truth are in {out}")
