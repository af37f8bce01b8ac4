"""``lipforcing weights``: external checkpoints, from where to get them to merging them into one file."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from apps.cli.output import console, escape
from lipforcing_core.base.errors import BadInputError, LipForcingError, MissingWeightsError

if TYPE_CHECKING:
    import torch

    from lipforcing_core.weights.spec import WeightSpec

app = typer.Typer(help="External checkpoints: list, fetch, verify, convert, export.", no_args_is_help=True)

MIRROR_VARIABLE = "LIPFORCING_WEIGHTS_MIRROR"


class Precision(StrEnum):
    """Type of the floating-point tensors in a written file."""

    FP32 = "fp32"
    BF16 = "bf16"
    FP16 = "fp16"


Output = Annotated[Path, typer.Option("--output", "-o", help="The .safetensors file to write.")]
PrecisionOption = Annotated[
    Precision | None,
    typer.Option(
        "--dtype", help="Type of the floating-point tensors in the written file; default: as in the source."
    ),
]


@app.command("list", epilog="Example: [bold]lipforcing weights list[/bold]")
def list_(context: typer.Context) -> None:
    """List every external checkpoint: size, whether it is here, and what uses it."""
    from lipforcing_core.weights.registry import all_weights, state_of

    folder = context.obj.workspace.weights
    for spec in all_weights():
        terms = "" if spec.commercial_ok else "  [yellow]non-commercial[/yellow]"
        console.print(f"[bold]{spec.name:<22}[/bold]{_size(spec):>9}  {state_of(spec, folder).value}{terms}")
        console.print(f"  [dim]{escape(spec.used_by)}[/dim]")
    console.print("`lipforcing weights show NAME` tells files, origin and licence of one.")
    console.print(f"Files are looked for under {escape(str(folder.absolute()))}", soft_wrap=True)


@app.command(epilog="Example: [bold]lipforcing weights show wan2.1-vae[/bold]")
def show(context: typer.Context, name: Annotated[str, typer.Argument(help="A registered name.")]) -> None:
    """Show one checkpoint: files, addresses, hashes, origin and licence."""
    from lipforcing_core.weights.registry import find_weight, state_of

    spec, folder = find_weight(name), context.obj.workspace.weights
    facts = {
        "state": state_of(spec, folder).value,
        "size": _size(spec),
        "from": spec.source,
        "page": spec.page,
        "licence": spec.licence,
        "used by": spec.used_by,
        "network": spec.network or "none of this project's classes",
        "archive": spec.archive,
    }
    console.print(f"[bold]{spec.name}[/bold]")
    for label, value in facts.items():
        if value:
            console.print(f"  {label:<8} {escape(value)}", soft_wrap=True)
    for file in spec.files:
        console.print(f"  {escape(str(folder / file.path))}", soft_wrap=True)
        if file.use:
            console.print(f"    {escape(file.use)}", soft_wrap=True)
        digest = file.sha256 or (f"{file.sha256_prefix}..." if file.sha256_prefix else "not public")
        console.print(f"    sha256 {digest}", soft_wrap=True)
        if file.url:
            console.print(f"    {escape(file.url)}", soft_wrap=True)


@app.command(epilog="Example: [bold]lipforcing weights fetch wan2.1-vae taew2.1[/bold]")
def fetch(
    context: typer.Context,
    names: Annotated[list[str], typer.Argument(help="Registered names.")],
    accept_licence: Annotated[
        bool, typer.Option("--accept-licence", help="Accept a licence that restricts its users.")
    ] = False,
    mirror: Annotated[
        str | None,
        typer.Option(envvar=MIRROR_VARIABLE, help="Address to use in place of https://huggingface.co."),
    ] = None,
) -> None:
    """Download checkpoints. An interrupted download goes on where it stopped; sizes and hashes are checked."""
    from lipforcing_core.checkpoints.fetch import fetch_weights, require_address
    from lipforcing_core.checkpoints.verify import verify_fetched
    from lipforcing_core.weights.registry import find_weight
    from tasks.progress import step

    folder = context.obj.workspace.weights
    specs = [find_weight(name) for name in names]
    for spec in specs:
        require_address(spec, folder)
    for spec in specs:
        console.print(f"{spec.name}: {_size(spec)}, licence: {escape(spec.licence)}", soft_wrap=True)
        if not (spec.commercial_ok or accept_licence):
            raise BadInputError(
                f"the licence of {spec.name} restricts its users ({spec.licence}; {spec.page}): "
                "read it, then add --accept-licence"
            )
    for spec in specs:
        missing = [path for path in spec.paths(folder) if not path.is_file()]
        with step(f"fetch {spec.name} (MB)") as advance:
            fetch_weights(spec, folder, mirror=mirror, on_progress=_in_megabytes(advance))
        said = verify_fetched(spec, folder, missing)
        console.print(f"{spec.name}: {said}", soft_wrap=True)


@app.command(epilog="Example: [bold]lipforcing weights verify scrfd-500m[/bold]")
def verify(
    context: typer.Context,
    names: Annotated[list[str] | None, typer.Argument(help="Names; default: all that are here.")] = None,
    hashes: Annotated[bool, typer.Option(help="Read whole files for their hash.")] = True,
) -> None:
    """Check hashes, and the names and shapes of all tensors; fails if any is missing or wrong."""
    from lipforcing_core.checkpoints.verify import verify_weights
    from lipforcing_core.weights.registry import WeightState, all_weights, find_weight, state_of

    folder = context.obj.workspace.weights
    specs = [find_weight(name) for name in names] if names else list(all_weights())
    chosen = [spec for spec in specs if names or state_of(spec, folder) is not WeightState.MISSING]
    if not chosen:
        console.print("No weights are here; `lipforcing weights list` says what there is.")
    bad = []
    for spec in chosen:
        try:
            said = f"[green]ok[/green] {escape(verify_weights(spec, folder, hashes=hashes))}"
        except LipForcingError as error:
            bad.append(spec.name)
            problem = "missing" if isinstance(error, MissingWeightsError) else "wrong"
            said = f"[red]{problem}[/red] {escape(str(error))}"
        console.print(f"{spec.name:<22} {said}", soft_wrap=True)
    if bad:
        raise BadInputError(f"not usable: {', '.join(bad)} (see above)")


@app.command(
    epilog="Examples: [bold]lipforcing weights convert wan2.1-t2v-14b -o wan14b.safetensors --dtype bf16[/bold]  "
    "[bold]lipforcing weights convert my_vae.pth --kind wan2.1-vae -o vae.safetensors[/bold]"
)
def convert(
    context: typer.Context,
    source: Annotated[str, typer.Argument(help="A registered name, a file, or a folder of shards.")],
    output: Output,
    dtype: PrecisionOption = None,
    kind: Annotated[
        str | None, typer.Option(help="Registered name of the weights that the file is a copy of.")
    ] = None,
    key_map: Annotated[
        str | None,
        typer.Option(help="How the names of other files are mapped; a wrong name lists the known ones."),
    ] = None,
    root: Annotated[
        str | None,
        typer.Option(help="Key of the file below which the tensors lie, such as params or model/net."),
    ] = None,
) -> None:
    """Rewrite a checkpoint as one safetensors file under this project's names; one tensor in memory at a time."""
    from lipforcing_core.checkpoints.convert import plan_copy
    from lipforcing_core.checkpoints.sources import find_source

    found = find_source(source, context.obj.workspace.weights, kind=kind)
    checkpoint = found.open(root=root, key_map=key_map)
    _refuse_own_input(output, found.files)
    plan = plan_copy(checkpoint, dtype=_torch_dtype(dtype), wanted=found.wanted)
    _write(plan, output, f"convert {source}")


@app.command(
    epilog="Examples: [bold]lipforcing weights export wan2.1-t2v-14b omniavatar-ls-14b -o teacher.safetensors[/bold]  "
    "[bold]lipforcing weights export wan2.1-t2v-1.3b omniavatar-1.3b --in-channels 65 -o start.safetensors[/bold]  "
    "[bold]lipforcing weights export bundle step-00000100.pt --root modules/model -o merged.safetensors[/bold]"
)
def export(
    context: typer.Context,
    base: Annotated[str, typer.Argument(help="A registered name, a file, a folder of shards, or a bundle.")],
    adapter: Annotated[
        str, typer.Argument(help="A LoRA adapter: a registered name, a file or a folder of peft.")
    ],
    output: Output,
    alpha: Annotated[
        float | None,
        typer.Option(
            help="Alpha of the adapter; default: the registered one, that of adapter_config.json or config.json, or "
            "that of the bundle's preset."
        ),
    ] = None,
    dtype: PrecisionOption = None,
    root: Annotated[
        str | None, typer.Option(help="Key of the file below which the adapter's tensors lie.")
    ] = None,
    in_channels: Annotated[
        int | None,
        typer.Option(help="Grow the patch embedding to so many input channels, zeros for the new ones."),
    ] = None,
    partial: Annotated[
        bool, typer.Option("--partial", help="Take an adapter that leaves out some layers.")
    ] = False,
) -> None:
    """Merge a LoRA adapter into a base: W + alpha / rank B A, in float32; whole tensors of the adapter replace.

    What adapter_config.json says beside an adapter of peft holds: with use_rslora it is alpha / sqrt(rank) B A.
    OmniAvatar's own adapters have 33 input channels, lip-sync models 65: see --in-channels.
    """
    from lipforcing_core.checkpoints.adapters import adapter_alpha
    from lipforcing_core.checkpoints.convert import plan_merge
    from lipforcing_core.checkpoints.networks import preset_fit
    from lipforcing_core.checkpoints.sources import find_source, require_sources

    folder = context.obj.workspace.weights
    require_sources([base, adapter], folder)
    base_source, adapter_source = find_source(base, folder), find_source(adapter, folder)
    alpha = adapter_alpha(adapter_source, base_source, given=alpha, root=root)
    changed: dict[str, bool] = {}
    plan = plan_merge(
        base_source.open(),
        adapter_source.open_adapter(root=root),
        alpha=alpha,
        dtype=_torch_dtype(dtype),
        in_channels=in_channels,
        partial=partial,
        on_merged=lambda layer, is_changed: changed.update({layer: is_changed}),
    )
    _refuse_own_input(output, [*base_source.files, *adapter_source.files])
    own = "its own alphas" if alpha is None else f"alpha {alpha:g}"
    _write(plan, output, f"merge {adapter} with {own}")
    console.print(_changed_layers(changed, plan), soft_wrap=True)
    console.print(escape(preset_fit(plan)), soft_wrap=True)


def _changed_layers(changed: dict[str, bool], plan: Collection[str]) -> str:
    """In words: how many layers the adapter holds, how many of them it changed, and how many it could have."""
    from lipforcing_core.models.lora import target_layers

    linear = (name.removesuffix(".weight") for name in plan if name.endswith(".weight"))
    possible = len(target_layers(linear)) or len(changed)
    count = sum(changed.values())
    words = f"{count} of {len(changed)} adapted layers changed; the base has {possible} that adapters change"
    if not count:
        return f"[yellow]warning:[/yellow] the adapter changes nothing: {words}"
    return words if count == len(changed) == possible else f"[yellow]note:[/yellow] {words}"


def _refuse_own_input(output: Path, sources: list[Path]) -> None:
    if output.exists() and any(path.exists() and output.samefile(path) for path in sources):
        raise BadInputError(f"{output} is read here: give the output another name")


def _write(plan: dict, output: Path, title: str) -> None:
    from lipforcing_core.checkpoints.convert import write_plan
    from tasks.progress import step

    with step(f"{title} (MB)") as advance:
        write_plan(plan, output, on_progress=_in_megabytes(advance))
    size = os.path.getsize(output) / 1e6
    console.print(f"{escape(str(output))}: {len(plan)} tensors, {size:.1f} MB", soft_wrap=True)


def _size(spec: WeightSpec) -> str:
    return f"{spec.size_mb / 1000:.1f} GB" if spec.size_mb >= 1000 else f"{spec.size_mb:g} MB"


def _in_megabytes(advance: Callable[[int, int], None]) -> Callable[[int, int], None]:
    return lambda done, total: advance(done // 1_000_000, max(total, done) // 1_000_000)


def _torch_dtype(precision: Precision | None) -> torch.dtype | None:
    import torch

    names = {Precision.FP32: torch.float32, Precision.BF16: torch.bfloat16, Precision.FP16: torch.float16}
    return names[precision] if precision else None
