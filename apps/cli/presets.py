"""``lipforcing presets``: which there are, what is in one, and a file for one of your own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from apps.cli.output import console, escape

app = typer.Typer(
    help="Presets: model and training settings. List them, look into one, start your own.",
    no_args_is_help=True,
)

SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Change a setting of it; may be given again."),
]


@app.command("list", epilog="Example: [bold]lipforcing presets list[/bold]")
def list_() -> None:
    """List the presets that ship with the package, and the weights that each needs."""
    from lipforcing_core.presets.catalogue import shipped_presets

    for entry in shipped_presets():
        console.print(f"[bold]{entry.name:<8}[/bold] {escape(entry.summary)}", soft_wrap=True)
        needs = ", ".join(entry.weights) or "nothing beyond the package"
        console.print(f"{'':8} [dim]needs {escape(needs)}[/dim]", soft_wrap=True)
    console.print(
        "`lipforcing presets show NAME` prints one, `lipforcing presets new FILE --extends NAME` starts yours."
    )


@app.command(
    epilog="Examples: [bold]lipforcing presets show nano[/bold]  "
    "[bold]lipforcing presets show mine.toml --full --set distill.reward_beta=0[/bold]"
)
def show(
    name: Annotated[str, typer.Argument(help="A shipped preset, or a TOML file.")],
    full: Annotated[bool, typer.Option("--full", help="Also what every setting means and may be.")] = False,
    overrides: SetOption = None,
) -> None:
    """Print every setting of a preset with its unit, as it holds after all that it extends."""
    from lipforcing_core.base.describe import describe, toml_value, values_by_name
    from lipforcing_core.presets import Preset, load_preset

    preset = load_preset(name, overrides=overrides or ())
    values = values_by_name(preset)
    for setting in describe(Preset):
        if setting.name not in values:
            if full:
                console.print(f"[dim]{setting.name} is not set[/dim]", soft_wrap=True)
            continue
        unit = f"  [dim]{escape(setting.unit)}[/dim]" if setting.unit else ""
        value = escape(toml_value(values[setting.name]))
        console.print(f"[bold]{setting.name}[/bold] = {value}{unit}", soft_wrap=True)
        if full:
            console.print(f"    {escape(setting.meaning)} ({escape(setting.type)})", soft_wrap=True)


@app.command(epilog="Example: [bold]lipforcing presets new mine.toml --extends nano[/bold]")
def new(
    file: Annotated[Path, typer.Argument(help="The TOML file to write; it must not exist.")],
    extends: Annotated[str, typer.Option(help="A shipped preset, or a TOML file, to start from.")] = "nano",
) -> None:
    """Write a preset file that says nothing but what it extends, with every setting as a comment."""
    from lipforcing_core.base.describe import describe, toml_value, values_by_name
    from lipforcing_core.base.describe_toml import commented_toml
    from lipforcing_core.base.errors import BadInputError
    from lipforcing_core.base.products import atomic_path
    from lipforcing_core.presets import Preset, load_preset

    if file.suffix != ".toml":
        raise BadInputError(f"{file}: the name of a preset file ends in .toml")
    if file.exists():
        raise BadInputError(f"{file} exists and is not replaced: choose another name")
    base = load_preset(extends)
    named = extends
    if extends.endswith(".toml"):  # relative to the new file, so that both can move together
        named = os.path.relpath(Path(extends).resolve(), file.parent.resolve())
    settings = [s for s in describe(Preset) if s.name not in ("name", "summary")]
    text = (
        f"# What is said here is laid over the preset that it extends: take the `# ` of a line away to change it.\n"
        f"extends = {toml_value(named)}\n"
        f"name = {toml_value(file.stem)}\n"
        f"summary = {toml_value(f'like {base.name}, but ...')}\n"
        f'# without = []    # tables or keys of the base to leave out, as in ["codec"]\n\n'
        + commented_toml(settings, values_by_name(base))
    )
    with atomic_path(file) as temporary:
        temporary.write_text(text, encoding="utf-8")
    shown = escape(str(file))
    console.print(f"wrote {shown}; `lipforcing presets show {shown}` says what holds", soft_wrap=True)
