"""The training flows: each stage of the paper from a curated manifest to a model bundle."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from prefect import flow
from rich.console import Console

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.products import atomic_path, content_key, file_sha256, write_json
from lipforcing_core.curation.manifest import read_manifest
from lipforcing_core.presets import Preset, load_preset
from lipforcing_core.runtime.bundle import BundleKind, describe_bundle
from lipforcing_core.runtime.encoders import is_embedded
from lipforcing_core.training.dataset import ClipSource
from tasks.cost import read_meters
from tasks.environment import orchestration
from tasks.progress import step
from tasks.training import (
    TrainedModel,
    distill_student,
    prepare_training_set,
    pretrain_student,
    reward_file,
    train_teacher,
)
from tasks.warehousing import RunInfo, RunRows, load_warehouse
from tasks.workspace import Workspace

console = Console(highlight=False)


@flow(name="train_teacher", validate_parameters=False)
def teacher_flow(workspace: Workspace, clips: list[ClipSource], preset: Preset) -> TrainedModel:
    """Latents, base, LoRA."""
    with step(f"encode {len(clips)} clips") as advance:
        data = prepare_training_set(workspace.store, clips, preset, advance)
    with step("train the teacher") as advance:
        return train_teacher(workspace.store, preset, data, advance)


@flow(name="pretrain_student", validate_parameters=False)
def pretrain_flow(
    workspace: Workspace, clips: list[ClipSource], preset: Preset, teacher: Path
) -> TrainedModel:
    """Latents, Diffusion Forcing."""
    with step(f"encode {len(clips)} clips") as advance:
        data = prepare_training_set(workspace.store, clips, preset, advance)
    with step("pre-train the student") as advance:
        return pretrain_student(workspace.store, preset, data, teacher, advance)


@flow(name="distill_student", validate_parameters=False)
def distill_flow(
    workspace: Workspace, clips: list[ClipSource], preset: Preset, teacher: Path, student: Path
) -> TrainedModel:
    """Latents, Self-Forcing with Sync-Window DMD and reward."""
    with step(f"encode {len(clips)} clips") as advance:
        data = prepare_training_set(workspace.store, clips, preset, advance)
    with step("distil the student") as advance:
        return distill_student(workspace.store, preset, data, teacher, student, workspace.weights, advance)


def run_train_teacher(workspace: Workspace, manifest: Path, preset_name: str, output: Path) -> None:
    """`lipforcing train teacher`."""
    check_output(output)
    preset, clips = trainable_preset(preset_name), training_clips(manifest)
    _run(workspace, "train_teacher", partial(teacher_flow, workspace, clips, preset), preset, output)


def run_pretrain_student(workspace: Workspace, manifest: Path, teacher: Path, output: Path) -> None:
    """`lipforcing train student`."""
    check_output(output)
    preset, clips = bundle_preset(teacher, BundleKind.TEACHER), training_clips(manifest)
    work = partial(pretrain_flow, workspace, clips, preset, teacher)
    _run(workspace, "pretrain_student", work, preset, output)


def run_distill_student(
    workspace: Workspace, manifest: Path, teacher: Path, student: Path, output: Path
) -> None:
    """`lipforcing train distill`."""
    check_output(output)
    preset = bundle_preset(teacher, BundleKind.TEACHER)
    bundle_preset(student, BundleKind.STUDENT)
    reward_file(preset, workspace.weights)  # a missing file is said before anything is encoded
    clips = training_clips(manifest)
    work = partial(distill_flow, workspace, clips, preset, teacher, student)
    _run(workspace, "distill_student", work, preset, output)


def run_train_sync(output: Path, seed: int) -> None:
    """`lipforcing train sync`."""
    from lipforcing_core.sync.train import SyncTrainSettings, train_sync_expert

    with step("train the sync expert") as advance:
        result = train_sync_expert(
            SyncTrainSettings(seed=seed), output, on_progress=lambda _stage, done, total: advance(done, total)
        )
    console.print(f"{result.weights}: {result.backend_id}, loss {result.final_loss:.3f}", soft_wrap=True)
    for accuracy in result.accuracy:
        console.print(f"  held-out offsets: {accuracy}", soft_wrap=True)


def training_clips(manifest: Path, sources: Collection[str] | None = None) -> list[ClipSource]:
    """The clips of the training split, of all sources or of those with these SHA-256 hashes.

    Raises ``BadInputError`` if there is none.
    """
    folder = manifest.parent
    clips = [
        ClipSource(
            clip_id=clip.clip_id, clip_path=folder / clip.clip_path, audio_path=folder / clip.audio_path
        )
        for clip in read_manifest(manifest)
        if clip.split == "train" and (sources is None or clip.source_sha256 in sources)
    ]
    if not clips:
        raise BadInputError(
            f"{manifest}: no accepted clip in the training split; `lipforcing sql 'from reject_reasons'` says why"
        )
    return clips


def trainable_preset(name: str) -> Preset:
    """A preset that can be trained here. Raises ``BadInputError`` for one that builds on downloaded weights."""
    preset = load_preset(name)
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


def _check_trainable(preset: Preset) -> None:
    if preset.base is None or not is_embedded(preset):
        raise BadInputError(
            f"preset {preset.name} builds on downloaded weights ({preset.backends.codec}, Wan 2.1), with which this "
            "version generates but does not train; preset nano trains here"
        )


def check_output(output: Path) -> None:
    """Raise ``BadInputError`` if a model cannot be written there without destroying something else."""
    replaceable = output.is_dir() and ((output / "bundle.json").is_file() or not any(output.iterdir()))
    if output.exists() and not replaceable:
        raise BadInputError(f"{output} exists and is not a model bundle; give a new name")


def _run(
    workspace: Workspace, flow_name: str, work: Callable[[], TrainedModel], preset: Preset, output: Path
) -> None:
    """Train, write the rows of the run, and copy the bundle to where the user wants it."""
    started_at, meters = datetime.now(UTC), read_meters()
    with orchestration(workspace):
        model = work()
    config = {"preset": preset, "weights": file_sha256(model.bundle / "model.safetensors")}
    run = RunInfo(
        run_id=f"{flow_name}-{content_key(config)}",
        flow=flow_name,
        config=config,
        preset=preset.name,
        started_at=started_at,
        meters=meters,
    )
    write_json(workspace.run_folder(flow_name, run.run_id) / "config.json", config)
    rows = RunRows(workspace, run)
    rows.put("training_steps", model.metrics)
    rows.put_run()
    load_warehouse.fn(workspace)
    with atomic_path(output) as temporary:
        shutil.copytree(model.bundle, temporary)
    last = {row["name"]: row["value"] for row in model.metrics}
    reused = " (finished before, reused)" if model.reused else ""
    console.print(f"{output}: loss {last.get('loss', last.get('student_loss')):.4f}{reused}", soft_wrap=True)
    console.print(f"curves: lipforcing sql \"select * from training_curves where run_id = '{run.run_id}'\"")
