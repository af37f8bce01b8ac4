"""What surrounds a training stage: which clips and presets it may take, where its bundle goes, its rows."""

from __future__ import annotations

import shutil
from datetime import datetime
from pathlib import Path

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.products import atomic_path, content_key, file_sha256, write_json
from lipforcing_core.presets import Preset
from lipforcing_core.runtime.bundle import BundleKind, describe_bundle
from lipforcing_core.runtime.encoders import is_embedded
from tasks.cost import Usage
from tasks.settings import Given, preset_of
from tasks.training import TrainedModel
from tasks.warehousing import RunInfo, RunRows, load_warehouse
from tasks.workspace import Workspace


def trainable_preset(given: Given) -> Preset:
    """A preset that can be trained here. Raises ``BadInputError`` for one that builds on downloaded weights."""
    preset = preset_of(given)
    _check_trainable(preset)
    return preset


def bundle_preset(bundle: Path, kind: BundleKind) -> Preset:
    """The preset that a bundle was trained with.

    Raises ``BadInputError`` if the bundle holds another kind of model, or its preset cannot be trained here.
    """
    about = describe_bundle(bundle)
    if about.kind is not kind:
        raise BadInputError(f"{bundle} holds a {about.kind.value}, not a {kind.value}")
    _check_trainable(about.preset)
    return about.preset


def student_preset(given: Given | None, teacher: Path) -> Preset:
    """The preset of a student's stage: the one given, else that of its teacher's bundle.

    Raises ``BadInputError`` as ``bundle_preset`` does, and for a preset whose network or latents are not the teacher's.
    """
    trained = bundle_preset(teacher, BundleKind.TEACHER)
    if given is None:
        return trained
    preset = trainable_preset(given)
    for section in ("model", "video", "backends", "codec"):
        if getattr(preset, section) != getattr(trained, section):
            raise BadInputError(
                f"preset {preset.name}: its [{section}] is not the one that {teacher} was trained with; a student "
                "shares network and latents with its teacher"
            )
    return preset


def _check_trainable(preset: Preset) -> None:
    starts = preset.base is not None or preset.base_checkpoint is not None
    if not starts or not is_embedded(preset):
        raise BadInputError(
            f"preset {preset.name} builds on downloaded weights ({preset.backends.codec}, Wan 2.1), with which this "
            "version generates but does not train; preset nano trains here"
        )


def check_output(output: Path) -> None:
    """Raise ``BadInputError`` if a model cannot be written there without destroying something else."""
    replaceable = output.is_dir() and ((output / "bundle.json").is_file() or not any(output.iterdir()))
    if output.exists() and not replaceable:
        raise BadInputError(f"{output} exists and is not a model bundle; give a new name")


def deliver(
    workspace: Workspace,
    flow: str,
    model: TrainedModel,
    preset: Preset,
    output: Path,
    *,
    started_at: datetime,
    meters: Usage,
) -> RunInfo:
    """Write the rows of a training run, and copy its bundle to where the user wants it."""
    config = {"preset": preset, "weights": file_sha256(model.bundle / "model.safetensors")}
    run = RunInfo(
        run_id=f"{flow}-{content_key(config)}",
        flow=flow,
        config=config,
        preset=preset.name,
        started_at=started_at,
        meters=meters,
    )
    write_json(workspace.run_folder(flow, run.run_id) / "config.json", config)
    rows = RunRows(workspace, run)
    rows.put("training_steps", model.metrics)
    rows.put_run()
    load_warehouse(workspace)
    with atomic_path(output) as temporary:
        shutil.copytree(model.bundle, temporary)
    return run


def last_loss(model: TrainedModel) -> float:
    """The loss of the last step."""
    last = {row["name"]: row["value"] for row in model.metrics}
    return float(last["loss"] if "loss" in last else last["student_loss"])
