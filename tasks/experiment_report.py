"""The report of an experiment: pictures of the same instants by every system, and words on what is embedded."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np

from lipforcing_core.base.errors import MediaError
from lipforcing_core.media.decode import FrameReader
from lipforcing_core.media.side_by_side import side_by_side
from lipforcing_core.metrics.manifest import EvalItem
from lipforcing_core.presets import Preset
from lipforcing_core.puppets.pairs import read_pair
from lipforcing_core.seams.tiers import tier_rows
from tasks.contact_sheet import write_contact_sheet
from tasks.corpora import PuppetCorpus, VideoCorpus
from tasks.experiment import Experiment
from tasks.judging import COPY, PAIRS, STUDENT, WITH_UNRELATED, Judged
from tasks.models import MODELS
from tasks.progress import step
from tasks.training_device import CPU
from tasks.user_videos import UserVideo
from tasks.warehousing import RunInfo
from tasks.workspace import Workspace
from warehouse.report.build import build_report
from warehouse.report.context import Command, EmbeddedNote, Question, ReportContext, SampleRow, SampleVideo

REQUEST_FILE = "request.json"
LINKS = {
    "Curation contract and data docs": "curation/data_docs.html",
    "Manifest of accepted clips": "curation/manifest.parquet",
    "Configuration of the run": "config.json",
    "Request of the run": REQUEST_FILE,
}
SAMPLE_CLIPS = 3
SHOWN_SIDE = 200
SHOWN_OF_EACH = 3  # instants of a clip; the contact sheet has the first, lips widest
SHOWN_FRAMES = 250  # of a video that is played; ten seconds
MARK = "Synthetic video: lips redrawn by Lip Forcing Factory"


@dataclass(frozen=True, kw_only=True)
class Wording:
    """What the report says of a corpus: the summary at its head, and what drives the clips that it plays."""

    summary: str
    speech: str


PUPPETS = Wording(
    summary="Two public-domain portraits were animated with synthetic speech, cut into raw reels with planted defects, "
    "curated, and used to train a {parameters} M-parameter lip-sync model: {stages}. This page says how well the "
    "student re-syncs puppets that it has not seen, performing to speech that it has not heard. Both faces are known "
    "from training and intervals resample performances, so nothing here speaks for new people.",
    speech="to speech that no system has heard",
)
_TRAINED = "were used to train a {parameters} M-parameter lip-sync model: {stages}. "
_LISTED = "This page says how well they re-sync {num_clips} clips of {items}, each to the speech that the list names."
_OWN = (
    "This page says how well they redraw {num_clips} clips that were held out of training, each to its own speech. "
    "Speech that a face never spoke was not tried: a list of items with other speech does that."
)


def wording(experiment: Experiment) -> Wording:
    """The words for the corpus of an experiment."""
    corpus = experiment.corpus
    if isinstance(corpus, PuppetCorpus):
        return PUPPETS
    if isinstance(corpus, VideoCorpus):
        origin = "The videos of a folder were curated, and the accepted clips of the training split "
    else:
        origin = "The clips of the training split of a manifest, which an earlier run curated, "
    if corpus.items is None:
        return Wording(summary=origin + _TRAINED + _OWN, speech="to its own speech")
    listed = _LISTED.replace("{items}", corpus.items.name)
    return Wording(summary=origin + _TRAINED + listed, speech=f"to the speech that {corpus.items.name} names")


def write_report(
    workspace: Workspace,
    experiment: Experiment,
    folder: Path,
    judged: Judged,
    videos: Sequence[UserVideo],
    *,
    parameters: float,
) -> Path:
    """Write ``report.html`` and ``frames.png`` into the run folder; returns the report."""
    run, words = experiment.run, wording(experiment)
    with step("write the report"):
        samples = sample_rows(judged, puppets=experiment.puppets)
        write_contact_sheet(samples[::SHOWN_OF_EACH], folder / "frames.png")
        context = ReportContext(
            title=f"Lip Forcing Factory: {run.flow.replace('_', ' ')}",
            run_id=run.run_id,
            summary=words.summary.replace("{parameters}", f"{parameters:.1f}")
            .replace("{num_clips}", str(len(judged.items)))
            .replace("{stages}", trained_stages(experiment.preset)),
            question=Question(
                system=STUDENT,
                copied=COPY,
                unrelated=WITH_UNRELATED,
                metric="sync_c",
                independent_metric="aperture_corr_lag0",
                quality_metric="mouth_ssim",
            ),
            stage_pairs=PAIRS,
            training_stages=_training_stages(),
            sample_videos=[*sample_videos(judged, words.speech), *played_user_videos(videos)],
            sample_images=[*samples, *user_rows(videos)],
            embedded_notes=[
                EmbeddedNote(part=row.seam, embedded=row.embedded_words, full=row.full_words)
                for row in tier_rows()
            ],
            versions=_versions(experiment.device),
            commands=[Command(purpose="Make this page again", command=_again(folder))],
            next_steps=_next_steps(run, folder),
            links={words: file for words, file in LINKS.items() if (folder / file).exists()},
        )
        return build_report(workspace.warehouse, context, folder / "report.html")


def sample_rows(judged: Judged, *, puppets: bool) -> list[SampleRow]:
    """For the first clips: of puppets the instants where the truth's lips are widest, half open and shut, else three
    spread over the clip."""
    rows = []
    for item in judged.items[:SAMPLE_CLIPS]:
        for words, frame in _puppet_instants(item) if puppets else _spread_instants(item):
            images = {title: _png(video, frame) for title, video in _side_by_side(judged, item).items()}
            rows.append(SampleRow(caption=f"{item.clip_id}, frame {frame}{words}", images=images))
    return rows


def sample_videos(judged: Judged, speech: str) -> list[SampleVideo]:
    """The first clips as videos: all systems that were given the driving speech side by side, under that speech."""
    videos = []
    for item in judged.items[:SAMPLE_CLIPS]:
        shown = _side_by_side(judged, item, leave_out=WITH_UNRELATED)
        row = _row_of_videos(list(shown.values()), item.driving_audio)
        videos.append(SampleVideo(caption=f"{item.clip_id}, {speech}", columns=list(shown), mp4=row))
    return videos


def _side_by_side(judged: Judged, item: EvalItem, *, leave_out: str = "") -> dict[str, Path]:
    """The videos of an item by the titles of their systems, from left to right, the source first."""
    ordered = sorted(judged.systems, key=lambda system: system.system != COPY)
    return {
        system.label: judged.videos[system.system, item.clip_id]
        for system in ordered
        if system.system != leave_out and (system.system, item.clip_id) in judged.videos
    }


def played_user_videos(videos: Sequence[UserVideo]) -> list[SampleVideo]:
    """The beginning of each of the user's videos that was re-synced."""
    return [
        SampleVideo(
            caption=f"your video {video.name}",
            mp4=_row_of_videos([video.output], video.output, 2 * SHOWN_SIDE),
        )
        for video in videos
        if video.output is not None
    ]


def _row_of_videos(videos: list[Path], sound: Path, side_px: int = SHOWN_SIDE) -> bytes:
    with TemporaryDirectory(prefix="lipforcing-") as scratch:
        row = Path(scratch) / "row.mp4"
        side_by_side(videos, sound, row, side_px=side_px, max_frames=SHOWN_FRAMES, comment=MARK)
        return row.read_bytes()


def _puppet_instants(item: EvalItem) -> list[tuple[str, int]]:
    truth = read_pair(item.truth_video.parent).truth
    assert truth.frames is not None, "a held-out puppet has a face"
    order = np.argsort(np.array(truth.frames.aperture), kind="stable")
    chosen = {"widest": order[-1], "half open": order[len(order) * 2 // 3], "shut": order[0]}
    return [(f": lips of the truth {words}", int(frame)) for words, frame in chosen.items()]


def _spread_instants(item: EvalItem) -> list[tuple[str, int]]:
    with FrameReader(item.truth_video) as reader:
        return [("", reader.num_frames * part // 4) for part in (1, 2, 3)]


def _again(folder: Path) -> str:
    """The command that makes the page of a run folder again, from the request that lies in it."""
    return shlex.join(["lipforcing", "run", "train_eval", "--request", str(folder / REQUEST_FILE)])


def user_rows(videos: Sequence[UserVideo]) -> list[SampleRow]:
    """One row for each of the user's videos that was re-synced: four instants of the output."""
    rows = []
    for video in videos:
        if video.output is None:
            continue
        with FrameReader(video.output) as reader:
            frames = np.linspace(0, reader.num_frames - 1, 4).round().astype(int)
        images = {f"frame {frame}": _png(video.output, int(frame)) for frame in frames}
        rows.append(SampleRow(caption=f"your video {video.name}", images=images))
    return rows


def trained_stages(preset: Preset) -> str:
    """What was trained, in words."""
    base, calls = preset.base_checkpoint, len(preset.schedule.t_list) - 1
    start = f", finetuned from the base checkpoint {base}," if base else ", trained from nothing,"
    return f"a bidirectional teacher{start} then a causal student of {calls} steps, then its distillation"


def _training_stages() -> list[str]:
    """What the stages are called in training curves, in their order."""
    from lipforcing_core.training.stages.distillation import Distillation
    from lipforcing_core.training.stages.forcing import StudentForcing
    from lipforcing_core.training.stages.teacher import TeacherBase, TeacherLora

    return [TeacherBase.name, TeacherLora.name, StudentForcing.name, Distillation.name]


def _png(path: Path, frame: int) -> bytes:
    with FrameReader(path) as reader:
        picture = reader.read(frame, frame + 1)[0]
    height, width = picture.shape[:2]
    scale = SHOWN_SIDE / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    done, data = cv2.imencode(".png", small[..., ::-1])
    if not done:
        raise MediaError(path, f"frame {frame} cannot be shown")
    return data.tobytes()


def _versions(device: str) -> dict[str, str]:
    names = (
        "lipforcing-factory",
        "torch",
        "ray",
        "prefect",
        "duckdb",
        "scenedetect",
        "great-expectations",
        "av",
    )
    trained = "no GPU used" if device == CPU else f"trained on {device}"
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, {trained}"
    return {"machine": machine, "python": platform.python_version()} | {
        name: importlib.metadata.version(name) for name in names
    }


def _next_steps(run: RunInfo, folder: Path) -> list[Command]:
    model = "" if run.flow == "demo" else f" --model {shlex.quote(str(folder / MODELS / STUDENT))}"
    return [
        Command(
            purpose="Re-sync a video of yours with the student trained here",
            command=f"lipforcing generate YOUR_VIDEO.mp4 YOUR_SPEECH.wav -o synced.mp4{model}",
        ),
        Command(purpose="Curate a folder of videos", command="lipforcing curate YOUR_FOLDER"),
        Command(
            purpose="Ask the warehouse",
            command="lipforcing sql \"select * from leaderboard where metric = 'sync_c'\"",
        ),
        Command(purpose="See what the full tier needs", command="lipforcing doctor"),
    ]
