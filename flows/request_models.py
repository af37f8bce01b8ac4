"""What a flow is asked for: one pydantic model a flow, which survives JSON.

A request is given by the command line, by a JSON file (``lipforcing run FLOW --request FILE``), by a TOML file
(``lipforcing train-eval FILE``), or as parameters of a Prefect deployment, whose page shows the descriptions below as a
form. Relative paths are those of the process that runs the flow.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from lipforcing_core.base.catalogue import either, file_help
from lipforcing_core.base.suggestions import unknown
from lipforcing_core.corpora.catalogue import CORPORA
from lipforcing_core.faces.choice import FACE_HELP, FaceChoice
from lipforcing_core.faces.detectors.catalogue import DETECTORS
from lipforcing_core.metrics.backends import NETWORK_SETS
from lipforcing_core.metrics.measures.catalogue import smallest_window
from lipforcing_core.presets.ablations import ABLATIONS
from lipforcing_core.runtime.devices import DeviceWish, TorchDevice
from lipforcing_core.sync.experts.catalogue import SYNC_EXPERTS
from lipforcing_core.training.strategies.catalogue import STRATEGIES
from tasks.corpora import Corpus, PuppetCorpus
from tasks.request_path import RequestPath, RequestPlace, Uri
from tasks.resources import Resources
from tasks.training_device import AUTO, CPU, DEVICE_CHOICES, DEVICE_HELP, WORKERS_HELP

Settings = str | dict[str, Any]
DeviceChoice = Annotated[str, STRATEGIES.choice_or(AUTO)]


class Request(BaseModel):
    """What every request says."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    workspace: RequestPath = Field(
        Path(), description="Folder for runs, state and the warehouse.", examples=[".", "/data/lipforcing"]
    )
    resources: Resources = Field(
        Resources(), description="CPUs and GPUs that one piece of each kind of work takes on Ray."
    )
    timeout_h: float | None = Field(
        None,
        gt=0,
        le=8760,
        description="Hours after which the run is ended as failed; finished steps are kept. null: no limit.",
        examples=[None, 6],
    )


class CurateRequest(Request):
    """Turn raw videos into aligned, synchronised, checked clips with a Parquet manifest."""

    source: RequestPlace = Field(
        description="A folder of videos (searched recursively), a video file, or a manifest: what the corpus is made "
        "of. Or the URI of one, which is copied into the workspace first.",
        examples=["/data/talks", "s3://bucket/talks"],
    )
    corpus: Annotated[str, CORPORA.choice] = Field(
        CORPORA.default, description=CORPORA.help, examples=list(CORPORA.names)
    )
    test_list: RequestPath | None = Field(
        None,
        description="File with the clips of the official test split, one name a line, where the corpus does not "
        "publish it.",
        examples=[None, "hdtf_test.txt"],
    )
    name: str | None = Field(
        None,
        description="Name of the data set in the warehouse and in exports, by which a run is compared with the one "
        "before it; null: that of the folder.",
        examples=[None, "talks"],
    )
    against: tuple[RequestPath, ...] = Field(
        (),
        description="Manifests of other data sets, or folders of their exports: no clip may repeat one of theirs in "
        "another split.",
        examples=[[], ["/data/hdtf/manifest.parquet"]],
    )
    publish: Uri | None = Field(
        None,
        description="URI that the finished data set is copied to, its manifest last.",
        examples=[None, "s3://bucket/sets/talks"],
    )
    settings: Settings = Field(
        {},
        description="Curation settings: a TOML file with a [curation] table, or only the settings that differ from the "
        "defaults; with a key 'extends' from those of a TOML file.",
        examples=[{}, "settings.toml", {"detector": "scrfd", "min_segment_s": 3.0}],
    )


class TrainTeacherRequest(Request):
    """Train a bidirectional teacher on the clips of a curated manifest."""

    manifest: RequestPath = Field(
        description="manifest.parquet that curation wrote, or the folder of an export of latents.",
        examples=["runs/curate/latest/manifest.parquet", "talks-latents"],
    )
    preset: Settings = Field(
        "nano",
        description="A shipped preset, a TOML file, or a table: whole, or what differs from the one it extends.",
        examples=["nano", "mine.toml", {"extends": "nano", "lora": {"steps": 60}}],
    )
    device: DeviceChoice = Field(
        AUTO, description=DEVICE_HELP, json_schema_extra={"enum": list(DEVICE_CHOICES)}
    )
    workers: int = Field(1, ge=1, description=WORKERS_HELP, examples=[1, 4])
    output: RequestPath = Field(
        description="Folder to write the model bundle to.", examples=["models/teacher"]
    )


class PretrainStudentRequest(Request):
    """Pre-train a causal student by Diffusion Forcing, starting from a teacher's weights."""

    manifest: RequestPath = Field(
        description="manifest.parquet that the teacher was trained on, or the folder of an export of its latents.",
        examples=["runs/curate/latest/manifest.parquet"],
    )
    teacher: RequestPath = Field(description="Bundle of the trained teacher.", examples=["models/teacher"])
    preset: Settings | None = Field(
        None,
        description="A preset that differs from the teacher's in this stage; null: that of the teacher's bundle.",
        examples=[None, "ablation.toml"],
    )
    device: DeviceChoice = Field(
        AUTO, description=DEVICE_HELP, json_schema_extra={"enum": list(DEVICE_CHOICES)}
    )
    workers: int = Field(1, ge=1, description=WORKERS_HELP, examples=[1, 4])
    output: RequestPath = Field(
        description="Folder to write the model bundle to.", examples=["models/student"]
    )


class DistillStudentRequest(PretrainStudentRequest):
    """Distil a pre-trained student by Self-Forcing rollouts, Sync-Window DMD and a SyncNet reward."""

    student: RequestPath = Field(
        description="Bundle of the pre-trained student.", examples=["models/student"]
    )
    output: RequestPath = Field(
        description="Folder to write the model bundle to.", examples=["models/distilled"]
    )


class GenerateRequest(Request):
    """Redraw the lips of one video to a speech track."""

    video: RequestPath = Field(description="The video whose lips are redrawn.", examples=["talk.mp4"])
    audio: RequestPath = Field(
        description="The speech that drives them (any audio or video file).", examples=["speech.wav"]
    )
    output: RequestPath = Field(description="The .mp4 to write.", examples=["synced.mp4"])
    model: str | None = Field(
        None,
        description="A model bundle, or a released student such as lipforcing-14b; null: the student of the last demo.",
        examples=["models/distilled", "lipforcing-14b"],
    )
    device: DeviceWish = Field(
        "auto", description="auto: the GPU, if there is one, for all but the embedded models."
    )
    detector: Annotated[str, DETECTORS.choice] = Field(
        DETECTORS.default, description=DETECTORS.help, examples=list(DETECTORS.names)
    )
    detector_model: RequestPath | None = Field(
        None, description=f"{file_help(DETECTORS)} null: that of the weights folder."
    )
    face: str | None = Field(
        None, description=f"{FACE_HELP} null: the largest.", examples=[None, "2", "640,210"]
    )
    seed: int = Field(42, description="Seed of the noise.")

    @field_validator("face", mode="before")
    @classmethod
    def _names_a_face(cls, value: Any) -> Any:
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        return str(FaceChoice.parse(value)) if isinstance(value, str) else value


class ScoringRequest(Request):
    """Choose what scores: a set of networks, a sync expert and a face detector."""

    detector: Annotated[str, DETECTORS.choice] = Field(
        DETECTORS.default,
        description=f"{DETECTORS.help} It places the mouth and face crops.",
        examples=list(DETECTORS.names),
    )
    detector_model: RequestPath | None = Field(
        None, description=f"{file_help(DETECTORS)} null: that of the weights folder."
    )
    networks: Annotated[str, NETWORK_SETS.choice] = Field(
        NETWORK_SETS.default, description=f"{NETWORK_SETS.help} The first needs no files."
    )
    sync_expert: Annotated[str, SYNC_EXPERTS.choice] | None = Field(
        None,
        description=f"{SYNC_EXPERTS.help} null: the one of the networks.",
        examples=list(SYNC_EXPERTS.names),
    )


class EvaluateRequest(ScoringRequest):
    """Score the predictions of any lip-sync systems with one protocol."""

    predictions: RequestPath = Field(
        description="CSV: clip_id, system, path, sha256[, driven_by].", examples=["predictions.csv"]
    )
    items: RequestPath = Field(
        description="CSV: clip_id, identity, truth_video, driving_audio[, source_video, unrelated_audio].",
        examples=["items.csv"],
    )
    name: str = Field("evaluation", description="Name of the run in the warehouse.")
    num_frames: int | None = Field(
        None,
        ge=smallest_window(),
        description="Score the first frames of each clip; null: the whole truth.",
    )


class ExperimentRequest(ScoringRequest):
    """Choose what is trained and evaluated, and where."""

    corpus: Corpus = Field(PuppetCorpus(), description="What to train and evaluate on.")
    curation: Settings = Field(
        {}, description="Curation settings, as of the flow curate; not used with a manifest."
    )
    preset: Settings = Field(
        "nano",
        description="A shipped preset, a TOML file, or a table: whole, or what differs from the one it extends.",
        examples=["nano", "mine.toml", {"extends": "nano", "lora": {"steps": 60}}],
    )
    seed: int = Field(
        0, description="Seed of the puppets and the bootstrap; that of training is in the preset."
    )
    device: DeviceChoice = Field(
        AUTO, description=DEVICE_HELP, json_schema_extra={"enum": list(DEVICE_CHOICES)}
    )


class TrainEvalRequest(ExperimentRequest):
    """Run a whole experiment: train teacher, student and distilled student on a corpus, then score and report them."""

    name: str = Field(
        "train_eval", description="Name of the experiment: the folder below runs/ and the head of the run id."
    )
    videos: RequestPath | None = Field(
        None, description="A folder of your own videos, curated and re-synced as well; only with puppets."
    )


class AblateRequest(ExperimentRequest):
    """Train and score the variants of the paper's ablation tables, several times each, beside the printed numbers."""

    name: str = Field(
        "ablate", description="Name of the grid: the folder below runs/ and the head of the run ids."
    )
    tables: tuple[str, ...] = Field(
        tuple(ABLATIONS),
        description=f"Which ablations to run: {either(tuple(ABLATIONS))}.",
        examples=[["cfg_schedule", "reward"]],
    )
    seeds: int = Field(
        3,
        ge=1,
        le=100,
        description="How often every variant is trained, each time with seeds of its own; intervals need 3. A larger "
        "number adds to what is finished.",
    )

    @field_validator("tables")
    @classmethod
    def _names_ablations(cls, tables: tuple[str, ...]) -> tuple[str, ...]:
        if not tables:
            raise ValueError(f"name at least one of {either(tuple(ABLATIONS))}")
        if strange := [name for name in tables if name not in ABLATIONS]:
            raise ValueError(unknown("ablation", strange[0], ABLATIONS))
        return tuple(dict.fromkeys(tables))


class BenchmarkRequest(Request):
    """Measure the seconds of a student's chunk and of a teacher's clip, with random weights."""

    preset: Settings = Field("nano", description="A shipped preset, a TOML file, or a table.")
    device: TorchDevice = Field("cpu", description="Where the model runs.")
    repeats: int = Field(20, ge=1, description="Samples of each time.")


DEMO_CURATION: dict[str, Any] = {"max_abs_offset_frames": 6}


def demo_request(
    workspace: Path, *, seed: int = 0, videos: Path | None = None, **other: Any
) -> TrainEvalRequest:
    """The request of ``lipforcing demo``: the experiment on puppets, with the nano preset, on the CPU, whose bits are
    the same everywhere."""
    values = {"name": "demo", "curation": DEMO_CURATION, "seed": seed, "videos": videos, "device": CPU}
    return TrainEvalRequest.model_validate({"workspace": workspace} | values | other)
