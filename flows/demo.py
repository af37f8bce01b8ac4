"""``lipforcing demo``: the whole factory on puppets, from raw reels to an HTML report."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from prefect import flow
from rich.console import Console
from rich.markup import escape

from flows.curate import curate_sources, print_curation, require_contract
from flows.demo_evaluation import Judged, judge
from flows.demo_report import write_report
from flows.demo_videos import UserVideo, resync_user_videos
from flows.train import training_clips
from lipforcing_core.base.products import content_key, file_sha256, write_json
from lipforcing_core.curation.assemble import CurationReport
from lipforcing_core.curation.settings import CurationSettings
from lipforcing_core.curation.sources import discover_sources, source_sha256
from lipforcing_core.presets import Preset, load_preset
from lipforcing_core.puppets.corpus import CorpusIndex
from tasks.artifacts import publish_curation, publish_report, publish_scores
from tasks.corpus import CorpusSize, render_puppets
from tasks.curation import Source
from tasks.environment import orchestration
from tasks.progress import Stopwatch, run_log, step
from tasks.training import (
    TrainedModel,
    distill_student,
    prepare_training_set,
    pretrain_student,
    train_teacher,
)
from tasks.warehousing import RunInfo, RunRows, load_warehouse
from tasks.workspace import Workspace, latest_link, one_run

console = Console(highlight=False)

CORPUS = CorpusSize(num_reels=9, num_pairs=8)
CURATION = CurationSettings(max_abs_offset_frames=6)
PRESET = "nano"


@dataclass(frozen=True, kw_only=True)
class DemoSettings:
    """Everything that decides the outcome of a demo run."""

    seed: int
    preset: Preset
    corpus: CorpusSize
    curation: CurationSettings
    user_videos: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class Models:
    """The three models that the demo trains."""

    teacher: TrainedModel
    pretrained: TrainedModel
    distilled: TrainedModel

    def named(self) -> dict[str, TrainedModel]:
        """By the names they have in results."""
        return {"teacher": self.teacher, "pretrained": self.pretrained, "distilled": self.distilled}


@dataclass(frozen=True, kw_only=True)
class DemoResult:
    """What a finished demo leaves."""

    folder: Path
    curation: CurationReport
    judged: Judged
    user_videos: Sequence[UserVideo]
    report: Path


@flow(name="demo", validate_parameters=False)
def demo(
    workspace: Workspace, settings: DemoSettings, run: RunInfo, folder: Path, user_sources: list[Source]
) -> DemoResult:
    """Curate, train, distil, generate, evaluate, load the warehouse, report."""
    watch = Stopwatch()
    with watch.stage("render puppets"), step("render puppets") as advance:
        corpus = render_puppets(workspace.store, settings.seed, settings.corpus, advance)
    with watch.stage("curate"):
        puppets = puppet_sources(corpus)
        curation = curate_sources(workspace, puppets + user_sources, settings.curation, folder / "curation")
    with watch.stage("train"):
        models = train(workspace, settings.preset, curation, puppets)
    with watch.stage("evaluate"):
        judged = judge(workspace, corpus, models.named(), settings.preset, settings.seed)
    with watch.stage("your videos"):
        videos = resync_user_videos(workspace, user_sources, corpus, models.distilled.bundle, folder)
    with watch.stage("warehouse"):
        rows = RunRows(workspace, run)
        rows.put_curation(curation, "curated")
        rows.put("training_steps", [row for model in models.named().values() for row in model.metrics])
        rows.put_evaluation(judged.evaluation, judged.dataset, judged.systems)
        rows.put("stage_timings", watch.rows())
        rows.put_run()
        load_warehouse(workspace)
    place_models(models, folder)
    publish_curation(curation)
    publish_scores(judged.evaluation)
    report = write_report(workspace, run, folder, judged, videos, parameters=num_parameters(models))
    publish_report(report)
    return DemoResult(folder=folder, curation=curation, judged=judged, user_videos=videos, report=report)


def puppet_sources(corpus: CorpusIndex) -> list[Source]:
    """Reels and clips with defects; the held-out pairs are never curated into the training set."""
    return [Source(path=path, root=corpus.out_dir) for path in (*corpus.reels, *corpus.defects)]


def train(
    workspace: Workspace, preset: Preset, curation: CurationReport, puppets: Sequence[Source]
) -> Models:
    """Teacher, pre-trained student, distilled student; all of them on puppets alone."""
    hashes = {file_sha256(source.path) for source in puppets}
    store, clips = workspace.store, training_clips(curation.manifest, hashes)
    with step(f"encode {len(clips)} training clips") as advance:
        data = prepare_training_set(store, clips, preset, advance)
    with step("train the teacher (base, then LoRA)") as advance:
        teacher = train_teacher(store, preset, data, advance)
    with step("pre-train the student (Diffusion Forcing)") as advance:
        pretrained = pretrain_student(store, preset, data, teacher.bundle, advance)
    with step("distil the student (Self-Forcing, SW-DMD, reward)") as advance:
        distilled = distill_student(
            store, preset, data, teacher.bundle, pretrained.bundle, workspace.weights, advance
        )
    return Models(teacher=teacher, pretrained=pretrained, distilled=distilled)


def num_parameters(models: Models) -> float:
    """Millions of parameters of the distilled student."""
    from safetensors import safe_open

    with safe_open(models.distilled.bundle / "model.safetensors", framework="np") as stored:
        shapes = [stored.get_slice(name).get_shape() for name in stored.keys()]  # noqa: SIM118 - not a mapping
    return sum(math.prod(shape) for shape in shapes) / 1e6


def place_models(models: Models, folder: Path) -> None:
    """Link the bundles into the run folder, where `lipforcing generate` looks for them."""
    (folder / "models").mkdir(exist_ok=True)
    for name, model in models.named().items():
        link = folder / "models" / name
        link.unlink(missing_ok=True)
        link.symlink_to(model.bundle.resolve(), target_is_directory=True)


def run_demo(
    workspace: Workspace,
    *,
    seed: int = 0,
    videos: Path | None = None,
    corpus: CorpusSize = CORPUS,
    preset: Preset | None = None,
) -> DemoResult:
    """Run the flow for the command line; print a short table, the paths, and what to try next."""
    paths = discover_sources(videos) if videos else []
    root = videos if videos and videos.is_dir() else None
    user_sources = [Source(path=path, root=root or path.parent) for path in paths]
    preset = preset or load_preset(PRESET)
    settings = DemoSettings(
        seed=seed,
        preset=preset,
        corpus=corpus,
        curation=CURATION,
        user_videos=tuple(
            (source.path.name, source_sha256(source.path, source.root)) for source in user_sources
        ),
    )
    run = RunInfo(
        run_id=f"demo-{content_key(settings)}", flow="demo", config=settings, seed=seed, preset=preset.name
    )
    folder = workspace.run_folder("demo", run.run_id)
    write_json(folder / "config.json", settings)
    console.print(f"lipforcing demo, run {run.run_id}: everything on the CPU, nothing downloaded")
    with one_run(folder), run_log(folder / "run.log"), orchestration(workspace):
        result = demo(workspace, settings, run, folder, user_sources)
    latest_link(folder)
    print_curation(result.curation)
    print_result(result)
    require_contract(result.curation)
    return result


def print_result(result: DemoResult) -> None:
    """The headline numbers and where to look next."""
    console.print(result.judged.table())
    for video in result.user_videos:
        console.print(escape(f"your video {video.name}: {video.outcome}"), soft_wrap=True)
    console.print(f"[bold]report[/bold]    {escape(str(result.report))}", soft_wrap=True)
    console.print(f"[bold]models[/bold]    {escape(str(result.folder / 'models'))}", soft_wrap=True)
    console.print("[bold]try next[/bold]")
    console.print("  lipforcing generate YOUR_VIDEO.mp4 YOUR_SPEECH.wav -o synced.mp4")
    console.print("  lipforcing sql \"select * from leaderboard where metric = 'sync_c'\"")
    console.print("  lipforcing curate YOUR_FOLDER")
