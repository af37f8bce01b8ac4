"""Generation as steps: one output a step, each by a worker that keeps its model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from lipforcing_core.metrics.speed import ChunkStages, Stage, StageLedger
from lipforcing_core.products import StepStore, content_key, file_sha256
from lipforcing_core.streaming.generate import GenerationReport, generate_video
from tasks.dispatch import fan_out
from tasks.progress import Advance

if TYPE_CHECKING:
    from lipforcing_core.streaming.bundle import Bundle

VERSION = 3
NUM_THREADS = 1
OUTPUT = "output.mp4"
BUNDLE_PARTS = ("model.safetensors", "codec.safetensors", "preset.json")


@dataclass(frozen=True, kw_only=True)
class GenerationJob:
    """One video to make. ``name`` is for people; the content decides whether it has to be made."""

    name: str
    video: Path
    audio: Path
    bundle: Path
    seed: int = 42
    detector: str = "lbp"
    detector_model: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Generated:
    """A finished output and the report of how it was made."""

    job: GenerationJob
    report: GenerationReport


@task(cache_policy=NO_CACHE)
def generate_all(
    jobs: Sequence[GenerationJob], store: StepStore, advance: Advance | None = None
) -> list[Generated]:
    """Make every output that has not been made yet."""
    return fan_out(partial(generate_step, store=store), jobs, name="generate", advance=advance)


def generate_file(job: GenerationJob, output: Path, advance: Advance | None = None) -> GenerationReport:
    """Make one output in this process."""
    from lipforcing_core.faces.detect import load_detector
    from lipforcing_core.streaming.generators import load_generator

    bundle = _bundle(job.bundle)
    return generate_video(
        job.video,
        job.audio,
        output,
        generator=load_generator(bundle),
        audio_encoder=bundle.audio_encoder,
        detector=load_detector(job.detector, job.detector_model),
        seed=job.seed,
        on_progress=advance,
    )


def generate_step(job: GenerationJob, *, store: StepStore) -> Generated:
    """Make one output in this process unless it has been made, with these bytes as input, before."""
    import torch

    torch.set_num_threads(NUM_THREADS)
    files = [job.video, job.audio, *(job.bundle / part for part in BUNDLE_PARTS)]
    if job.detector_model is not None:
        files.append(job.detector_model)
    key = content_key(VERSION, [file_sha256(path) for path in files], job.seed, job.detector, NUM_THREADS)
    done = store.run(
        "generate", key, lambda folder: asdict(generate_file(job, folder / OUTPUT)) | {"output": OUTPUT}
    )
    return Generated(job=job, report=_report(done.result, done.folder / OUTPUT))


def _report(stored: dict[str, Any], output: Path) -> GenerationReport:
    ledger = stored["ledger"]
    chunks = tuple(
        ChunkStages(num_frames=c["num_frames"], stage_s={Stage(k): v for k, v in c["stage_s"].items()})
        for c in ledger["chunks"]
    )
    return GenerationReport(
        **stored | {"output": output, "ledger": StageLedger(**ledger | {"chunks": chunks})}
    )


@lru_cache(maxsize=2)
def _bundle(folder: Path) -> Bundle:
    from lipforcing_core.streaming.bundle import load_bundle

    return load_bundle(folder)
