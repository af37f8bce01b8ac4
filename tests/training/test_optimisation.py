"""Learning rate, accumulation, clipping, one update, the exponential average, and the strategy that does them."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.models.wan import WanTransformer
from lipforcing_core.presets import Preset
from lipforcing_core.training.ema import ExponentialAverage
from lipforcing_core.training.optimisation import accumulate, learning_rate_factor, make_optimiser, update
from lipforcing_core.training.precision import compute_precision
from lipforcing_core.training.strategies.catalogue import STRATEGIES, load_strategy
from lipforcing_core.training.strategies.one_device import OneDevice
from tests.training.fakes import stage_settings


class Weights(nn.Module):
    """Two weights that are trained and one that is not."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.tensor([3.0]))
        self.b = nn.Parameter(torch.tensor([-2.0]))
        self.frozen = nn.Parameter(torch.tensor([5.0]), requires_grad=False)
        self.register_buffer("table", torch.tensor([7.0]))


def test_warm_up_starts_from_almost_nothing() -> None:
    settings = stage_settings(steps=100, warmup_steps=4)
    factors = [learning_rate_factor(settings, step) for step in range(6)]
    assert factors == pytest.approx([1e-6, 0.25, 0.5, 0.75, 1.0, 1.0], abs=1.1e-6)
    assert factors[0] == 1e-6
    assert factors[4] == factors[5] == 1.0
    assert [learning_rate_factor(stage_settings(), step) for step in (0, 99)] == [1.0, 1.0]


def test_cosine_falls_from_the_end_of_the_warm_up_to_a_tenth() -> None:
    settings = stage_settings(steps=110, warmup_steps=10, lr_schedule="cosine")
    assert learning_rate_factor(settings, 9) == pytest.approx(0.9, abs=1e-6)
    assert learning_rate_factor(settings, 10) == pytest.approx(1.0)
    assert learning_rate_factor(settings, 60) == pytest.approx(0.55)
    assert learning_rate_factor(settings, 35) == pytest.approx(0.1 + 0.45 * (1 + math.sqrt(0.5)))
    assert learning_rate_factor(settings, 110) == pytest.approx(0.1)
    assert learning_rate_factor(settings, 500) == pytest.approx(0.1), "it does not rise again"
    only_warm_up = stage_settings(steps=2, warmup_steps=2, lr_schedule="cosine")
    assert learning_rate_factor(only_warm_up, 2) == pytest.approx(1.0)
    assert learning_rate_factor(only_warm_up, 3) == pytest.approx(0.1)


def test_optimiser_has_the_settings_and_the_trained_weights() -> None:
    module = Weights()
    settings = stage_settings(learning_rate=0.3, betas=(0.5, 0.6), weight_decay=0.07)
    (group,) = make_optimiser(module, settings).param_groups
    assert [id(p) for p in group["params"]] == [id(module.a), id(module.b)]
    assert (group["lr"], group["betas"], group["eps"], group["weight_decay"]) == (0.3, (0.5, 0.6), 1e-8, 0.07)
    (group,) = make_optimiser(module, settings, 0.9).param_groups
    assert group["lr"] == 0.9
    (group,) = make_optimiser(module, settings, 0.0).param_groups
    assert group["lr"] == 0.0
    assert isinstance(make_optimiser(module, settings), torch.optim.AdamW)


def test_accumulation_is_the_mean_over_different_micro_batches() -> None:
    module, strategy, asked = Weights(), OneDevice(), []

    def loss_of(micro: int) -> Tensor:
        asked.append(micro)
        return (micro + 1) * module.a.sum()

    loss = accumulate(strategy, stage_settings(accumulation=3), 2, loss_of)
    assert asked == [6, 7, 8]
    assert module.a.grad is not None
    assert module.a.grad.item() == pytest.approx(8.0)
    assert loss == pytest.approx(8.0 * 3.0)


def test_update_clips_steps_and_clears() -> None:
    """A first Adam step moves a weight by its rate, whatever the gradient; weight decay shrinks it before."""
    module, strategy = Weights(), OneDevice()
    optimiser = make_optimiser(module, stage_settings(learning_rate=9.0, weight_decay=0.1))
    (30 * module.a + 40 * module.b).sum().backward()
    norm = update(strategy, optimiser, module, learning_rate=0.5, clip_norm=5.0)
    assert norm == pytest.approx(50.0)
    assert module.a.item() == pytest.approx(3.0 * (1 - 0.5 * 0.1) - 0.5, abs=1e-5)
    assert module.b.item() == pytest.approx(-2.0 * (1 - 0.5 * 0.1) - 0.5, abs=1e-5)
    assert module.frozen.item() == 5.0
    assert module.a.grad is None
    assert module.b.grad is None
    moments = [state["exp_avg"].item() for state in optimiser.state.values()]
    assert moments == pytest.approx([0.1 * 3.0, 0.1 * 4.0], rel=1e-4), "the gradient was scaled from 50 to 5"


def test_weights_without_a_gradient_are_left_alone() -> None:
    module = Weights()
    optimiser = make_optimiser(module, stage_settings(weight_decay=0.5))
    module.a.sum().backward()
    assert update(OneDevice(), optimiser, module, learning_rate=0.1, clip_norm=math.inf) == pytest.approx(1.0)
    assert module.b.item() == -2.0, "no weight decay either"


def test_a_gradient_that_is_not_finite_is_an_error() -> None:
    module = Weights()
    optimiser = make_optimiser(module, stage_settings())
    (module.a * math.nan).sum().backward()
    with pytest.raises(RuntimeError, match="non-finite"):
        update(OneDevice(), optimiser, module, learning_rate=0.1, clip_norm=1.0)
    assert module.a.item() == 3.0


def test_the_average_starts_and_follows() -> None:
    module = Weights()
    average = ExponentialAverage(module, decay=0.75, start=2)
    seen = []
    for update_number, value in enumerate((10.0, 20.0, 40.0, 0.0), start=1):
        with torch.no_grad():
            module.a.fill_(value)
        average.follow(module, update_number)
        seen.append(average.tensors["a"].item())
    assert seen == [3.0, 20.0, 25.0, 18.75]
    assert set(average.tensors) == {"a", "b"}, "what is not trained stays as it is"
    assert not any(value.requires_grad for value in average.tensors.values())
    again = ExponentialAverage(Weights(), decay=0.75, start=2)
    again.load_state_dict(average.state_dict())
    assert again.tensors["a"].item() == 18.75
    with pytest.raises(ValueError, match="shorter"):
        average.follow(nn.ParameterList([module.a]), 9)
    again.put_into(module)
    assert (module.a.item(), module.b.item(), module.frozen.item()) == (18.75, -2.0, 5.0)
    module.a.sum().backward()
    assert module.a.grad is not None, "it is still a parameter that is trained"


def test_one_device_builds_from_meta_and_fills() -> None:
    made: list[str] = []

    def make() -> nn.Linear:
        layer = nn.Linear(2, 2)
        made.append(layer.weight.device.type)
        layer.bias.requires_grad_(False)
        return layer

    def fill(layer: nn.Linear) -> None:
        assert layer.weight.device.type == "cpu"
        with torch.no_grad():
            layer.weight.fill_(2.0)
            layer.bias.fill_(3.0)

    built = OneDevice().build(make, fill, trained=True, precision="fp32")
    assert made == ["meta"]
    assert built(torch.ones(1, 2)).tolist() == [[7.0, 7.0]]
    assert built.training
    assert (built.weight.requires_grad, built.bias.requires_grad) == (True, False)
    frozen = OneDevice().build(make, fill, trained=False, precision="bf16")
    assert not frozen.training
    assert not frozen.weight.requires_grad
    assert frozen.weight.dtype == torch.float32
    assert OneDevice("meta").device == torch.device("meta")
    assert (OneDevice().workers.rank, OneDevice().workers.count) == (0, 1)


@pytest.mark.parametrize("recompute", [False, True])
def test_one_device_recomputes_blocks_if_asked_to(recompute: bool, preset: Preset) -> None:
    network = OneDevice().build(
        lambda: WanTransformer(preset.model.config()), lambda network: network.init_weights(0), trained=True,
        precision="fp32", recompute=recompute,
    )  # fmt: skip
    assert [block.recompute for block in network.blocks] == [recompute] * 4


def test_strategies_are_chosen_by_name() -> None:
    assert load_strategy().device == torch.device("cpu")
    assert load_strategy("cuda").device == torch.device("cuda")
    assert STRATEGIES.default == "cpu"
    assert all(entry.summary and entry.is_embedded for entry in STRATEGIES)
    with pytest.raises(BadInputError, match=r"unknown training strategy 'tpu'.*; known: cpu, cuda"):
        load_strategy("tpu")


@pytest.mark.parametrize("device", ["cpu", "xpu"])
def test_mixed_precision_is_that_of_the_device(device: str) -> None:
    """(Autocast of xpu can be entered without such a device; that of cuda cannot.)"""
    with compute_precision("bf16", torch.device(device, 0)):
        assert torch.is_autocast_enabled(device)
        assert torch.get_autocast_dtype(device) == torch.bfloat16
        assert torch.is_autocast_enabled("cpu") == (device == "cpu")
    with compute_precision("fp32", torch.device(device)):
        assert not torch.is_autocast_enabled(device)


def test_mixed_precision_is_bfloat16_whatever_is_usual() -> None:
    usual = torch.get_autocast_dtype("cpu")
    torch.set_autocast_dtype("cpu", torch.float16)
    try:
        with compute_precision("bf16", torch.device("cpu")):
            assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16
    finally:
        torch.set_autocast_dtype("cpu", usual)


@pytest.mark.gpu
def test_mixed_precision_on_a_gpu_computes_in_bfloat16() -> None:
    x = torch.ones(2, 2, device="cuda")
    with compute_precision("bf16", x.device):
        assert (x @ x).dtype == torch.bfloat16
