"""States on disk: atomic, the last two kept, refused when they belong to something else."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from torch import nn

from lipforcing_core.base.errors import IncompatibleCheckpointError
from lipforcing_core.training.checkpoint import TrainState, saved_states
from lipforcing_core.training.strategies.one_device import OneDevice


def _state(key: str = "k", width: int = 3) -> TrainState:
    model = nn.Linear(width, 2)
    model.bias.requires_grad_(False)
    return TrainState(
        key=key,
        strategy=OneDevice(),
        modules={"m": model},
        optimisers={"m": torch.optim.AdamW([model.weight])},
    )


def _train(state: TrainState, steps: int) -> None:
    for _ in range(steps):
        loss = state.modules["m"](torch.ones(1, 3)).square().sum()
        loss.backward()
        state.optimisers["m"].step()
        state.optimisers["m"].zero_grad()
        state.step += 1


def test_continues_to_the_same_weights(tmp_path: Path) -> None:
    torch.manual_seed(0)
    undisturbed = _state()
    _train(undisturbed, 3)
    undisturbed.save(tmp_path)
    _train(undisturbed, 4)
    resumed = _state()
    resumed.modules["m"].bias.data.copy_(undisturbed.modules["m"].bias)  # frozen: not part of the state
    assert resumed.restore(tmp_path)
    assert resumed.step == 3
    _train(resumed, 4)
    assert torch.equal(resumed.modules["m"].weight, undisturbed.modules["m"].weight)


def test_keeps_the_last_two(tmp_path: Path) -> None:
    state = _state()
    for _ in range(4):
        _train(state, 1)
        state.save(tmp_path)
    assert [path.name for path in saved_states(tmp_path)] == ["step-00000003.pt", "step-00000004.pt"]
    assert len(list(tmp_path.iterdir())) == 2


def test_nothing_to_restore(tmp_path: Path) -> None:
    assert not _state().restore(tmp_path)


def test_refuses_another_run(tmp_path: Path) -> None:
    _state("one").save(tmp_path)
    with pytest.raises(IncompatibleCheckpointError, match="other settings or data"):
        _state("two").restore(tmp_path)


def test_refuses_another_model(tmp_path: Path) -> None:
    _state(width=3).save(tmp_path)
    with pytest.raises(IncompatibleCheckpointError, match=r"weight has shape \(2, 3\)"):
        _state(width=4).restore(tmp_path)


def test_states_are_in_the_order_of_their_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever order a file system lists them in."""
    for step in (9, 10, 2):
        (tmp_path / f"step-{step:08d}.pt").touch()
    listed = Path.glob
    monkeypatch.setattr(Path, "glob", lambda self, pattern: sorted(listed(self, pattern), reverse=True))
    assert [path.stem for path in saved_states(tmp_path)] == [f"step-{n:08d}" for n in (2, 9, 10)]


def test_the_newest_state_is_continued(tmp_path: Path) -> None:
    state = _state()
    for _ in range(3):
        _train(state, 1)
        state.save(tmp_path)
    again = _state()
    assert again.restore(tmp_path)
    assert again.step == 3
    assert torch.equal(again.modules["m"].weight, state.modules["m"].weight)


def test_a_state_of_a_gpu_is_continued_on_the_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = _state()
    with monkeypatch.context() as patch:
        patch.setattr(torch.serialization, "location_tag", lambda storage: "cuda:0")
        state.save(tmp_path)
    again = _state()
    assert again.restore(tmp_path)
    assert torch.equal(again.modules["m"].weight, state.modules["m"].weight)


class Anything:
    """No tensor and no plain value."""


def test_a_state_holds_data_only(tmp_path: Path) -> None:
    """A state file from elsewhere cannot run code."""
    torch.save({"key": "k", "step": 0, "modules": Anything()}, tmp_path / "step-00000001.pt")
    with pytest.raises(pickle.UnpicklingError):
        _state().restore(tmp_path)
