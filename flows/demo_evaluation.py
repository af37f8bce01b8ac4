"""The demo's evaluation: every model and two controls on held-out puppets driven by new audio."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.box import SIMPLE
from rich.table import Column, Table

from lipforcing_core.base.products import StepStore, content_key, file_sha256
from lipforcing_core.media.encode import mux
from lipforcing_core.metrics.manifest import (
    UNRELATED_SUFFIX,
    DrivenBy,
    EvalItem,
    PredictionRecord,
    record_prediction,
)
from lipforcing_core.metrics.protocol import gt_box_aligned
from lipforcing_core.metrics.speed import speed_rows
from lipforcing_core.metrics.suite import Evaluation
from lipforcing_core.presets import Preset
from lipforcing_core.puppets.corpus import CorpusIndex
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
HEADLINE = {
    "sync_c": "Sync-C",
    "sync_d": "Sync-D",
    "aperture_corr_lag0": "lip r",
    "mouth_ssim": "SSIM lips",
    "fid": "FID*",
    "fps_pipeline": "FPS",
    "ttff_pipeline_s": "TTFF s",
}


@dataclass(frozen=True, kw_only=True)
class Judged:
    """Scores, what was scored, and where the scored videos are (system and clip to file)."""

    evaluation: Evaluation
    dataset: HeldOutSet
    systems: Sequence[System]
    items: Sequence[EvalItem]
    videos: Mapping[tuple[str, str], Path]

    def table(self) -> Table:
        """Set-level values of the headline metrics, for the terminal."""
        table = Table(
            Column("system", no_wrap=True),
            *(Column(title, justify="right", no_wrap=True) for title in HEADLINE.values()),
            title=f"{self.dataset.num_clips} held-out clips, new audio (* random features, see the report)",
            box=SIMPLE,
            padding=(0, 1, 0, 0),
        )
        values = {(v.system, v.metric): v.value for v in self.evaluation.values if v.clip_id is None}
        for system in self.systems:
            cells = [values.get((system.system, metric)) for metric in HEADLINE]
            table.add_row(
                system.label,
                *("-" if cell is None else f"{cell:z.{1 if cell >= 100 else 2}f}" for cell in cells),
            )
        return table


def judge(
    workspace: Workspace,
    corpus: CorpusIndex,
    models: Mapping[str, TrainedModel],
    preset: Preset,
    seed: int,
) -> Judged:
    """Generate with every model, add the controls, and score all of it against the known truth."""
    store, scorers = workspace.store, Scorers(sync_expert=preset.backends.sync)
    items = [held_out_item(folder) for folder in corpus.pairs]
    protocol = gt_box_aligned(detector_id=load_scorers(scorers).ids["detector"])
    jobs = {
        (name, item.clip_id): GenerationJob(
            name=f"{name}/{item.clip_id}", video=_source(item), audio=item.driving_audio, bundle=model.bundle
        )
        for name, model in models.items()
        for item in items
    }
    jobs |= {
        (WITH_UNRELATED, item.clip_id): GenerationJob(
            name=f"{WITH_UNRELATED}/{item.clip_id}",
            video=_source(item),
            audio=_unrelated(item),
            bundle=models[STUDENT].bundle,
        )
        for item in items
    }
    with step(f"generate {len(jobs)} videos") as advance:
        made = dict(zip(jobs, generate_all(list(jobs.values()), store, advance), strict=True))
    videos = {key: generated.report.output for key, generated in made.items()}
    for item in items:
        videos[COPY, item.clip_id] = _copy_through(store, item)
        videos[TRUE, item.clip_id] = item.truth_video
    predictions = [_record(system, clip_id, path) for (system, clip_id), path in sorted(videos.items())]
    speed, _ = speed_rows(
        {key: generated.report.ledger for key, generated in made.items()},
        protocol_id=protocol.id,
        machine=f"{platform.machine()} CPU, {os.cpu_count()} cores, 1 thread",
    )
    with step(f"score {len(predictions)} videos") as advance:
        evaluation = evaluate_all(
            items,
            predictions,
            protocol,
            store,
            scorers=scorers,
            pairs=PAIRS,
            speed=speed,
            seed=seed,
            advance=advance,
        )
    version = content_key([(item.clip_id, file_sha256(item.truth_video)) for item in items])
    dataset = HeldOutSet(
        name="puppets-heldout",
        version=version,
        num_clips=len(items),
        description="puppets of the two training portraits, with unseen motion, light and speech",
    )
    return Judged(
        evaluation=evaluation, dataset=dataset, systems=_systems(models, preset), items=items, videos=videos
    )


def held_out_item(folder: Path) -> EvalItem:
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
        system(TRUE, "Truth", "truth", None, "the puppet really driven by the new audio"),
        system(COPY, "Source, copied", "control", None, "the untouched source under the new audio"),
        system(
            "teacher", "Teacher", "teacher", preset.schedule.num_steps, "bidirectional, guided at every step"
        ),
        system("pretrained", "Pre-trained student", "student", calls, "Diffusion Forcing only"),
        system(STUDENT, "Distilled student", "student", calls, "Self-Forcing, SW-DMD and reward"),
        system(WITH_UNRELATED, "Distilled, other audio", "control", calls, "given a third speech"),
    ]


def _record(system: str, clip_id: str, path: Path) -> PredictionRecord:
    driven_by = DrivenBy.OWN if system == COPY else DrivenBy.DRIVING
    if system.endswith(UNRELATED_SUFFIX):
        system, driven_by = system.removesuffix(UNRELATED_SUFFIX), DrivenBy.UNRELATED
    return record_prediction(clip_id, system, path, driven_by=driven_by)


def _copy_through(store: StepStore, item: EvalItem) -> Path:
    """The untouched source with the new audio under it."""
    key = content_key(1, file_sha256(_source(item)), file_sha256(item.driving_audio))
    done = store.run(
        "copy", key, lambda folder: mux(_source(item), item.driving_audio, folder / "output.mp4")
    )
    return done.folder / "output.mp4"


def _source(item: EvalItem) -> Path:
    assert item.source_video is not None
    return item.source_video


def _unrelated(item: EvalItem) -> Path:
    assert item.unrelated_audio is not None
    return item.unrelated_audio
