"""Every model of an experiment and its controls on held-out items, generated and scored."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lipforcing_core.base.products import StepStore, content_key, file_sha256
from lipforcing_core.media.encode import mux
from lipforcing_core.metrics.manifest import (
    UNRELATED_SUFFIX,
    DrivenBy,
    EvalItem,
    PredictionRecord,
    record_prediction,
)
from lipforcing_core.metrics.protocol import gt_box_aligned, precropped
from lipforcing_core.metrics.speed import speed_rows
from lipforcing_core.metrics.suite import Evaluation
from lipforcing_core.presets import Preset
from lipforcing_core.puppets.pairs import DRIVING, SOURCE, TRUTH, UNRELATED
from tasks.evaluation import Scorers, evaluate_all, load_scorers
from tasks.generation import GenerationJob, generate_all
from tasks.progress import step
from tasks.training import TrainedModel
from tasks.warehousing import HeldOutSet, System
from tasks.workspace import Workspace

COPY, TRUE, STUDENT = "copy", "truth", "distilled"
WITH_UNRELATED = STUDENT + UNRELATED_SUFFIX
PAIRS = (
    (STUDENT, COPY),
    (STUDENT, WITH_UNRELATED),
    (STUDENT, "pretrained"),
    (STUDENT, "teacher"),
    ("pretrained", "teacher"),
    ("pretrained", COPY),
    ("teacher", COPY),
)


@dataclass(frozen=True, kw_only=True)
class Judged:
    """Scores, what was scored, and where the scored videos are (system and clip to file)."""

    evaluation: Evaluation
    dataset: HeldOutSet
    systems: Sequence[System]
    items: Sequence[EvalItem]
    videos: Mapping[tuple[str, str], Path]


def judge(
    workspace: Workspace,
    items: Sequence[EvalItem],
    dataset: HeldOutSet,
    models: Mapping[str, TrainedModel],
    preset: Preset,
    *,
    scorers: Scorers,
    seed: int,
    aligned: bool = False,
    controls: bool = True,
) -> Judged:
    """Generate with every model, add the controls, and score all of it against the truth.

    aligned: whether the items are aligned crops of curation, in which no detector would find the face where it is.
    controls: whether to add them, and the truth itself as a system.

    Controls are the untouched source, where that is not the truth itself, and the distilled student under speech that
    has nothing to do with the item, where there is any.
    """
    store = workspace.store
    if aligned:
        scorers = replace(scorers, detector=None, detector_model=None)
    protocol = precropped() if aligned else gt_box_aligned(detector_id=load_scorers(scorers).ids["detector"])
    detection: dict[str, Any] = {"detector": scorers.detector, "detector_model": scorers.detector_model}
    jobs = {
        (name, item.clip_id): GenerationJob(
            name=f"{name}/{item.clip_id}",
            video=_source(item),
            audio=item.driving_audio,
            bundle=model.bundle,
            **detection,
        )
        for name, model in models.items()
        for item in items
    }
    jobs |= {
        (WITH_UNRELATED, item.clip_id): GenerationJob(
            name=f"{WITH_UNRELATED}/{item.clip_id}",
            video=_source(item),
            audio=item.unrelated_audio,
            bundle=models[STUDENT].bundle,
            **detection,
        )
        for item in items
        if controls and item.unrelated_audio is not None
    }
    with step(f"generate {len(jobs)} videos", "videos") as advance:
        made = dict(zip(jobs, generate_all(list(jobs.values()), store, advance), strict=True))
    videos = {key: generated.report.output for key, generated in made.items()}
    for item in items if controls else ():
        if _source(item) != item.truth_video:
            videos[COPY, item.clip_id] = _copy_through(store, item)
        videos[TRUE, item.clip_id] = item.truth_video
    predictions = [_record(system, clip_id, path) for (system, clip_id), path in sorted(videos.items())]
    speed, _ = speed_rows(
        {key: generated.report.ledger for key, generated in made.items()},
        protocol_id=protocol.id,
        machine=f"{platform.machine()} CPU, {os.cpu_count()} cores, 1 thread",
    )
    labels = {system for system, _ in videos}
    with step(f"score {len(predictions)} videos", "clips") as advance:
        evaluation = evaluate_all(
            items,
            predictions,
            protocol,
            store,
            scorers=scorers,
            pairs=[pair for pair in PAIRS if set(pair) <= labels],
            speed=speed,
            seed=seed,
            advance=advance,
        )
    systems = [system for system in _systems(models, preset) if system.system in labels]
    return Judged(evaluation=evaluation, dataset=dataset, systems=systems, items=items, videos=videos)


def puppet_item(folder: Path) -> EvalItem:
    """A rendered pair as an evaluation item.

    There are only two faces, so intervals resample performances (clips), not people; the report says so.
    """
    return EvalItem(
        clip_id=folder.name,
        identity=folder.name,
        truth_video=folder / TRUTH,
        driving_audio=folder / DRIVING,
        source_video=folder / SOURCE,
        unrelated_audio=folder / UNRELATED,
    )


def _systems(models: Mapping[str, TrainedModel], preset: Preset) -> list[System]:
    weights = {name: file_sha256(model.bundle / "model.safetensors")[:12] for name, model in models.items()}
    calls = len(preset.schedule.t_list) - 1

    def system(name: str, label: str, kind: str, steps: int | None, description: str) -> System:
        return System(
            system=name,
            label=label,
            kind=kind,
            description=description,
            variant=preset.name,
            num_steps=steps,
            checkpoint=weights.get(name.removesuffix(UNRELATED_SUFFIX)),
        )

    return [
        system(TRUE, "Truth", "truth", None, "the face that really spoke the driving audio"),
        system(COPY, "Source, copied", "control", None, "the untouched source under the driving audio"),
        system(
            "teacher", "Teacher", "teacher", preset.schedule.num_steps, "bidirectional, guided at every step"
        ),
        system("pretrained", "Pre-trained student", "student", calls, "Diffusion Forcing only"),
        system(STUDENT, "Distilled student", "student", calls, "Self-Forcing, SW-DMD and reward"),
        system(WITH_UNRELATED, "Distilled, other audio", "control", calls, "given unrelated speech"),
    ]


def _record(system: str, clip_id: str, path: Path) -> PredictionRecord:
    driven_by = DrivenBy.OWN if system == COPY else DrivenBy.DRIVING
    if system.endswith(UNRELATED_SUFFIX):
        system, driven_by = system.removesuffix(UNRELATED_SUFFIX), DrivenBy.UNRELATED
    return record_prediction(clip_id, system, path, driven_by=driven_by)


def _copy_through(store: StepStore, item: EvalItem) -> Path:
    """The untouched source with the driving audio under it."""
    key = content_key(1, file_sha256(_source(item)), file_sha256(item.driving_audio))
    done = store.run(
        "copy", key, lambda folder: mux(_source(item), item.driving_audio, folder / "output.mp4")
    )
    return done.folder / "output.mp4"


def _source(item: EvalItem) -> Path:
    return item.truth_video if item.source_video is None else item.source_video
