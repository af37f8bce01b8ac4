"""The training flows: each stage of the paper from a curated manifest to a model bundle."""

from __future__ import annotations

from datetime import UTC, datetime

from prefect import flow

from flows.request_models import DistillStudentRequest, PretrainStudentRequest, TrainTeacherRequest
from flows.summaries import TrainSummary
from lipforcing_core import __version__
from lipforcing_core.runtime.bundle import BundleKind
from tasks import training
from tasks.cost import read_meters
from tasks.progress import step
from tasks.recording import say_what_to_do
from tasks.session import orchestration
from tasks.time_limit import limited
from tasks.training_device import training_device
from tasks.training_runs import (
    bundle_preset,
    check_output,
    deliver,
    student_preset,
    trainable_preset,
)
from tasks.training_sets import training_data
from tasks.workspace import Workspace


@flow(
    name="train_teacher",
    version=__version__,
    description=TrainTeacherRequest.__doc__,
    on_failure=[say_what_to_do],
)
@limited
def train_teacher(request: TrainTeacherRequest) -> TrainSummary:
    """Latents, base, LoRA."""
    started_at, meters = datetime.now(UTC), read_meters()
    workspace = Workspace(request.workspace)
    check_output(request.output)
    device = training_device(request.device, request.workers)
    preset = trainable_preset(request.preset)
    given = training_data(request.manifest, preset)
    with orchestration(workspace, request.resources):
        data = given.encoded(workspace.store, preset)
        with step("train the teacher", "steps") as advance:
            model = training.train_teacher(
                workspace.store, preset, data, advance, device=device, workers=request.workers
            )
        run = deliver(
            workspace, "train_teacher", model, preset, request.output, started_at=started_at, meters=meters
        )
    return TrainSummary.of(run, workspace, model, request.output)


@flow(
    name="pretrain_student",
    version=__version__,
    description=PretrainStudentRequest.__doc__,
    on_failure=[say_what_to_do],
)
@limited
def pretrain_student(request: PretrainStudentRequest) -> TrainSummary:
    """Latents, Diffusion Forcing."""
    started_at, meters = datetime.now(UTC), read_meters()
    workspace = Workspace(request.workspace)
    check_output(request.output)
    device = training_device(request.device, request.workers)
    preset = student_preset(request.preset, request.teacher)
    given = training_data(request.manifest, preset)
    with orchestration(workspace, request.resources):
        data = given.encoded(workspace.store, preset)
        with step("pre-train the student", "steps") as advance:
            model = training.pretrain_student(
                workspace.store,
                preset,
                data,
                request.teacher,
                advance,
                device=device,
                workers=request.workers,
            )
        run = deliver(
            workspace, "pretrain_student", model, preset, request.output, started_at=started_at, meters=meters
        )
    return TrainSummary.of(run, workspace, model, request.output)


@flow(
    name="distill_student",
    version=__version__,
    description=DistillStudentRequest.__doc__,
    on_failure=[say_what_to_do],
)
@limited
def distill_student(request: DistillStudentRequest) -> TrainSummary:
    """Latents, Self-Forcing with Sync-Window DMD and reward."""
    started_at, meters = datetime.now(UTC), read_meters()
    workspace = Workspace(request.workspace)
    check_output(request.output)
    device = training_device(request.device, request.workers)
    preset = student_preset(request.preset, request.teacher)
    bundle_preset(request.student, BundleKind.STUDENT)
    training.reward_file(preset, workspace.weights)  # a missing file is said before anything is encoded
    given = training_data(request.manifest, preset)
    with orchestration(workspace, request.resources):
        data = given.encoded(workspace.store, preset)
        with step("distil the student", "steps") as advance:
            model = training.distill_student(
                workspace.store,
                preset,
                data,
                request.teacher,
                request.student,
                workspace.weights,
                advance,
                device=device,
                workers=request.workers,
            )
        run = deliver(
            workspace, "distill_student", model, preset, request.output, started_at=started_at, meters=meters
        )
    return TrainSummary.of(run, workspace, model, request.output)
