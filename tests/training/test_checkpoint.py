"""States on disk: atomic, the last two kept, refused when they belong to something else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from lipforcing_core.base.errors import IncompatibleCheckpointError, LipForcingError
from lipforcing_core.training import state_files
from lipforcing_core.training.checkpoint import TrainState
from lipforcing_core.training.state_files import saved_states
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


def _save(state: TrainState, folder: Path) -> None:
    state.save(folder)
    state.wait()


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
    _train(undisturbed, 4)  # while it is being written
    undisturbed.wait()
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
    state.wait()
    assert [path.name for path in saved_states(tmp_path)] == ["step-00000003", "step-00000004"]
    assert len(list(tmp_path.iterdir())) == 2


def test_a_state_that_was_not_finished_is_none(tmp_path: Path) -> None:
    """A killed run leaves a folder with another name, which the next state removes."""
    state = _state()
    _train(state, 1)
    state.save(tmp_path)
    state.wait()
    (tmp_path / "step-00000001").rename(tmp_path / "step-00000001.partial")
    assert saved_states(tmp_path) == []
    assert not _state().restore(tmp_path)
    state.save(tmp_path)
    state.wait()
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]


def test_what_goes_wrong_while_writing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError("no space left")

    state = _state()
    monkeypatch.setattr(state_files.HuggingFaceStorageWriter, "write_data", full)
    state.save(tmp_path)
    with pytest.raises(
        LipForcingError, match=r"step-00000000: the state cannot be written \(no space left\)"
    ):
        state.wait()
    assert saved_states(tmp_path) == []


def test_only_what_the_disk_says_is_told_as_its_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And whoever waits is told of everything, also of what is no ``Exception``."""
    for error, advice in ((OSError("no space left"), True), (KeyboardInterrupt("stop"), False)):

        def fails(*_: Any, error: BaseException = error) -> None:
            raise error

        monkeypatch.setattr(state_files, "saved_states", fails)
        state = _state()
        state.save(tmp_path)
        with pytest.raises(LipForcingError, match="cannot be written") as told:
            state.wait()
        assert told.value.__cause__ is error
        assert ("make room" in str(told.value)) is advice


@pytest.mark.parametrize("file", ["state.json", "*.safetensors"])
def test_a_damaged_state_is_told_with_what_to_do(tmp_path: Path, file: str) -> None:
    _save(_state(), tmp_path)
    (path,) = (tmp_path / "step-00000000").glob(file)
    path.write_bytes(path.read_bytes()[:-9] if file == "state.json" else b"no")
    with pytest.raises(IncompatibleCheckpointError, match=r"step-00000000: is damaged .*remove this folder"):
        _state().restore(tmp_path)


def test_states_of_an_earlier_version_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "step-00000004.pt").touch()
    assert not _state().restore(tmp_path)
    assert "step-00000004.pt: an earlier version wrote it" in caplog.text


def test_nothing_to_restore(tmp_path: Path) -> None:
    assert not _state().restore(tmp_path)


def test_refuses_another_run(tmp_path: Path) -> None:
    _save(_state("one"), tmp_path)
    with pytest.raises(IncompatibleCheckpointError, match="other settings or data"):
        _state("two").restore(tmp_path)


def test_refuses_another_model(tmp_path: Path) -> None:
    _save(_state(width=3), tmp_path)
    with pytest.raises(IncompatibleCheckpointError, match=r"weight has shape \(2, 3\)"):
        _state(width=4).restore(tmp_path)


def test_states_are_in_the_order_of_their_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever order a file system lists them in."""
    for step in (9, 10, 2):
        (tmp_path / f"step-{step:08d}").mkdir()
        (tmp_path / f"step-{step:08d}" / "state.json").touch()
    listed = Path.glob
    monkeypatch.setattr(Path, "glob", lambda self, pattern: sorted(listed(self, pattern), reverse=True))
    assert [path.name for path in saved_states(tmp_path)] == [f"step-{n:08d}" for n in (2, 9, 10)]


def test_the_newest_state_is_continued(tmp_path: Path) -> None:
    state = _state()
    for _ in range(3):
        _train(state, 1)
        _save(state, tmp_path)
    again = _state()
    assert again.restore(tmp_path)
    assert again.step == 3
    assert torch.equal(again.modules["m"].weight, state.modules["m"].weight)


def test_a_state_holds_data_only(tmp_path: Path) -> None:
    """A state from elsewhere cannot run code: there is JSON and safetensors in it, and nothing pickled."""
    state = _state()
    _train(state, 1)
    _save(state, tmp_path)
    (folder,) = tmp_path.iterdir()
    assert sorted(path.suffix for path in folder.iterdir()) == [".json", ".safetensors"]
