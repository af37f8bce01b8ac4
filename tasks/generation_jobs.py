"""One generation planned: which model on which device, and all that can be said to be wrong before it is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.products import content_key, sha256_once
from lipforcing_core.faces.choice import FaceChoice
from lipforcing_core.faces.detectors.catalogue import DETECTORS
from lipforcing_core.runtime.bundle import find_model, model_preset, require_files
from lipforcing_core.runtime.encoders import choose_device, is_embedded
from lipforcing_core.streaming.files import check_files
from lipforcing_core.weights.chosen import weights_to_find
from tasks.generation import GenerationJob
from tasks.workspace import Workspace

SLOW = (
    "slow: a model of preset {preset} is made for a GPU; on a CPU a second of video takes minutes to hours, and the "
    "14B model 40 GB of memory"
)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A job, whether its backends are embedded, and a sentence where it will be slow."""

    job: GenerationJob
    embedded: bool
    slow: str | None


def plan_generation(
    workspace: Workspace,
    *,
    video: Path,
    audio: Path,
    output: Path,
    model: str | None,
    device: str,
    detector: str,
    detector_model: Path | None,
    seed: int,
    face: str | None = None,
) -> Plan:
    """Find the model and its files, and choose the device; ``face`` is ``N`` or ``X,Y`` (``faces.choice``).

    Raises ``BadInputError`` for files, a model or a device that cannot be used, and ``MissingWeightsError`` naming
    every weight file that is absent.
    """
    demo_model = workspace.runs / "demo" / "latest" / "models" / "distilled"
    if model is None and not demo_model.exists():
        raise BadInputError(
            f"no demo has run in the workspace {workspace.root.absolute()}: run `lipforcing demo`, name the workspace "
            "of one (lipforcing -w FOLDER generate ...), or give a bundle with --model"
        )
    of_detector = weights_to_find(DETECTORS[detector], detector_model)
    check_files(video, audio, output)
    choice = None if face is None else FaceChoice.parse(face)
    bundle = demo_model if model is None else find_model(model)
    preset = model_preset(bundle)
    chosen_device = choose_device(device, preset)
    require_files(bundle, workspace.weights, also=of_detector)
    embedded = is_embedded(preset)
    return Plan(
        job=GenerationJob(
            name=output.name,
            video=video,
            audio=audio,
            bundle=bundle,
            seed=seed,
            detector=detector,
            detector_model=workspace.detector_model(detector, detector_model),
            face=choice,
            weights=workspace.weights,
            device=chosen_device,
        ),
        embedded=embedded,
        slow=SLOW.format(preset=preset.name) if not embedded and chosen_device == "cpu" else None,
    )


def run_id_of(job: GenerationJob) -> str:
    """The id of a generation: equal inputs and settings, and a model of the same name or place, give the same."""
    config = [
        sha256_once(job.video),
        sha256_once(job.audio),
        str(job.bundle),
        job.seed,
        job.detector,
        job.device,
        *([f"face {job.face}"] if job.face else []),
    ]
    return f"generate-{content_key(config)}"
