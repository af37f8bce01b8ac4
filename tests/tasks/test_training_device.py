"""Where training runs: the choice reaches the strategy and the Ray job, and results of another device are others."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from apps.cli.main import app
from flows.catalogue import run_flow
from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.products import StepStore
from lipforcing_core.models.codecs.block import BlockCodec
from lipforcing_core.training import inputs
from lipforcing_core.training.plan import fit
from lipforcing_core.training.strategies import catalogue
from lipforcing_core.training.strategies.catalogue import STRATEGIES, StrategyEntry
from lipforcing_core.training.strategies.one_device import OneDevice
from tasks import training
from tasks.cluster import disconnect
from tasks.dispatch import run_job
from tasks.training_device import training_device
from tasks.training_keys import Recipe, pretrained_before, teacher_before
from tasks.training_sets import TrainingSet
from tests.tasks.test_training import short_preset
from tests.training.conftest import make_clip, write_clip
from tests.training.fakes import FakeReward


@pytest.fixture
def no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


def has_cuda(monkeypatch: pytest.MonkeyPatch, there: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)


@pytest.mark.usefixtures("no_cluster")
def test_auto_is_the_gpu_of_this_machine_and_cuda_needs_one(monkeypatch: pytest.MonkeyPatch) -> None:
    has_cuda(monkeypatch, True)
    assert [training_device(choice) for choice in ("auto", "cpu", "cuda")] == ["cuda", "cpu", "cuda"]
    has_cuda(monkeypatch, False)
    assert [training_device(choice) for choice in ("auto", "cpu")] == ["cpu", "cpu"]
    with pytest.raises(BadInputError, match=r"device cuda: no CUDA device here: .* --device cpu"):
        training_device("cuda")
    monkeypatch.setenv("RAY_ADDRESS", "far:6379")
    assert training_device("cuda") == "cuda", "a machine of the cluster may have one"


@pytest.fixture
def sharded(monkeypatch: pytest.MonkeyPatch) -> None:
    """One more training strategy, as its entry would make it."""
    entry = StrategyEntry(name="made-up", summary="Shards.", load=lambda: OneDevice("cpu"), needs_cuda=True)
    monkeypatch.setitem(vars(STRATEGIES), "entries", (*STRATEGIES.entries, entry))


@pytest.mark.usefixtures("no_cluster", "sharded")
def test_several_workers_take_the_strategy_that_spreads(monkeypatch: pytest.MonkeyPatch) -> None:
    has_cuda(monkeypatch, True)
    choices = ("auto", "cpu", "cuda", "sharded", "sharded-cpu")
    assert [training_device(choice, 2) for choice in choices] == [
        "sharded", "sharded-cpu", "sharded", "sharded", "sharded-cpu",
    ]  # fmt: skip
    assert [training_device(choice, 1) for choice in choices] == [
        "cuda", "cpu", "cuda", "sharded", "sharded-cpu",
    ]  # fmt: skip
    with pytest.raises(BadInputError, match="device made-up trains on one device: leave out --workers"):
        training_device("made-up", 2)
    has_cuda(monkeypatch, False)
    assert training_device("auto", 3) == "sharded-cpu"
    with pytest.raises(BadInputError, match="device sharded: no CUDA device here"):
        training_device("cuda", 2)


@pytest.mark.usefixtures("no_cluster", "sharded")
def test_a_new_strategy_can_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    has_cuda(monkeypatch, True)
    assert [training_device(choice) for choice in ("auto", "made-up")] == ["cuda", "made-up"]
    has_cuda(monkeypatch, False)
    with pytest.raises(BadInputError, match="device made-up: no CUDA device here"):
        training_device("made-up")


def test_every_strategy_is_a_choice_of_help_and_request() -> None:
    """A fresh process adds a strategy to the table before anything reads it, as an edit of the table would."""
    code = """
from lipforcing_core.training.strategies.catalogue import STRATEGIES, StrategyEntry
entry = StrategyEntry(name="made-up", summary="Shards.", load=lambda: None, needs_cuda=True)
object.__setattr__(STRATEGIES, "entries", (*STRATEGIES.entries, entry))
from typer.testing import CliRunner
from apps.cli.main import app
from flows.catalogue import FLOWS
from lipforcing_core.base.catalogue import either
choices = ["auto", *STRATEGIES.names]
assert choices[:3] == ["auto", "cpu", "cuda"] and choices[-1] == "made-up"
for stage in ("teacher", "student", "distill"):
    output = CliRunner(env={"COLUMNS": "300"}).invoke(app, ["train", stage, "--help"]).output
    assert f"Where to train: {either(choices)}." in " ".join(output.split()), output
for name, entry in FLOWS.items():
    field = entry.request.model_fields.get("device")
    if field is not None and name not in ("generate", "benchmark"):
        values = {key: "x" for key in ("manifest", "teacher", "student", "output") if key in entry.request.model_fields}
        assert entry.request.model_validate(values | {"device": "made-up"}).device == "made-up"
        form = entry.request.model_json_schema()["properties"]["device"]
        assert form["enum"] == choices, form
        assert "made-up" in form["description"]
        print(name)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [
        "train_teacher",
        "pretrain_student",
        "distill_student",
        "train_eval",
        "ablate",
    ]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TrainingSet:
    folder = tmp_path_factory.mktemp("training-set")
    (folder / "windows").mkdir()
    codec = BlockCodec.fit(make_clip(seed, 48)[0] for seed in range(2))
    codec.save(folder / "codec.safetensors")
    write_clip(folder / "windows" / "clip.safetensors", *make_clip(0, 57), codec, short_preset())
    return TrainingSet(folder=folder)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, bool, str, str]]:
    """Runs jobs in this process: the job, whether it asks for a GPU, its strategy, and where the reward is decoded.

    The CUDA device is a fake: the networks stay on the CPU.
    """
    found: list[tuple[str, bool, str, str]] = []
    reward: list[str] = []
    strategy: list[str] = []

    def job(function: Callable[..., Any], *args: Any, name: str, on_gpu: bool = False, **_: Any) -> Any:
        reward.clear()
        result = function(*args)
        found.append((name.rpartition("-")[0], on_gpu, strategy[-1], reward[0] if reward else "none"))
        return result

    def load(name: str = "cpu") -> OneDevice:
        strategy.append(name)
        return OneDevice("cpu")

    def rewards(*arguments: Any) -> FakeReward:
        reward.append(arguments[-1])
        return FakeReward()

    monkeypatch.setattr(training, "run_job", job)
    monkeypatch.setattr(training, "NUM_THREADS", 1)
    monkeypatch.setattr(inputs, "load_reward", rewards)
    monkeypatch.setattr(training, "require_device", lambda _device: None)
    monkeypatch.setattr(catalogue, "load_strategy", load)
    monkeypatch.setattr(fit, "require_fit", lambda *_, **__: None)  # the GPU is made up, and so is its memory
    return found


def test_the_device_reaches_every_strategy_and_job_and_has_results_of_its_own(
    tmp_path: Path, data: TrainingSet, seen: list[Any]
) -> None:
    store, preset = StepStore(tmp_path / "steps"), short_preset()

    def train(device: str) -> list[bool]:
        teacher = training.train_teacher.fn(store, preset, data, device=device)
        student = training.pretrain_student.fn(store, preset, data, teacher.bundle, device=device)
        distilled = training.distill_student.fn(
            store, preset, data, teacher.bundle, student.bundle, Path("weights"), device=device
        )
        return [model.reused for model in (teacher, student, distilled)]

    assert train("cpu") == [False, False, False]
    of_cpu = list(seen)
    seen.clear()
    assert train("cuda") == [False, False, False]
    stages = ["train-base", "train-lora", "train-diffusion_forcing", "train-distill"]
    assert of_cpu == [
        (stage, False, "cpu", "cpu" if stage == "train-distill" else "none") for stage in stages
    ]
    assert seen == [(stage, True, "cuda", "cuda" if stage == "train-distill" else "none") for stage in stages]
    seen.clear()
    assert train("cpu") == train("cuda") == [True, True, True]
    assert seen == []


def test_several_workers_are_started_for_every_stage(
    tmp_path: Path, data: TrainingSet, seen: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[tuple[str, int, bool, bool]] = []

    def job(
        function: Any, *args: Any, name: str, workers: int, scratch: Path, on_gpu: bool, **_: Any
    ) -> None:
        started.append((name.rpartition("-")[0], workers, on_gpu, scratch.is_dir()))
        function(*args)

    monkeypatch.setattr(training, "run_workers", job)
    store, preset = StepStore(tmp_path / "steps"), short_preset()
    how: Any = {"device": "sharded-cpu", "workers": 3}
    teacher = training.train_teacher.fn(store, preset, data, **how)
    student = training.pretrain_student.fn(store, preset, data, teacher.bundle, **how)
    bundles = (teacher.bundle, student.bundle)
    training.distill_student.fn(store, preset, data, *bundles, Path("weights"), **how)
    stages = ["train-base", "train-lora", "train-diffusion_forcing", "train-distill"]
    assert started == [(stage, 3, False, True) for stage in stages]
    assert not seen
    again = training.train_teacher.fn(store, preset, data, device="sharded-cpu", workers=5)
    assert again.reused, "how many trained it is not part of what a result is"


@pytest.mark.usefixtures("sharded")
def test_a_sharded_strategy_asks_for_a_gpu_and_its_reward_is_on_one(
    tmp_path: Path, data: TrainingSet, seen: list[Any]
) -> None:
    store, preset = StepStore(tmp_path / "steps"), short_preset()
    teacher = training.train_teacher.fn(store, preset, data, device="made-up")
    student = training.pretrain_student.fn(store, preset, data, teacher.bundle, device="made-up")
    bundles = (teacher.bundle, student.bundle)
    training.distill_student.fn(store, preset, data, *bundles, Path("weights"), device="made-up")
    assert [(on_gpu, strategy) for _, on_gpu, strategy, _ in seen] == [(True, "made-up")] * 4
    assert seen[-1][0] == "train-distill"
    assert seen[-1][3] == "cuda", "the name of a strategy is no device of torch"


def test_results_under_older_keys_are_those_of_the_cpu(data: TrainingSet) -> None:
    cpu, cuda = (
        Recipe(preset=short_preset(), windows=data.windows, num_threads=1, device=device)
        for device in ("cpu", "cuda")
    )
    assert teacher_before(cpu)
    assert pretrained_before(cpu, "teacher")
    assert teacher_before(cuda) == pretrained_before(cuda, "teacher") == []


@pytest.mark.ray
@pytest.mark.usefixtures("no_cluster")
@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_a_job_on_the_gpu_asks_ray_for_one(tmp_path: Path) -> None:
    try:
        with pytest.raises(BadInputError, match="asks for 2 CPUs and 1 GPUs for one piece of work"):
            run_job(shutil.rmtree, tmp_path, name="gpu", on_gpu=True)
    finally:
        disconnect()
    assert tmp_path.is_dir()


@pytest.mark.usefixtures("no_cluster")
@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
@pytest.mark.parametrize("stage", ["teacher", "student", "distill", "train-eval"])
def test_a_device_that_is_not_there_is_said_before_any_work(stage: str, tmp_path: Path) -> None:
    workspace = tmp_path / "ws"
    with pytest.raises(BadInputError, match="device cuda: no CUDA device here"):
        if stage == "train-eval":
            run_flow("train_eval", {"workspace": str(workspace), "device": "cuda"})
        else:
            parents = {"teacher": [], "student": ["--teacher", "t"]}.get(
                stage, ["--teacher", "t", "--student", "s"]
            )
            arguments = ["-w", str(workspace), "train", stage, "m.parquet", "-o", "out", "--device", "cuda"]
            CliRunner().invoke(app, [*arguments, *parents], catch_exceptions=False)
    assert not workspace.exists()
