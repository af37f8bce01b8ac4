"""Generation as steps: one output a step, each by a worker that keeps its model."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lipforcing_core.base.ledger import ChunkStages, Stage, StageLedger
from lipforcing_core.base.products import StepStore, content_key, sha256_once
from lipforcing_core.faces.choice import FaceChoice
from lipforcing_core.faces.detectors.catalogue import DETECTORS
from lipforcing_core.streaming.generate import GenerationReport, redraw
from lipforcing_core.streaming.prepared import PreparedSource, prepared
from lipforcing_core.weights.chosen import files_beside
from tasks.dispatch import fan_out
from tasks.progress import Advance
from tasks.recording import step_task
from tasks.resources import Work

if TYPE_CHECKING:
    from lipforcing_core.runtime.bundle import Bundle, ModelSource

VERSION = 3
NUM_THREADS = 1
OUTPUT = "output.mp4"
BUNDLE_PARTS = ("model.safetensors", "codec.safetensors", "preset.json")


@dataclass(frozen=True, kw_only=True)
class GenerationJob:
    """One video to make. ``name`` is for people; the content decides whether it has to be made.

    bundle: a bundle folder, or the name of a released student. weights: the folder of registered weights, for backends
    that are not embedded. device: ``cpu`` or ``cuda``. detector: None where the video holds aligned crops.
    """

    name: str
    video: Path
    audio: Path
    bundle: ModelSource
    seed: int = 42
    detector: str | None = DETECTORS.default
    detector_model: Path | None = None
    face: FaceChoice | None = None
    weights: Path = Path("weights")
    device: str = "cpu"


@dataclass(frozen=True, kw_only=True)
class Generated:
    """A finished output and the report of how it was made."""

    job: GenerationJob
    report: GenerationReport


@step_task()
def generate_all(
    jobs: Sequence[GenerationJob], store: StepStore, advance: Advance | None = None
) -> list[Generated]:
    """Make every output that has not been made yet."""
    return fan_out(
        partial(generate_step, store=store), jobs, name="generate", work=Work.GENERATE, advance=advance
    )


def load_model(model: ModelSource, weights: Path, device: str, advance: Advance | None = None) -> Bundle:
    """Load a model onto a device; ``advance`` follows the bytes that are read of it.

    Raises ``BadInputError`` where the device has too little memory, and as ``runtime.bundle.load_any`` does.
    """
    from lipforcing_core.runtime.bundle import load_any
    from lipforcing_core.runtime.encoders import memory_in_words

    with memory_in_words(device):
        return load_any(model, weights_dir=weights, device=device, on_progress=advance)


def prepare(job: GenerationJob, output: Path) -> AbstractContextManager[PreparedSource]:
    """Make the source of a job ready and find its face, which needs no model (``streaming.prepared``)."""
    from lipforcing_core.faces.detectors.catalogue import load_detector

    detector = None if job.detector is None else load_detector(job.detector, job.detector_model)
    return prepared(job.video, job.audio, output, detector=detector, choice=job.face)


def generate_prepared(
    job: GenerationJob,
    ready: PreparedSource,
    output: Path,
    advance: Advance | None = None,
    *,
    bundle: Bundle | None = None,
) -> GenerationReport:
    """Make one output in this process from its prepared source, with the job's model if it is loaded already."""
    from lipforcing_core.runtime.encoders import memory_in_words
    from lipforcing_core.streaming.generators import load_generator

    bundle = bundle or _bundle(job.bundle, job.weights, job.device)
    with memory_in_words(job.device):
        return redraw(
            ready,
            output,
            generator=load_generator(bundle),
            audio_encoder=bundle.audio_encoder,
            seed=job.seed,
            on_progress=advance,
        )


def generate_file(job: GenerationJob, output: Path) -> GenerationReport:
    """Make one output in this process."""
    with prepare(job, output) as ready:
        return generate_prepared(job, ready, output)


def generate_step(job: GenerationJob, *, store: StepStore) -> Generated:
    """Make one output in this process unless it has been made, with these bytes as input, before.

    A file that several jobs name is hashed once in a process.
    """
    import torch

    torch.set_num_threads(NUM_THREADS)
    hashes = [sha256_once(job.video), sha256_once(job.audio), *_model_hashes(job)]
    if job.detector is not None:
        hashes += [sha256_once(path) for path in files_beside(DETECTORS[job.detector], job.detector_model)]
    if job.device != "cpu":
        hashes.append(job.device)
    if job.face is not None:
        hashes.append(f"face {job.face}")
    key = content_key(VERSION, hashes, job.seed, job.detector, NUM_THREADS)
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


def _model_hashes(job: GenerationJob) -> list[str]:
    """Hashes of everything the model consists of: its own files, and those that its backends read."""
    from lipforcing_core.runtime.bundle import OFFICIAL_MASK, model_preset, official_file
    from lipforcing_core.runtime.prompts import backend_digests
    from lipforcing_core.weights.digest import remembered_sha256
    from lipforcing_core.weights.registry import require_weight

    if isinstance(job.bundle, Path):
        own = [sha256_once(path) for part in BUNDLE_PARTS if (path := job.bundle / part).is_file()]
    else:
        mask = require_weight(OFFICIAL_MASK, job.weights)
        own = [job.bundle, remembered_sha256(official_file(job.bundle, job.weights)), sha256_once(mask)]
    return own + backend_digests(model_preset(job.bundle), job.weights)


@lru_cache(maxsize=1)  # a 14B model is most of a GPU
def _bundle(model: ModelSource, weights: Path, device: str) -> Bundle:
    return load_model(model, weights, device)
