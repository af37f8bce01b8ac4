"""Training without Ray: processes that find each other by the variables that torchrun sets, and one alone."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from apps.torchrun import app
from lipforcing_core.base.errors import BadInputError
from lipforcing_core.runtime.bundle import BundleKind, describe_bundle, save_bundle
from lipforcing_core.training import inputs
from tests.training.conftest import base_path, clip_files, codec, preset, tiny_preset
from tests.training.fakes import FakeReward
from tests.training.test_stages import _as_toml

__all__ = ["base_path", "clip_files", "codec", "preset"]  # fixtures

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def data(tmp_path: Path, clip_files: list[Path], codec: object) -> Path:
    """What an export of latents holds."""
    folder = tmp_path / "latents"
    (folder / "windows").mkdir(parents=True)
    for path in clip_files:
        (folder / "windows" / path.name).write_bytes(path.read_bytes())
    codec.save(folder / "codec.safetensors")  # type: ignore[attr-defined]
    return folder


@pytest.fixture
def preset_file(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(_as_toml(tiny_preset()), encoding="utf-8")
    return path


def invoke(*arguments: object) -> str:
    done = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_two_processes_train_what_one_trains(
    data: Path, preset_file: Path, base_path: Path, tmp_path: Path
) -> None:
    arguments = ["teacher", data, "--preset", preset_file, "--base", base_path]
    alone = invoke(*arguments, "-o", tmp_path / "one", "--device", "cpu")
    assert alone.strip().endswith("4 steps on 1 workers")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    launched = [
        subprocess.Popen(
            [
                sys.executable, "-m", "apps.torchrun", *map(str, arguments), "-o", str(tmp_path / "two"), "--device",
                "sharded-cpu",
            ],
            env=os.environ | {
                "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port), "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1",
            },
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=Path(__file__).parents[2],
        )
        for rank in (0, 1)
    ]  # fmt: skip
    outputs = [process.communicate()[0] for process in launched]
    assert [process.returncode for process in launched] == [0, 0], outputs
    assert outputs[0].strip().endswith("4 steps on 2 workers")
    assert outputs[1] == "", "one of them speaks"
    one, two = (load_file(tmp_path / name / "bundle" / "model.safetensors") for name in ("one", "two"))
    assert all(torch.allclose(value, two[name], rtol=0, atol=1e-6) for name, value in one.items())
    about = describe_bundle(tmp_path / "two" / "bundle")
    assert (about.kind.value, about.stage, about.preset) == ("teacher", "teacher", tiny_preset())


def test_every_stage_makes_a_bundle(
    data: Path, base_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A spread network of one process, which no launcher started."""
    monkeypatch.setattr(inputs, "load_reward", lambda *_: FakeReward())
    teacher = tmp_path / "teacher"
    save_bundle(
        teacher, kind=BundleKind.TEACHER, stage="teacher", preset=tiny_preset(), model_file=base_path,
        codec_file=data / "codec.safetensors",
    )  # fmt: skip
    invoke("student", data, "--teacher", teacher, "-o", tmp_path / "student", "--device", "sharded-cpu")
    student = tmp_path / "student" / "bundle"
    assert describe_bundle(student).stage == "pretrained"
    parents = ["--teacher", teacher, "--student", student]
    invoke("distill", data, *parents, "-o", tmp_path / "distilled", "--device", "sharded-cpu")
    about = describe_bundle(tmp_path / "distilled" / "bundle")
    assert (about.kind.value, about.stage) == ("student", "distilled")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_mistakes_are_said(data: Path, preset_file: Path, base_path: Path, tmp_path: Path) -> None:
    start = ["teacher", data, "--preset", preset_file, "-o", tmp_path / "out"]
    with pytest.raises(BadInputError, match="device sharded needs a CUDA device"):
        invoke(*start, "--base", base_path)
    with pytest.raises(BadInputError, match="no base ships for preset nano"):
        invoke(*start)
    (data / "codec.safetensors").unlink()
    with pytest.raises(BadInputError, match=r"holds no codec\.safetensors and windows/"):
        invoke(*start, "--base", base_path, "--device", "cpu")
