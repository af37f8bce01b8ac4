"""Workers of Ray Train: they train together, and start again from their last state when one of them dies."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch.distributed as dist

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.training.loop import read_metrics
from tasks.cluster import disconnect
from tasks.training_workers import run_workers
from tests.training.conftest import base_path, clip_files, codec, preset
from tests.training.worker_jobs import Run, run

__all__ = ["base_path", "clip_files", "codec", "preset"]  # fixtures

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]


@pytest.fixture(scope="module", autouse=True)
def ray() -> Iterator[None]:
    yield
    disconnect()


def train(job: Run, clip_files: list[Path], base: Path) -> None:
    """What a worker does: the second one dies after step 3, the first time."""
    started = job.out_dir.with_name(f"started-{dist.get_rank()}")
    first = not started.exists()
    started.touch()
    run(job if first else Run(stage=job.stage, out_dir=job.out_dir), clip_files, base)


def test_a_worker_that_dies_does_not_change_the_curve(
    tmp_path: Path, clip_files: list[Path], base_path: Path
) -> None:
    run(Run(stage="lora", out_dir=tmp_path / "alone"), clip_files, base_path)
    job = Run(stage="lora", out_dir=tmp_path / "together", stop={1: "kill"})
    watched: list[int] = []
    run_workers(
        train,
        job,
        clip_files,
        base_path,
        name="lora",
        workers=2,
        scratch=tmp_path,
        watch=lambda: watched.append(1),
    )
    assert watched
    steps = [path.name for path in (tmp_path / "together" / "states").iterdir()]
    assert sorted(steps) == ["step-00000002", "step-00000004"], "it went on from the state of step 2"
    assert not (tmp_path / "ray-train").exists(), "what Ray wrote is gone"
    ours, alone = (read_metrics(tmp_path / name / "metrics.jsonl") for name in ("together", "alone"))
    assert [(row["step"], row["name"]) for row in ours] == [(row["step"], row["name"]) for row in alone]
    for row, other in zip(ours, alone, strict=True):
        assert row["value"] == pytest.approx(other["value"], rel=1e-5, abs=1e-7), row
    assert (tmp_path / "together" / "model.safetensors").is_file()


def test_more_workers_than_this_machine_has_room_for(tmp_path: Path) -> None:
    with pytest.raises(
        BadInputError, match=r"asks for 1 CPUs and 0 GPUs for each of 4096 workers; machines here"
    ):
        run_workers(train, name="many", workers=4096, scratch=tmp_path)
