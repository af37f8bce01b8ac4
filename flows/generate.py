"""The generation flow: a video, a speech track and a student to a lip-synced video."""

from __future__ import annotations

from contextlib import ExitStack

from prefect import flow

from flows.request_models import GenerateRequest
from flows.summaries import GenerateSummary
from lipforcing_core import __version__
from tasks.generation import generate_prepared, load_model, prepare
from tasks.generation_jobs import plan_generation, run_id_of
from tasks.progress import note, step
from tasks.recording import say_what_to_do
from tasks.session import orchestration
from tasks.time_limit import limited
from tasks.workspace import Workspace


@flow(name="generate", version=__version__, description=GenerateRequest.__doc__, on_failure=[say_what_to_do])
@limited
def generate(request: GenerateRequest) -> GenerateSummary:
    """Find the face, load the model, then redraw chunk by chunk; only the output and its sidecar are written.

    Raises ``BadInputError`` and ``MissingWeightsError`` before the model is loaded.
    """
    workspace = Workspace(request.workspace)
    plan = plan_generation(
        workspace,
        video=request.video,
        audio=request.audio,
        output=request.output,
        model=request.model,
        device=request.device,
        detector=request.detector,
        detector_model=request.detector_model,
        seed=request.seed,
        face=request.face,
    )
    job, bundle = plan.job, None
    with orchestration(workspace, request.resources, output=request.output), ExitStack() as opened:
        if plan.slow:
            note(plan.slow)
        with step(f"look for the face in {job.video.name}", ""):
            ready = opened.enter_context(prepare(job, request.output))
        if ready.several_faces:
            note(ready.several_faces)
        if not plan.embedded:
            with step(f"load {job.bundle}", "MB") as advance:
                bundle = load_model(
                    job.bundle,
                    job.weights,
                    job.device,
                    lambda done, total: advance(done // 1_000_000, total // 1_000_000),
                )
        with step(f"generate {job.name}", "frames") as advance:
            report = generate_prepared(job, ready, request.output, advance, bundle=bundle)
    return GenerateSummary.of(run_id_of(job), report, embedded=plan.embedded, device=job.device)
