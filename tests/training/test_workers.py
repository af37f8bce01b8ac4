"""Several workers train what one trains: all stages, from each other's states, and after one of them was killed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.multiprocessing import ProcessExitedException

from lipforcing_core.training.loop import read_metrics
from lipforcing_core.training.strategies.workers import OneWorker, Part, in_order, share
from tests.training.several import on_workers
from tests.training.test_stages import STAGES
from tests.training.worker_jobs import Run, Spread, run, run_all, spread_and_run_all

pytestmark = pytest.mark.timeout(300)


class Several:
    """A worker among others whose values are given."""

    def __init__(self, rank: int, count: int, values: list[Tensor] | None = None) -> None:
        self.rank, self.count, self.values = rank, count, values

    def gather(self, values: Tensor) -> list[Tensor]:
        assert self.values is not None
        assert torch.equal(values, self.values[self.rank])
        return self.values

    def total(self, value: float) -> float:
        raise NotImplementedError

    def largest(self, value: int) -> int:
        raise NotImplementedError

    def wait(self) -> None:
        raise NotImplementedError


@pytest.mark.parametrize("num_parts", range(1, 9))
@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_every_micro_batch_counts_once_whoever_takes_it(num_parts: int, count: int) -> None:
    shares = [share(num_parts, Several(rank, count)) for rank in range(count)]
    assert len({len(parts) for parts in shares}) == 1, "all make equally many calls"
    assert sorted(part.number for parts in shares for part in parts if part.counts) == [*range(num_parts)]
    assert all(0 <= part.number < num_parts for parts in shares for part in parts)
    assert all(any(part.counts for part in parts) for parts in shares[:num_parts])
    assert [part.number for parts in zip(*shares, strict=True) for part in parts if part.counts] == [
        *range(num_parts)
    ], "in a round the workers take neighbours, so that the order of the data is that of one worker"


def test_one_worker_takes_all() -> None:
    assert share(3, OneWorker()) == [Part(number=0), Part(number=1), Part(number=2)]
    values = [torch.tensor([n, n + 0.5]) for n in range(3)]
    assert all(map(torch.equal, in_order(values, 3, OneWorker()), values))


def test_what_workers_found_is_put_in_order() -> None:
    """Micro-batches 0 2 4 and 1 3 (and a repetition of 0)."""
    values = [torch.tensor([[0.0], [2.0], [4.0]]), torch.tensor([[1.0], [3.0], [0.0]])]
    for rank in (0, 1):
        found = in_order(list(values[rank]), 5, Several(rank, 2, values))
        assert [value.tolist() for value in found] == [[0.0], [1.0], [2.0], [3.0], [4.0]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("workers")


BF16 = {"precision": "bf16", "recompute": True}
RECOMPUTED = ("diffusion_forcing", "distill")
FROM_ONE_TO_TWO = ("base", "distill")
FROM_TWO_TO_ONE = ("lora", "distill")


@pytest.fixture(scope="module")
def alone(folder: Path, clip_files: list[Path], base_path: Path) -> None:
    """All stages on one worker, and some that it leaves after step 3, with a state of step 2."""
    jobs = [Run(stage=stage, out_dir=folder / "1" / stage) for stage in STAGES]
    jobs += [
        Run(stage=stage, out_dir=folder / "1-then-2" / stage, stop={0: "interrupt"})
        for stage in FROM_ONE_TO_TWO
    ]
    jobs.append(Run(stage="diffusion_forcing", out_dir=folder / "1" / "bf16", changes=BF16))
    run_all(jobs, clip_files, base_path)


@pytest.fixture(scope="module")
def together(folder: Path, clip_files: list[Path], base_path: Path, alone: None) -> list[Spread]:
    """The same on two workers in one go, the stages that one left, and stages that they leave themselves."""
    both = {0: "interrupt", 1: "interrupt"}
    jobs = [Run(stage=stage, out_dir=folder / "2" / stage) for stage in STAGES]
    jobs += [
        Run(stage=stage, out_dir=folder / "recomputed" / stage, changes={"recompute": True})
        for stage in RECOMPUTED
    ]
    jobs.append(Run(stage="diffusion_forcing", out_dir=folder / "bf16", changes=BF16))
    jobs += [Run(stage=stage, out_dir=folder / "1-then-2" / stage) for stage in FROM_ONE_TO_TWO]
    jobs += [Run(stage=stage, out_dir=folder / "2-then-1" / stage, stop=both) for stage in FROM_TWO_TO_ONE]
    found = on_workers(2, spread_and_run_all, jobs, clip_files, base_path, folder=folder / "meeting")
    expected = [[1, 2, 3, 4]] * 7 + [[3, 4]] * 2 + [[1, 2, 3]] * 2
    assert [steps for _, steps in found] == [expected, expected]
    return [part for part, _ in found]


def agree(one: Path, other: Path) -> None:
    """Weights and curves of two runs, whose sums are made in another order.

    Adam moves a weight by its learning rate (here up to 2e-3) however small its gradient is, so the rounding of a
    gradient near 0 shows in a few weights; in most of them the difference is below 1e-7.
    """
    ours, theirs = load_file(one / "model.safetensors"), load_file(other / "model.safetensors")
    assert ours.keys() == theirs.keys()
    differences = torch.cat([(value - theirs[name]).abs().flatten() for name, value in ours.items()])
    assert differences.max() < 1e-5
    assert (differences > 1e-7).double().mean() < 1e-3
    rows, other_rows = read_metrics(one / "metrics.jsonl"), read_metrics(other / "metrics.jsonl")
    assert [(row["step"], row["name"]) for row in rows] == [(row["step"], row["name"]) for row in other_rows]
    for row, other_row in zip(rows, other_rows, strict=True):
        assert other_row["value"] == pytest.approx(row["value"], rel=1e-5, abs=1e-7), row


@pytest.mark.usefixtures("together")
@pytest.mark.parametrize("stage", STAGES)
def test_two_workers_train_what_one_trains(stage: str, folder: Path) -> None:
    agree(folder / "1" / stage, folder / "2" / stage)


@pytest.mark.usefixtures("together")
@pytest.mark.parametrize("stage", RECOMPUTED)
def test_recomputing_changes_nothing_on_two_workers(stage: str, folder: Path) -> None:
    ours, theirs = (load_file(folder / kind / stage / "model.safetensors") for kind in ("2", "recomputed"))
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())


@pytest.mark.usefixtures("together")
@pytest.mark.parametrize("stage", FROM_ONE_TO_TWO)
def test_two_workers_go_on_where_one_stopped(stage: str, folder: Path) -> None:
    agree(folder / "1" / stage, folder / "1-then-2" / stage)


@pytest.mark.usefixtures("together")
@pytest.mark.parametrize("stage", FROM_TWO_TO_ONE)
def test_one_worker_goes_on_where_two_stopped(
    stage: str, folder: Path, clip_files: list[Path], base_path: Path
) -> None:
    out_dir = folder / "2-then-1" / stage
    states = [path.name for path in (out_dir / "states" / "step-00000002").glob("*.safetensors")]
    assert len(states) == 2, "each worker wrote what it held"
    assert run(Run(stage=stage, out_dir=out_dir), clip_files, base_path) == [3, 4]
    agree(folder / "1" / stage, out_dir)


@pytest.mark.usefixtures("together")
def test_bf16_agrees_to_its_rounding(folder: Path) -> None:
    """Blocks are put together in bf16, where one device holds them in fp32 under autocast."""
    one, two = (read_metrics(path / "metrics.jsonl") for path in (folder / "1" / "bf16", folder / "bf16"))
    for row, other in zip(one, two, strict=True):
        assert other["value"] == pytest.approx(row["value"], rel=0.02), row


def test_a_worker_holds_its_part(together: list[Spread]) -> None:
    for part in together:
        assert 0.4 * part.all_held < part.held < 0.6 * part.all_held
        assert part.read == part.held, "no worker reads what another holds"
        assert part.held_after == part.held, "nothing stays whole after calls without a backward pass"
        assert part.dtypes == (torch.float32, torch.bfloat16)
    assert sum(part.held for part in together) == together[0].all_held


@pytest.mark.usefixtures("together")
def test_a_run_goes_on_after_a_worker_was_killed(
    folder: Path, clip_files: list[Path], base_path: Path
) -> None:
    """To the bits of the undisturbed one, which had as many workers."""
    out_dir, undisturbed = folder / "killed", folder / "2" / "distill"
    job = Run(stage="distill", out_dir=out_dir, stop={1: "kill"})
    with pytest.raises(ProcessExitedException, match="SIGKILL"):
        on_workers(2, run_all, [job], clip_files, base_path, folder=folder / "first")
    assert not (out_dir / "model.safetensors").exists()
    again = Run(stage="distill", out_dir=out_dir, changes={"checkpoint_every": 2})
    steps = on_workers(2, run_all, [again], clip_files, base_path, folder=folder / "second")
    assert steps in ([[[3, 4]]] * 2, [[[1, 2, 3, 4]]] * 2), "the state of step 2, unless it was not complete"
    assert read_metrics(out_dir / "metrics.jsonl") == read_metrics(undisturbed / "metrics.jsonl")
    ours, theirs = load_file(out_dir / "model.safetensors"), load_file(undisturbed / "model.safetensors")
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())
