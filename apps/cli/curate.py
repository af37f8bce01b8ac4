"""``lipforcing curate``: curate a source, tell the story of one, and compare two curations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from apps.cli.command_group import CommandGroup
from apps.cli.flow_commands import curate
from apps.cli.output import say

app = typer.Typer(
    cls=CommandGroup,
    invoke_without_command=True,
    epilog="Examples: [bold]lipforcing curate ~/talks --detector scrfd --detector-model scrfd.onnx[/bold]  "
    "[bold]lipforcing curate ~/talks --set max_segment_s=8 --set near_duplicates=off[/bold]  "
    "[bold]lipforcing curate explain ~/talks/a.mp4[/bold]  [bold]lipforcing curate diff latest RUN[/bold]  "
    "A folder that is called like one of the commands is written ./explain or ./diff.",
)
app.callback()(curate)

LATEST = "latest"


@app.command(
    epilog="Examples: [bold]lipforcing curate explain talks/interview.mp4[/bold]  "
    "[bold]lipforcing curate explain 5195e2ee --html interview.html[/bold]"
)
def explain(
    context: typer.Context,
    asked: Annotated[
        str,
        typer.Argument(
            metavar="CLIP_OR_FILE",
            help="The id of a clip or the beginning of one, the path of a source, or the file of a clip.",
        ),
    ],
    run: Annotated[
        str, typer.Option(help="Which curation: a run id, its folder, or latest.", metavar="RUN")
    ] = LATEST,
    html: Annotated[
        Path | None,
        typer.Option(help="Write a page with thumbnails and score strips as well.", metavar="FILE"),
    ] = None,
) -> None:
    """Tell the whole story of one source: how it was read, every piece, value, limit and decision.

    It is told from what the curation stored; nothing is measured again.
    """
    from lipforcing_core.base.names import printable
    from lipforcing_core.curation.lookup import look_up_in
    from lipforcing_core.curation.stored_run import find_run, read_run
    from lipforcing_core.curation.story import story_of
    from lipforcing_core.curation.story_page import write_story_page
    from lipforcing_core.curation.story_text import story_text

    workspace = context.obj.workspace
    runs = workspace.runs / "curate"
    stored = read_run(find_run(runs, run))
    story = story_of(stored, workspace.store, look_up_in(runs, stored, asked))
    typer.echo(printable(story_text(story)), nl=False)
    if html is not None:
        write_story_page(html, story)
        say(f"\npage: {html}")


@app.command(
    epilog="Examples: [bold]lipforcing curate diff curate-61ebb1bb49a2855b latest[/bold]  "
    "[bold]lipforcing curate diff RUN_A RUN_B --json[/bold]"
)
def diff(
    context: typer.Context,
    run_a: Annotated[
        str, typer.Argument(metavar="RUN_A", help="A curation: a run id, its folder, or latest.")
    ],
    run_b: Annotated[
        str, typer.Argument(metavar="RUN_B", help="Another one; the older is always compared with the newer.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say which clips appeared, vanished or changed between two curations, and why.

    A cause is a score that crossed its limit, a setting that changed, or a source that is new, gone or another.
    """
    from lipforcing_core.base.names import printable
    from lipforcing_core.curation.diff_text import diff_json, diff_text
    from lipforcing_core.curation.run_diff import compare_runs
    from lipforcing_core.curation.stored_run import find_run, read_run

    runs = context.obj.workspace.runs / "curate"
    found = compare_runs(*(read_run(find_run(runs, name)) for name in (run_a, run_b)))
    if as_json:
        typer.echo(json.dumps(diff_json(found), indent=2, sort_keys=True))
    else:
        typer.echo(printable(diff_text(found)), nl=False)
