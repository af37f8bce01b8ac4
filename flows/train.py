"""The training flows: each stage of the paper from a curated manifest to a model bundle."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection
from pathlib import Path

from prefect import flow
from rich.console import Console

from flows.environment import orchestration
from lipforcing_core.curation.manifest import read_manifest
from lipforcing_core.errors import BadInputError
from lipforcing_core.presets import Preset, load_preset
from lipforcing_core.products import atomic_path, content_key, file_sha256, read_json
from lipforcing_core.training.dataset import ClipSource
from tasks.progress import step
from tasks.training import (
    TrainedModel,
    distill_student,
    prepare_training_set,
    pretrain_student,
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
        return distill_student(workspace.store, preset, data, teacher, student, advance)


def run_train_teacher(workspace: Workspace, manifest: Path, preset_name: str, output: Path) -> None:
    """`lipforcing train teacher`."""
    preset, clips = trainable_preset(preset_name), training_clips(manifest)
    model = _dispatched(lambda: teacher_flow(workspace, clips, preset))
    _finish(workspace, "train_teacher", model, preset, output)


def run_pretrain_student(workspace: Workspace, manifest: Path, teacher: Path, output: Path) -> None:
    """`lipforcing train student`."""
    preset, clips = bundle_preset(teacher), training_clips(manifest)
    model = _dispatched(lambda: pretrain_flow(workspace, clips, preset, teacher))
    _finish(workspace, "pretrain_student", model, preset, output)


def run_distill_student(
    workspace: Workspace, manifest: Path, teacher: Path, student: Path, output: Path
) -> None:
    """`lipforcing train distill`."""
    preset, clips = bundle_preset(teacher), training_clips(manifest)
    bundle_preset(student)
    model = _dispatched(lambda: distill_flow(workspace, clips, preset, teacher, student))
    _finish(workspace, "distill_student", model, preset, output)


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
    """The clips of the training split, of all sources or of those named. Raises ``BadInputError`` if there is none."""
    folder = manifest.parent
    clips = [
        ClipSource(
            clip_id=clip.clip_id, clip_path=folder / clip.clip_path, audio_path=folder / clip.audio_path
        )
        for clip in read_manifest(manifest)
        if clip.split == "train" and (sources is None or clip.source in sources)
    ]
    if not clips:
        raise BadInputError(
            f"{manifest}: no accepted clip in the training split; `lipforcing sql 'from reject_reasons'` says why"
        )
    return clips


def trainable_preset(name: str) -> Preset:
    """A preset that can be trained here. Raises ``BadInputError`` for one whose base has to be downloaded."""
    preset = load_preset(name)
    if preset.base is None or preset.codec is None:
        raise BadInputError(
            f"preset {preset.name} starts from downloaded weights ({preset.backends.codec}, Wan 2.1), which this "
            "version cannot load for training yet; preset nano trains here. See `lipforcing weights list`"
        )
    return preset


def bundle_preset(bundle: Path) -> Preset:
    """The preset that a bundle was trained with."""
    if not (bundle / "bundle.json").is_file():
        raise BadInputError(f"{bundle} is not a model bundle; `lipforcing train teacher` writes one")
    return Preset.model_validate(read_json(bundle / "preset.json"))


def _dispatched(work: Callable[[], TrainedModel]) -> TrainedModel:
    with orchestration():
        return work()


def _finish(workspace: Workspace, flow_name: str, model: TrainedModel, preset: Preset, output: Path) -> None:
    weights = file_sha256(model.bundle / "model.safetensors")
    config = {"preset": preset, "weights": weights}
    run = RunInfo(
        run_id=f"{flow_name}-{content_key(config)}", flow=flow_name, config=config, preset=preset.name
    )
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
