"""The commands of data teams and researchers, each one flow: demo, curate, generate, evaluate, train-eval, ablate."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lipforcing_core.base.catalogue import either, file_help
from lipforcing_core.corpora.catalogue import CORPORA
from lipforcing_core.faces.choice import FACE_HELP
from lipforcing_core.faces.detectors.catalogue import DETECTORS
from lipforcing_core.metrics.backends import NETWORK_SETS
from lipforcing_core.runtime.devices import DeviceWish
from lipforcing_core.sync.experts.catalogue import SYNC_EXPERTS, advice_for_people
from tasks.training_device import AUTO, DEVICE_HELP

if TYPE_CHECKING:
    from flows.summaries import Summary

ABLATIONS_IN_HELP = ("cfg_schedule", "reward", "steps", "landing_j1", "self_forcing")
"""Those of ``presets.ablations``, whose import takes longer than a help may."""

SETTINGS_OF_CURATE = {"min_seconds": "min_segment_s"}
"""Parameters of ``curate`` that are called otherwise than the settings which they change."""


def _set_option(example: str) -> typer.models.OptionInfo:
    help_text = f"Change a setting, such as {example}; may be given again."
    return typer.Option("--set", metavar="KEY=VALUE", help=help_text)


Changes = Annotated[list[str] | None, _set_option("distill.reward_beta=0")]
CurationChanges = Annotated[list[str] | None, _set_option("quality_threshold=60")]


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

    About 10 minutes on 2 cores; a second run reuses what is finished and ends in under a minute. It is `lipforcing
    train-eval` on puppets.
    """
    from apps.cli.show import show
    from flows.catalogue import run_flow
    from flows.request_models import demo_request

    show(run_flow("train_eval", demo_request(context.obj.workspace.root, seed=seed, videos=videos)))


def train_eval(
    context: typer.Context,
    experiment: Annotated[
        Path, typer.Argument(help="TOML or JSON file of the experiment, as examples/experiment.toml.")
    ],
    changes: Changes = None,
) -> None:
    """Run a whole experiment from one file: corpus, teacher, student, distilled, scores, warehouse, report.

    The corpus is puppets, a folder of videos, or a curated manifest; relative paths are those of this folder.
    """
    from apps.cli.show import show

    show(run_request(context, "train_eval", experiment, changes))


def ablate(
    context: typer.Context,
    table: Annotated[
        list[str] | None,
        typer.Option(help=f"Ablation: {either(ABLATIONS_IN_HELP)}; may be given again. Default: all."),
    ] = None,
    seeds: Annotated[
        int,
        typer.Option(
            help="How often every variant is trained; intervals need 3. More add to what is finished."
        ),
    ] = 3,
    preset: Annotated[
        str, typer.Option(help="Preset name or TOML file that the variants are made of.")
    ] = "nano",
    device: Annotated[str, typer.Option(help=DEVICE_HELP)] = AUTO,
    changes: Changes = None,
) -> None:
    """Train and score the variants of the paper's ablation tables, beside the printed numbers.

    On puppets. Teacher and pre-trained student are trained once for each seed. A killed grid goes on when it is
    started again, and what is finished is not computed again. `lipforcing run ablate --request FILE` takes another
    corpus.
    """
    from apps.cli.show import show
    from lipforcing_core.base.layers import apply_overrides

    values: dict[str, Any] = {"seeds": seeds, "preset": preset, "device": device}
    if changes:
        values["preset"] = apply_overrides({"extends": preset}, changes)
    if table:
        values["tables"] = table
    show(run_command(context, "ablate", values, {"table": "tables"}))


def run_request(
    context: typer.Context, flow: str, request: Path | None, changes: list[str] | None
) -> Summary:
    """Run a flow from a request file, or a request of defaults, in this workspace unless it names another."""
    from flows.catalogue import flow_entry, parse_request, read_request_file, run_flow
    from lipforcing_core.base.layers import apply_overrides

    entry = flow_entry(flow)
    values = {} if request is None else dict(read_request_file(request))
    values = apply_overrides({"workspace": context.obj.workspace.root} | values, changes or [])
    return run_flow(entry.name, parse_request(entry, values))


def names_of(command: Any, renamed: Mapping[str, str] | None = None) -> dict[str, str]:
    """What the user of a command of typer calls the fields of its request: ``--frames`` is ``num_frames``.

    renamed: parameters of the command that are called otherwise than their fields.
    """
    fields = renamed or {}
    return {fields.get(str(p.name), str(p.name)): _typed(p) for p in command.params if p.name != "changes"}


def run_command(
    context: typer.Context, flow: str, values: Mapping[str, Any], renamed: Mapping[str, str] | None = None
) -> Summary:
    """Run the flow of a command in this workspace; mistakes are told in the words of the command line."""
    from flows.catalogue import flow_entry, parse_request, run_flow

    names = names_of(context.command, renamed)
    request = {"workspace": context.obj.workspace.root, **values}
    return run_flow(flow, parse_request(flow_entry(flow), request, names=names))


def _typed(parameter: Any) -> str:
    """An option as it is typed, an argument as the help calls it."""
    if parameter.param_type_name == "argument":
        return str(parameter.name).upper()
    return max(parameter.opts, key=len)


def curate(
    context: typer.Context,
    source: Annotated[
        str,
        typer.Argument(
            help="A folder of videos (searched recursively), a video file, a manifest, or the URI of one "
            "(s3://bucket/talks)."
        ),
    ],
    corpus: Annotated[str, typer.Option(help=CORPORA.help)] = CORPORA.default,
    test_list: Annotated[
        Path | None,
        typer.Option(
            help="File with the clips of the official test split, one name a line, for a corpus that does not "
            "publish it."
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            help="Name of the data set in the warehouse and in exports; default: that of the folder."
        ),
    ] = None,
    against: Annotated[
        list[Path] | None,
        typer.Option(
            help="Manifest of another data set, or the folder of its export: no clip may repeat one of it in another "
            "split; may be given again."
        ),
    ] = None,
    publish: Annotated[
        str | None,
        typer.Option(help="URI that the finished data set is copied to (s3://bucket/sets/talks)."),
    ] = None,
    settings: Annotated[Path | None, typer.Option(help="TOML file with a \\[curation] table.")] = None,
    detector: Annotated[str | None, typer.Option(help=DETECTORS.help)] = None,
    detector_model: Annotated[Path | None, typer.Option(help=file_help(DETECTORS))] = None,
    min_seconds: Annotated[
        float | None,
        typer.Option(help="Seconds of the shortest clip to keep: min_segment_s of the settings."),
    ] = None,
    sync_filter: Annotated[
        bool | None,
        typer.Option(help=f"Reject and correct by sync scores. {advice_for_people(SYNC_EXPERTS.default)}"),
    ] = None,
    changes: CurationChanges = None,
) -> None:
    """Turn raw videos into aligned, synchronised, checked clips with a Parquet manifest.

    Every source ends as accepted clips, rejection rows or a quarantine row; a killed run resumes.
    """
    from apps.cli.show import show
    from lipforcing_core.base.layers import apply_overrides
    from lipforcing_core.curation.settings import CurationSettings
    from tasks.curating import ContractError
    from tasks.settings import curation_settings

    chosen: dict[str, Any] = {
        "extends": None if settings is None else str(settings),
        "detector": detector,
        "detector_model": None if detector_model is None else str(detector_model),
        "min_segment_s": min_seconds,
        "sync_filter": sync_filter,
    }
    given = {key: value for key, value in chosen.items() if value is not None}
    given = apply_overrides(given, changes or [])
    typed = names_of(context.command, SETTINGS_OF_CURATE)
    by_set = {change.partition("=")[0].strip() for change in changes or []}
    names = {k: name for k, name in typed.items() if k in CurationSettings.model_fields and k not in by_set}
    names["max_segment_s"] = "max_segment_s of the [curation] table"
    curation_settings(
        context.obj.workspace, given, names=names
    )  # mistakes, in the words of this command line
    request = {
        "source": source,
        "corpus": corpus,
        "test_list": test_list,
        "name": name,
        "against": against or [],
        "publish": publish,
        "settings": given,
    }
    try:
        show(run_command(context, "curate", request))
    except ContractError as error:
        if error.summary is not None:  # what was left out, and why, is known all the same
            show(error.summary)
        raise


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
        DeviceWish, typer.Option(help="auto: the GPU, if there is one, for all but the embedded models.")
    ] = "auto",
    detector: Annotated[str, typer.Option(help=DETECTORS.help)] = DETECTORS.default,
    detector_model: Annotated[Path | None, typer.Option(help=file_help(DETECTORS))] = None,
    face: Annotated[
        str | None, typer.Option(metavar="N|X,Y", help=f"{FACE_HELP} Default: the largest.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the noise.")] = 42,
) -> None:
    """Re-sync a video to a speech track, streaming, chunk by chunk.

    A released student and its codec and encoders are read from the weights folder (`lipforcing weights fetch`).
    """
    from apps.cli.show import show

    values = {
        "video": video,
        "audio": audio,
        "output": output,
        "model": model,
        "device": device,
        "detector": detector,
        "detector_model": detector_model,
        "face": face,
        "seed": seed,
    }
    show(run_command(context, "generate", values))


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
        int | None, typer.Option(help="Score the first N frames; default: the whole truth.")
    ] = None,
    detector: Annotated[str, typer.Option(help=DETECTORS.help)] = DETECTORS.default,
    detector_model: Annotated[Path | None, typer.Option(help=file_help(DETECTORS))] = None,
    networks: Annotated[
        str, typer.Option(help=f"{NETWORK_SETS.help} The first needs no files, the others weights you fetch.")
    ] = NETWORK_SETS.default,
    sync_expert: Annotated[
        str | None, typer.Option(help=f"{SYNC_EXPERTS.help} Default: the one of the networks.")
    ] = None,
) -> None:
    """Score predictions of any lip-sync system with one protocol, into the warehouse.

    With learned networks FID, FVD, CSIM, LPIPS and sync scores are of Inception-v3, I3D, ArcFace, AlexNet and
    SyncNet-v2, from the weights folder. Scores of different networks are never compared.
    """
    from apps.cli.show import show
    from lipforcing_core.base.errors import BadInputError

    values = {
        "predictions": predictions,
        "items": items,
        "name": name,
        "num_frames": frames,
        "detector": detector,
        "detector_model": detector_model,
        "networks": networks,
        "sync_expert": sync_expert,
    }
    summary: Any = run_command(context, "evaluate", values, {"frames": "num_frames"})
    show(summary)
    if not summary.scores:
        raise BadInputError("nothing could be measured for the whole set; the reasons are listed above")
