"""Training one network by one loss, with a network of one weight: every number of three updates by hand."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from lipforcing_core.base.products import file_sha256
from lipforcing_core.presets.schema import StageSettings
from lipforcing_core.training.loop import StageResult, StepMetrics, read_metrics
from lipforcing_core.training.stages.alone import finish, run_key, train_alone
from lipforcing_core.training.stages.protocol import StageInputs, stage_key
from lipforcing_core.training.state_files import saved_states
from lipforcing_core.training.strategies.one_device import OneDevice
from tests.training.fakes import FakeReward, make_prompts, read_state, stage_settings


class One(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([1.0]))


@dataclass(frozen=True, kw_only=True)
class Small:
    """A stage that is only named here."""

    name: ClassVar[str] = "small"
    version: ClassVar[int] = 2
    starts_from: ClassVar[tuple[str, ...]] = ("base",)

    settings: StageSettings

    @property
    def num_steps(self) -> int:
        return self.settings.steps

    def run(self, *_: Any, **__: Any) -> StageResult:
        raise NotImplementedError


class NoData:
    key = "data"

    def batch(self, *_: Any) -> Any:
        raise NotImplementedError


class Watching(OneDevice):
    """Writes down how gradients are clipped."""

    def __init__(self) -> None:
        super().__init__()
        self.clips: list[float] = []

    def clip(self, network: nn.Module, max_norm: float) -> float:
        self.clips.append(max_norm)
        return super().clip(network, max_norm)


@pytest.fixture
def inputs(tmp_path: Path) -> StageInputs:
    base = tmp_path / "base.safetensors"
    base.write_bytes(b"weights")
    return StageInputs(data=NoData(), prompts=make_prompts(), init={"base": base})


@pytest.mark.parametrize("with_average", [False, True])
def test_three_updates(with_average: bool, inputs: StageInputs, tmp_path: Path) -> None:
    """Micro-batch n has the loss (n + 1) x weight. Without memory an Adam step is the rate, whatever the gradient."""
    average = {"ema_decay": 0.5, "ema_start": 2} if with_average else {}
    settings = stage_settings(
        steps=3, accumulation=2, learning_rate=0.1, lr_schedule="cosine", warmup_steps=1, betas=(0.0, 0.0),
        clip_norm=7.0, checkpoint_every=2, **average,
    )  # fmt: skip
    stage, strategy, network = Small(settings=settings), Watching(), One()
    seen: list[StepMetrics] = []

    def loss_of(given: One, micro: int) -> Tensor:
        assert given is network
        return (micro + 1) * given.weight.sum()

    metrics = train_alone(
        stage, network, loss_of, settings, inputs, tmp_path / "out", strategy=strategy, on_step=seen.append
    )
    assert strategy.clips == [7.0] * 3
    rates = [1e-7, 0.1, 0.055]  # warm-up, full, half of the way to a tenth
    weights = [1.0, 1.0, 0.9, 0.845]
    values = {
        "loss": [1.5 * weights[0], 3.5 * weights[1], 5.5 * weights[2]],
        "grad_norm": [1.5, 3.5, 5.5],
        "learning_rate": rates,
    }
    rows = read_metrics(metrics)
    assert len(rows) == 9
    for name, expected in values.items():
        got = [row["value"] for row in rows if row["name"] == name]
        assert got == pytest.approx(expected, rel=1e-5), name
        assert [step.values[name] for step in seen] == got
    assert [(step.stage, step.step, step.num_steps) for step in seen] == [("small", n, 3) for n in (1, 2, 3)]
    mean = 0.5 * 0.9 + 0.5 * 0.845
    assert network.weight.item() == pytest.approx(mean if with_average else 0.845, abs=1e-5)
    states = saved_states(tmp_path / "out" / "states")
    assert [path.name for path in states] == ["step-00000002", "step-00000003"]
    plain, tensors = read_state(states[-1])
    assert plain["key"] == run_key(stage, inputs)
    assert plain["optimisers"] == {"network": {"weight": {"step": 3.0}}}
    moments = {"optimisers.network.weight.exp_avg", "optimisers.network.weight.exp_avg_sq"}
    averages = {"others.average.weight"} if with_average else set()
    assert set(tensors) == {"modules.network.weight"} | moments | averages
    assert tensors["modules.network.weight"].item() == pytest.approx(0.845, abs=1e-5), "not the average"
    if with_average:
        assert tensors["others.average.weight"].item() == pytest.approx(mean, abs=1e-5)


def test_a_finished_stage_writes_its_weights(tmp_path: Path) -> None:
    stage = Small(settings=stage_settings(steps=5))
    network, metrics = One(), tmp_path / "metrics.jsonl"
    result = finish(stage, network, tmp_path, metrics, OneDevice())
    path = tmp_path / "model.safetensors"
    assert result == StageResult(stage="small", steps=5, model_path=path, metrics_path=metrics)
    assert load_file(path)["weight"].tolist() == [1.0]


def test_a_run_is_known_by_the_content_of_its_weights_and_its_reward(inputs: StageInputs) -> None:
    stage = Small(settings=stage_settings())
    base = {"base": file_sha256(inputs.init["base"])}
    assert run_key(stage, inputs) == stage_key(stage, "data", base)
    rewarded = replace(inputs, reward=FakeReward())
    assert run_key(stage, rewarded) == stage_key(stage, "data", base | {"reward": "fake-reward"})
    inputs.init["base"].write_bytes(b"other")
    assert run_key(stage, inputs) != stage_key(stage, "data", base)
