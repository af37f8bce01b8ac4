"""The loop: what is logged, when states are kept, and what of a killed run's log survives."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from lipforcing_core.base.errors import IncompatibleCheckpointError
from lipforcing_core.training.checkpoint import TrainState
from lipforcing_core.training.loop import StepMetrics, read_metrics, run_steps, steps_done
from lipforcing_core.training.model_file import load_model, save_model
from lipforcing_core.training.reward_weights import RewardScale
from lipforcing_core.training.state_files import saved_states
from lipforcing_core.training.strategies.one_device import OneDevice


def make_state(key: str = "k", *, mean: float | None = None) -> TrainState:
    module = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        module.weight.fill_(0.0)
    scale = RewardScale(centre_momentum=0.5, clamp=None)
    scale.load_state_dict({"mean": mean})
    return TrainState(
        key=key,
        strategy=OneDevice(),
        modules={"m": module},
        optimisers={"m": torch.optim.SGD(module.parameters(), lr=1.0, momentum=0.5)},
        others={"scale": scale},
    )


def run(
    folder: Path, state: TrainState, num_steps: int, *, every: int = 2, stop: int | None = None
) -> list[StepMetrics]:
    seen: list[StepMetrics] = []

    def step(index: int) -> dict[str, float]:
        with torch.no_grad():
            state.modules["m"].get_parameter("weight").add_(index + 1)
        return {"loss": float(index), "rate": 0.5}

    def watch(metrics: StepMetrics) -> None:
        seen.append(metrics)
        if metrics.step == stop:
            raise KeyboardInterrupt

    run_steps("s", num_steps, state, step, folder, checkpoint_every=every, on_step=watch)
    return seen


def test_every_value_is_a_row(tmp_path: Path) -> None:
    seen = run(tmp_path, make_state(), 3)
    assert [(m.stage, m.step, m.num_steps, dict(m.values)) for m in seen] == [
        ("s", n + 1, 3, {"loss": float(n), "rate": 0.5}) for n in range(3)
    ]
    assert read_metrics(tmp_path / "metrics.jsonl") == [
        {"step": n + 1, "stage": "s", "name": name, "value": value}
        for n in range(3)
        for name, value in (("loss", float(n)), ("rate", 0.5))
    ]


def test_the_log_can_be_read_while_it_is_written(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"

    def watch(metrics: StepMetrics) -> None:
        assert steps_done(folder / "metrics.jsonl") == metrics.step
        assert len(read_metrics(folder / "metrics.jsonl")) == metrics.step

    state = make_state()
    path = run_steps("s", 3, state, lambda step: {"loss": 0.5}, folder, checkpoint_every=9, on_step=watch)
    assert path == folder / "metrics.jsonl"
    assert run_steps("s", 3, make_state(), lambda step: {}, folder, checkpoint_every=9) == path


def test_states_are_kept_every_so_often_and_at_the_end(tmp_path: Path) -> None:
    run(tmp_path, make_state(), 5, every=2)
    assert [path.name for path in saved_states(tmp_path / "states")] == [
        "step-00000004",
        "step-00000005",
    ]
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "killed", make_state(), 9, every=3, stop=4)
    assert [path.name for path in saved_states(tmp_path / "killed" / "states")] == ["step-00000003"]


def test_a_killed_run_continues_and_its_log_has_no_row_twice(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, make_state(mean=4.0), 6, every=2, stop=3)
    metrics = tmp_path / "metrics.jsonl"
    with open(metrics, "a") as stream:
        stream.write('{"step": 4, "sta')  # cut off by the kill
    state = make_state()
    seen = run(tmp_path, state, 6, every=2)
    assert [m.step for m in seen] == [3, 4, 5, 6]
    assert state.modules["m"].get_parameter("weight").item() == 1 + 2 + 3 + 4 + 5 + 6
    assert state.others["scale"].state_dict() == {"mean": 4.0}
    assert [row["step"] for row in read_metrics(metrics)] == [n for n in range(1, 7) for _ in range(2)]
    assert not run(tmp_path, make_state(), 6)


def test_the_state_of_another_run_is_refused(tmp_path: Path) -> None:
    run(tmp_path, make_state("one"), 2)
    with pytest.raises(IncompatibleCheckpointError, match=r"\(one, now two\)"):
        run(tmp_path, make_state("two"), 2)


def test_the_optimiser_continues_too(tmp_path: Path) -> None:
    """With momentum the second step is longer than the first."""
    state = make_state()
    weight = state.modules["m"].get_parameter("weight")

    def step(state: TrainState) -> None:
        state.modules["m"](torch.ones(1, 1)).sum().backward()
        state.optimisers["m"].step()
        state.optimisers["m"].zero_grad()

    step(state)
    state.save(tmp_path)
    state.wait()
    again = make_state()
    assert again.restore(tmp_path)
    step(again)
    assert weight.item() == -1.0
    assert again.modules["m"].get_parameter("weight").item() == -2.5


def test_steps_done_reads_the_last_whole_line(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    assert steps_done(path) == 0
    path.write_text("")
    assert steps_done(path) == 0
    path.write_text(json.dumps({"step": 1}) + "\n")
    assert steps_done(path) == 1
    path.write_text(
        "".join(json.dumps({"step": n, "value": 0.1}) + "\n" for n in range(1, 501)) + '{"step": 501'
    )
    assert steps_done(path) == 500
    path.write_text('{"step": 3')
    assert steps_done(path) == 0


@pytest.mark.parametrize("dtypes", [(torch.float32,), (torch.bfloat16, torch.float64, torch.float32)])
def test_a_model_file_has_the_bytes_of_the_library(dtypes: tuple[torch.dtype, ...], tmp_path: Path) -> None:
    """The keys of what is trained from a model are made of them."""
    module, generator = nn.Module(), torch.Generator().manual_seed(0)
    for number, shape in enumerate([(2, 3), (), (0, 4), (5,), (3, 1, 2)]):
        dtype = dtypes[number % len(dtypes)]
        value = torch.randn(shape, generator=generator).to(dtype)
        module.register_parameter(f"p{9 - number}", nn.Parameter(value))
    save_model(OneDevice(), module, tmp_path / "ours")
    save_file(module.state_dict(), tmp_path / "theirs")
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()


def test_model_files(tmp_path: Path) -> None:
    path, module = tmp_path / "model.safetensors", nn.Linear(2, 3)
    module.weight = nn.Parameter(torch.arange(6.0).view(2, 3).T, requires_grad=False)
    module.register_buffer("table", torch.ones(1))
    save_model(OneDevice(), module, path)
    other = nn.Linear(2, 3)
    other.register_buffer("table", torch.zeros(1))
    load_model(other, path)
    assert other.weight.tolist() == [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]]
    assert torch.equal(other.bias, module.bias)
    assert other.table.item() == 1.0
    with pytest.raises(IncompatibleCheckpointError, match=r"model\.safetensors: bias has shape"):
        save_model(OneDevice(), nn.Linear(2, 3), path)
        load_model(nn.Linear(2, 4), path)
    path.write_bytes(b"nonsense")
    with pytest.raises(IncompatibleCheckpointError, match="cannot be read as safetensors"):
        load_model(other, path)
    with pytest.raises(IncompatibleCheckpointError, match="cannot be read"):
        load_model(other, tmp_path / "absent.safetensors")
