"""Training as steps: the latent set, then teacher, student and distilled student, each one resumable Ray job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lipforcing_core.base.errors import BadInputError, MissingWeightsError
from lipforcing_core.base.products import StepResult, StepStore, content_key, file_sha256, link_or_copy
from lipforcing_core.presets import Preset
from lipforcing_core.runtime.shipped_base import shipped_base
from lipforcing_core.sync.experts.catalogue import SYNC_EXPERTS
from lipforcing_core.training.strategies.catalogue import STRATEGIES
from lipforcing_core.weights.chosen import registered_file
from tasks import training_keys
from tasks.dispatch import run_job
from tasks.progress import Advance
from tasks.recording import step_task
from tasks.training_device import CPU, require_device
from tasks.training_sets import TrainingSet
from tasks.training_workers import run_workers

if TYPE_CHECKING:
    from lipforcing_core.models.bases.catalogue import BaseEntry
    from lipforcing_core.training.stages.protocol import Stage
    from lipforcing_core.training.stages.teacher import TeacherLora

BUNDLE_VERSION = 1
NUM_THREADS = 2  # results depend on the number of threads in the last bits, so it is part of the recipe
MODEL_FILE = "model.safetensors"
METRICS_FILE = "metrics.jsonl"


@dataclass(frozen=True, kw_only=True)
class TrainedModel:
    """A finished stage: its bundle, its metric rows (step, stage, name, value), and whether it was reused."""

    bundle: Path
    metrics: list[dict[str, Any]]
    reused: bool


@step_task()
def train_teacher(
    store: StepStore,
    preset: Preset,
    data: TrainingSet,
    advance: Advance | None = None,
    *,
    device: str = CPU,
    workers: int = 1,
) -> TrainedModel:
    """The bidirectional teacher: LoRA, merged, on the shipped base or on one that is trained first."""
    from lipforcing_core.training.stages.teacher import BASE, TeacherBase, TeacherLora

    base, lora = TeacherBase.of(preset), TeacherLora.of(preset)
    if (shipped := shipped_base(preset)) is not None:
        return _finetuned(store, preset, data, shipped, lora, advance, device, workers)
    if base is None:
        raise BadInputError(f"preset {preset.name} has no [base] section: it starts from a public checkpoint")
    recipe = _recipe(preset, data, device)
    base_key = recipe.key(base, {})
    trainer = _Trainer(
        preset=preset,
        data=data,
        advance=advance,
        num_steps=base.num_steps + lora.num_steps,
        device=device,
        workers=workers,
    )

    def work(folder: Path) -> dict[str, Any]:
        def start(base_folder: Path) -> dict[str, Any]:
            return trainer.train(base, base_folder, init={})

        started = store.run("train-base", base_key, start, resumable=True).folder / base.name
        link_or_copy(started / METRICS_FILE, folder / base.name / METRICS_FILE)
        return trainer.train(lora, folder, init={BASE: started / MODEL_FILE}, done_before=base.num_steps)

    finished = store.run(
        "train-teacher",
        recipe.key(lora, {BASE: base_key}),
        work,
        resumable=True,
        also=training_keys.teacher_before(recipe),
    )
    return _trained(store, finished, [base, lora], preset, data, kind="teacher", stage="teacher")


def _finetuned(
    store: StepStore,
    preset: Preset,
    data: TrainingSet,
    base: BaseEntry,
    lora: TeacherLora,
    advance: Advance | None,
    device: str,
    workers: int,
) -> TrainedModel:
    """The teacher from a base that ships with the package."""
    recipe = _recipe(preset, data, device)
    trainer = _Trainer(
        preset=preset,
        data=data,
        advance=advance,
        num_steps=lora.num_steps,
        device=device,
        workers=workers,
    )
    (start,) = lora.starts_from
    finished = store.run(
        "train-teacher",
        recipe.key(lora, {start: base.model_sha256}),
        lambda folder: trainer.train(lora, folder, init={start: base.model_file}),
        resumable=True,
    )
    return _trained(store, finished, [lora], preset, data, kind="teacher", stage="teacher")


@step_task()
def pretrain_student(
    store: StepStore,
    preset: Preset,
    data: TrainingSet,
    teacher: Path,
    advance: Advance | None = None,
    *,
    device: str = CPU,
    workers: int = 1,
) -> TrainedModel:
    """The causal student by Diffusion Forcing, from the teacher's weights."""
    from lipforcing_core.training.inputs import check_codec
    from lipforcing_core.training.stages.forcing import TEACHER, StudentForcing

    check_codec(data.codec_file, [teacher])
    forcing, init = StudentForcing.of(preset), {TEACHER: teacher / MODEL_FILE}
    recipe = _recipe(preset, data, device)
    parents = {name: file_sha256(path) for name, path in init.items()}
    trainer = _Trainer(
        preset=preset,
        data=data,
        advance=advance,
        num_steps=forcing.num_steps,
        device=device,
        workers=workers,
    )
    finished = store.run(
        "train-pretrained",
        recipe.key(forcing, parents),
        lambda folder: trainer.train(forcing, folder, init=init),
        resumable=True,
        also=training_keys.pretrained_before(recipe, parents[TEACHER]),
    )
    return _trained(store, finished, [forcing], preset, data, kind="student", stage="pretrained")


@step_task()
def distill_student(
    store: StepStore,
    preset: Preset,
    data: TrainingSet,
    teacher: Path,
    student: Path,
    weights: Path,
    advance: Advance | None = None,
    *,
    device: str = CPU,
    workers: int = 1,
) -> TrainedModel:
    """The student by Self-Forcing rollout with Sync-Window DMD and SyncNet reward.

    ``weights`` is the folder of registered weights; raises as ``reward_file`` does.
    """
    from lipforcing_core.sync.experts.catalogue import load_sync_expert
    from lipforcing_core.training.inputs import check_codec
    from lipforcing_core.training.stages.distillation import CRITIC, STUDENT, TEACHER, Distillation

    check_codec(data.codec_file, [teacher, student])
    distillation, expert_file = Distillation.of(preset), reward_file(preset, weights)
    expert = load_sync_expert(preset.backends.sync, expert_file).backend_id
    first = {STUDENT: student / MODEL_FILE, TEACHER: teacher / MODEL_FILE}
    init = first | {CRITIC: first[TEACHER]}
    recipe = _recipe(preset, data, device)
    parents = {name: file_sha256(path) for name, path in init.items()}
    trainer = _Trainer(
        preset=preset,
        data=data,
        advance=advance,
        num_steps=distillation.num_steps,
        device=device,
        workers=workers,
        expert_file=expert_file,
    )
    finished = store.run(
        "train-distilled",
        recipe.key(distillation, parents | {"reward": f"{expert}, decoded by {preset.backends.decoder}"}),
        lambda folder: trainer.train(distillation, folder, init=init),
        resumable=True,
    )
    return _trained(store, finished, [distillation], preset, data, kind="student", stage="distilled")


def reward_file(preset: Preset, weights: Path) -> Path | None:
    """The file of the sync expert that gives the reward, from the folder of weights; None where it needs none.

    Raises ``MissingWeightsError`` that names the key of the preset.
    """
    name = preset.backends.sync
    try:
        return registered_file(SYNC_EXPERTS[name], None, weights)
    except MissingWeightsError as error:
        raise MissingWeightsError(f"backends.sync = {name!r} in preset {preset.name}: {error}") from error


@dataclass(frozen=True, kw_only=True)
class _Trainer:
    """Runs the stages of one task as jobs. num_steps: of all of them together, for the progress.

    device: the training strategy. workers: how many train together, where it spreads networks over them. expert_file:
    the file of the sync expert that gives the reward, where it needs one.
    """

    preset: Preset
    data: TrainingSet
    advance: Advance | None
    num_steps: int
    device: str
    workers: int
    expert_file: Path | None = None

    def train(
        self, stage: Stage, folder: Path, *, init: Mapping[str, Path], done_before: int = 0
    ) -> dict[str, Any]:
        """Run a stage in a folder of its name below ``folder``; the job continues what a killed one left."""
        from lipforcing_core.training.loop import steps_done

        out_dir = folder / stage.name

        def watch() -> None:
            if self.advance:
                self.advance(done_before + steps_done(out_dir / METRICS_FILE), self.num_steps)

        name = f"train-{stage.name}-{folder.name}"
        spreads = STRATEGIES[self.device].spreads
        run = partial(run_workers, workers=self.workers, scratch=folder) if spreads else run_job
        run(
            _stage_job,
            stage,
            self.preset,
            self.data,
            init,
            out_dir,
            self.expert_file,
            self.device,
            name=name,
            on_gpu=STRATEGIES[self.device].needs_cuda,
            watch=watch,
        )
        return {"stages": {stage.name: stage.num_steps}}


def _stage_job(
    stage: Stage,
    preset: Preset,
    data: TrainingSet,
    init: Mapping[str, Path],
    out_dir: Path,
    expert_file: Path | None,
    device: str,
) -> None:
    import torch

    from lipforcing_core.training.inputs import stage_inputs
    from lipforcing_core.training.plan.fit import require_fit
    from lipforcing_core.training.strategies.catalogue import load_strategy

    require_device(device)
    torch.set_num_threads(NUM_THREADS)
    entry = STRATEGIES[device]
    with entry.meeting():
        strategy = load_strategy(device)
        require_fit(preset, stage.name, entry.torch_device, gpus=strategy.workers.count)
        inputs = stage_inputs(
            stage,
            preset,
            data.windows,
            data.codec_file,
            init,
            expert_file=expert_file,
            device=entry.torch_device,
        )
        stage.run(inputs, out_dir, strategy=strategy)


def _recipe(preset: Preset, data: TrainingSet, device: str) -> training_keys.Recipe:
    return training_keys.Recipe(preset=preset, windows=data.windows, num_threads=NUM_THREADS, device=device)


def _trained(
    store: StepStore,
    finished: StepResult,
    stages: Sequence[Stage],
    preset: Preset,
    data: TrainingSet,
    *,
    kind: str,
    stage: str,
) -> TrainedModel:
    """The bundle of a finished step; it is a step of its own, since it holds the whole preset and training does not."""
    from lipforcing_core.runtime.bundle import BundleKind, save_bundle
    from lipforcing_core.training.loop import read_metrics

    model_file = finished.folder / stages[-1].name / MODEL_FILE

    def work(folder: Path) -> None:
        save_bundle(
            folder / "bundle",
            kind=BundleKind(kind),
            stage=stage,
            preset=preset,
            model_file=model_file,
            codec_file=data.codec_file,
        )

    files = [file_sha256(model_file), file_sha256(data.codec_file)]
    bundle = store.run("bundle", content_key(BUNDLE_VERSION, kind, stage, preset, files), work)
    metrics = [row for each in stages for row in read_metrics(finished.folder / each.name / METRICS_FILE)]
    return TrainedModel(bundle=bundle.folder / "bundle", metrics=metrics, reused=finished.reused)
