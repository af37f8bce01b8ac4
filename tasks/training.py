"""Training as steps: the latent set, then teacher, student and distilled student, each one resumable Ray job."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from lipforcing_core.base.errors import BadInputError, MissingWeightsError
from lipforcing_core.base.products import StepStore, content_key, file_sha256
from lipforcing_core.presets import Preset
from lipforcing_core.runtime.shipped_base import shipped_base
from lipforcing_core.training.dataset import ClipSource
from lipforcing_core.weights.registry import require_weight
from tasks.dispatch import fan_out, run_job
from tasks.progress import Advance
from tasks.recording import step_task

TRAINING_SET_VERSION = 1
STAGE_VERSION = 2
NUM_THREADS = 2  # results depend on the number of threads in the last bits, so it is part of the recipe
BUNDLE, CODEC = "bundle", "codec.safetensors"


@dataclass(frozen=True, kw_only=True)
class TrainingSet:
    """Latent windows on disk: ``codec.safetensors`` and ``windows/<clip_id>.safetensors`` in one folder."""

    folder: Path

    @property
    def codec_file(self) -> Path:
        """The codec the windows were encoded with."""
        return self.folder / CODEC

    @property
    def windows(self) -> list[Path]:
        """One file a clip, in a fixed order."""
        return sorted((self.folder / "windows").glob("*.safetensors"))


@dataclass(frozen=True, kw_only=True)
class TrainedModel:
    """A finished stage: its bundle, its metric rows (step, stage, name, value), and whether it was reused."""

    bundle: Path
    metrics: list[dict[str, Any]]
    reused: bool


@step_task()
def prepare_training_set(
    store: StepStore, clips: Sequence[ClipSource], preset: Preset, advance: Advance | None = None
) -> TrainingSet:
    """Encode every clip once, with the codec of the preset's shipped base or else one fitted on the clips."""
    hashes = sorted((c.clip_id, file_sha256(c.clip_path), file_sha256(c.audio_path)) for c in clips)
    key = content_key(TRAINING_SET_VERSION, hashes, preset.video, preset.codec, preset.backends)
    base = shipped_base(preset)
    if base is not None:
        key = content_key(key, base.codec_sha256)
    ordered = sorted(clips, key=lambda clip: clip.clip_id)

    def work(folder: Path) -> dict[str, int]:
        if base is not None:
            shutil.copyfile(base.codec_file, folder / CODEC)
        else:
            run_job(_fit_codec, ordered, preset, folder, name="fit-codec", num_cpus=1)
        encode = partial(_encode_one, preset=preset, folder=folder)
        counts = fan_out(encode, ordered, name="encode-clip", advance=advance)
        return {"clips": len(ordered), "windows": sum(counts)}

    return TrainingSet(folder=store.run("training-set", key, work).folder)


@step_task()
def train_teacher(
    store: StepStore, preset: Preset, data: TrainingSet, advance: Advance | None = None
) -> TrainedModel:
    """The bidirectional teacher: LoRA on the shipped base, or on base weights that are trained first; merged."""
    stages = {"lora": preset.lora.steps}
    base = shipped_base(preset)
    if base is None and preset.base is not None:
        stages = {"base": preset.base.steps} | stages
    return _train(
        store,
        "teacher",
        preset,
        data,
        [],
        stages,
        _teacher_job,
        advance,
        base=None if base is None else base.model_sha256,
    )


@step_task()
def pretrain_student(
    store: StepStore, preset: Preset, data: TrainingSet, teacher: Path, advance: Advance | None = None
) -> TrainedModel:
    """The causal student by Diffusion Forcing, from the teacher's weights."""
    stages = {"diffusion_forcing": preset.diffusion_forcing.steps}
    return _train(store, "pretrained", preset, data, [teacher], stages, _pretrain_job, advance)


@step_task()
def distill_student(
    store: StepStore,
    preset: Preset,
    data: TrainingSet,
    teacher: Path,
    student: Path,
    weights: Path,
    advance: Advance | None = None,
) -> TrainedModel:
    """The student by Self-Forcing rollout with Sync-Window DMD and SyncNet reward.

    ``weights`` is the folder of registered weights; raises as ``reward_file`` does.
    """
    from lipforcing_core.sync.experts.catalogue import load_sync_expert

    stages = {"distill": preset.distill.student.steps * preset.distill.critic_per_student}
    file = reward_file(preset, weights)
    reward = load_sync_expert(preset.backends.sync, file).backend_id
    job = partial(_distill_job, expert_file=file)
    return _train(store, "distilled", preset, data, [teacher, student], stages, job, advance, reward=reward)


def reward_file(preset: Preset, weights: Path) -> Path | None:
    """The file of the sync expert that gives the reward, from the folder of weights; None where it needs none.

    Raises ``MissingWeightsError`` that names the key of the preset.
    """
    if preset.backends.sync != "syncnet-v2":
        return None
    try:
        return require_weight("syncnet-v2", weights)
    except MissingWeightsError as error:
        raise MissingWeightsError(f"backends.sync = 'syncnet-v2' in preset {preset.name}: {error}") from error


Job = Callable[[Preset, TrainingSet, list[Path], Path], None]


def _train(
    store: StepStore,
    name: str,
    preset: Preset,
    data: TrainingSet,
    parents: list[Path],
    stages: dict[str, int],
    job: Job,
    advance: Advance | None,
    *,
    reward: str | None = None,
    base: str | None = None,
) -> TrainedModel:
    """Run ``job`` as a resumable step; it trains ``stages`` (name to steps) in folders of those names.

    ``reward`` is the backend id of the sync expert, ``base`` the hash of the shipped base, where they take part.
    """
    from lipforcing_core.training.loop import METRICS_FILE, read_metrics

    _check_codec(data, parents)
    inputs = [file_sha256(path) for path in data.windows]
    parent_weights = [file_sha256(parent / "model.safetensors") for parent in parents]
    key = content_key(STAGE_VERSION, name, preset, inputs, parent_weights, reward, NUM_THREADS)
    if base is not None:
        key = content_key(key, base)

    def work(folder: Path) -> dict[str, Any]:
        def watch() -> None:
            if advance:
                done = sum(_steps_done(folder / stage / METRICS_FILE) for stage in stages)
                advance(done, sum(stages.values()))

        run_job(job, preset, data, parents, folder, name=f"train-{name}-{key}", watch=watch)
        return {"stages": stages}

    finished = store.run(f"train-{name}", key, work, resumable=True)
    metrics = [row for stage in stages for row in read_metrics(finished.folder / stage / METRICS_FILE)]
    return TrainedModel(bundle=finished.folder / BUNDLE, metrics=metrics, reused=finished.reused)


def _check_codec(data: TrainingSet, parents: list[Path]) -> None:
    """Latents of another codec mean something else to a model: raises ``BadInputError`` for such a parent."""
    for parent in parents:
        if file_sha256(parent / "codec.safetensors") != file_sha256(data.codec_file):
            raise BadInputError(
                f"{parent} was trained on latents of another codec, fitted on other clips; "
                "give the manifest that it was trained on"
            )


def _teacher_job(preset: Preset, data: TrainingSet, _parents: list[Path], folder: Path) -> None:
    from lipforcing_core.training.teacher import train_base, train_lora

    windows, prompts = _prepare(preset, data)
    shipped = shipped_base(preset)
    if shipped is not None:
        init = shipped.model_file
    else:
        assert preset.base is not None, "the caller refuses presets that build on a downloaded base"
        init = train_base(preset, windows, prompts, folder / "base").model_path
    lora = train_lora(preset, windows, prompts, folder / "lora", init=init)
    _save(folder, "teacher", "teacher", preset, lora.model_path, data)


def _pretrain_job(preset: Preset, data: TrainingSet, parents: list[Path], folder: Path) -> None:
    from lipforcing_core.training.diffusion_forcing import pretrain_student as train

    windows, prompts = _prepare(preset, data)
    init = parents[0] / "model.safetensors"
    result = train(preset, windows, prompts, folder / "diffusion_forcing", init=init)
    _save(folder, "student", "pretrained", preset, result.model_path, data)


def _distill_job(
    preset: Preset, data: TrainingSet, parents: list[Path], folder: Path, *, expert_file: Path | None
) -> None:
    from lipforcing_core.models.codecs.block import BlockCodec
    from lipforcing_core.sync.experts.catalogue import load_sync_expert
    from lipforcing_core.training.distill import distill_student as train
    from lipforcing_core.training.reward import SyncReward

    windows, prompts = _prepare(preset, data)
    teacher, student = (parent / "model.safetensors" for parent in parents)
    result = train(
        preset,
        windows,
        prompts,
        folder / "distill",
        student_init=student,
        teacher_init=teacher,
        reward=SyncReward(
            BlockCodec.load(data.codec_file), load_sync_expert(preset.backends.sync, expert_file)
        ),
    )
    _save(folder, "student", "distilled", preset, result.model_path, data)


def _save(folder: Path, kind: str, stage: str, preset: Preset, model_file: Path, data: TrainingSet) -> None:
    """Leave the stage's bundle in its folder."""
    from lipforcing_core.runtime.bundle import BundleKind, save_bundle

    save_bundle(
        folder / BUNDLE,
        kind=BundleKind(kind),
        stage=stage,
        preset=preset,
        model_file=model_file,
        codec_file=data.codec_file,
    )


def _prepare(preset: Preset, data: TrainingSet) -> tuple[Any, Any]:
    import torch

    from lipforcing_core.runtime.encoders import load_text_encoder
    from lipforcing_core.runtime.prompts import encode_prompts
    from lipforcing_core.training.dataset import LatentWindows

    torch.set_num_threads(NUM_THREADS)
    prompts = encode_prompts(load_text_encoder(preset), preset.schedule.prompt)
    return LatentWindows(data.windows, preset.video), prompts


def _fit_codec(clips: list[ClipSource], preset: Preset, folder: Path) -> None:
    """A job of one CPU, hence of one thread: the bits do not depend on how many cores a machine has."""
    from lipforcing_core.training.dataset import fit_codec

    assert preset.codec is not None, "presets with a downloaded codec do not fit one"
    fit_codec(clips, preset.video, preset.codec.settings()).save(folder / "codec.safetensors")


def _encode_one(source: ClipSource, *, preset: Preset, folder: Path) -> int:
    from lipforcing_core.models.codecs.block import BlockCodec
    from lipforcing_core.runtime.encoders import load_audio_encoder
    from lipforcing_core.training.dataset import encode_clip

    return encode_clip(
        source,
        folder / "windows" / f"{source.clip_id}.safetensors",
        codec=BlockCodec.load(folder / "codec.safetensors"),
        audio_encoder=load_audio_encoder(preset),
        video=preset.video,
    )


def _steps_done(metrics: Path) -> int:
    """The last complete step in a metrics file that is being written."""
    try:
        with open(metrics, "rb") as stream:
            stream.seek(max(0, metrics.stat().st_size - 4096))
            lines = stream.read().split(b"\n")
    except FileNotFoundError:
        return 0
    complete = [line for line in lines[1:-1] if line]
    return int(json.loads(complete[-1])["step"]) if complete else 0
