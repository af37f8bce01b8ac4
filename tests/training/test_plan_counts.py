"""What a plan counts without memory is what real runs on a CPU use: weights, FLOP, saved tensors, peaks, optimiser."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from lipforcing_core.models.causal import CausalStudent
from lipforcing_core.models.layers import recompute_blocks
from lipforcing_core.models.lora import FULLY_TRAINED, inject_lora
from lipforcing_core.models.wan import WanTransformer
from lipforcing_core.presets import Preset, load_preset
from lipforcing_core.training.draws import ForcingDraws, MatchingDraws, RolloutDraws
from lipforcing_core.training.losses.forcing import forcing_loss
from lipforcing_core.training.losses.matching import critic_loss, critic_prediction, matching_loss
from lipforcing_core.training.optimisation import make_optimiser
from lipforcing_core.training.plan import calls
from lipforcing_core.training.plan.calls import Counts
from lipforcing_core.training.plan.gpus import GPUS
from lipforcing_core.training.plan.layout import Layout
from lipforcing_core.training.plan.networks import NetworkSpec, weights_of
from lipforcing_core.training.plan.stages import STAGE_NAMES, Setup, StageName, least_memory, plan_stage
from lipforcing_core.training.precision import compute_precision
from lipforcing_core.training.rollout import roll_out
from lipforcing_core.training.stages.protocol import StageInputs
from lipforcing_core.training.strategies.one_device import OneDevice
from tests.training.conftest import tiny_preset
from tests.training.test_stages import stage_of

CLOSE = pytest.approx
DEPTH = 8
"""Another depth than those that are counted."""


def measured_preset(precision: str = "fp32") -> Preset:
    """Large enough that tokens outweigh what is the same for every size; of a depth that is not counted itself."""
    values = tiny_preset().model_dump()
    values["video"] |= {"size": 128, "window_frames": 33}
    values["model"] |= {"dim": 48, "ffn_dim": 96, "num_layers": DEPTH}
    for settings in (values["lora"], values["diffusion_forcing"], values["distill"]["student"]):
        settings |= {"precision": precision, "batch_size": 1}
    return Preset.model_validate(values)


def real(network: nn.Module, kind: NetworkSpec) -> nn.Module:
    """A network that is there, used as a plan assumes."""
    if kind.recompute:
        recompute_blocks(network)
    if kind.weights_bf16:
        network.to(torch.bfloat16)
    for parameter in network.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.zeros_like(parameter)
    return network


def forcing(preset: Preset) -> tuple[nn.Module, Callable[[Any], Tensor]]:
    batch, prompts = calls.make_batch(preset, 1), calls.make_prompts(preset)
    latents = batch.latents_BCTHW
    draws = ForcingDraws(t_BT=torch.rand(1, latents.shape[2]), noise_BCTHW=torch.randn_like(latents))
    student = CausalStudent(preset.model.config(), preset.window.config())
    return student, lambda network: forcing_loss(
        network, batch, prompts, draws, settings=preset.diffusion_forcing
    )


def rollout(preset: Preset) -> tuple[nn.Module, Callable[[Any], Tensor]]:
    batch, prompts = calls.make_batch(preset, 1), calls.make_prompts(preset)
    noise = torch.randn_like(batch.latents_BCTHW)
    student = CausalStudent(preset.model.config(), preset.window.config())
    draws = RolloutDraws(noise_BCTHW=noise, exit_step=0, renoise=((),) * len(student.chunks(noise.shape[2])))

    def loss_of(network: Any) -> Tensor:
        with compute_precision(preset.distill.student.precision, noise.device):
            rolled = roll_out(
                network,
                batch.conditions(prompts.text_BLD),
                draws,
                t_list=preset.schedule.t_list,
                with_grad=True,
            )
        return matching_loss(rolled, fake=noise, real=noise).mean()

    return student, loss_of


def critic(preset: Preset) -> tuple[nn.Module, Callable[[Any], Tensor]]:
    batch, prompts = calls.make_batch(preset, 1), calls.make_prompts(preset)
    noise = torch.randn_like(batch.latents_BCTHW)
    network = WanTransformer(preset.model.config())
    inject_lora(network, rank=preset.lora.rank, alpha=1.0, also_train=FULLY_TRAINED)

    def loss_of(network: Any) -> Tensor:
        return critic_loss(
            network,
            batch.latents_BCTHW,
            batch.conditions(prompts.text_BLD),
            MatchingDraws(t_B=torch.rand(1, dtype=torch.float64), noise_BCTHW=noise),
            objective="x0",
            precision=preset.distill.student.precision,
        )

    return network, loss_of


def counted(name: str, preset: Preset, kind: NetworkSpec) -> Counts:
    if name == "critic":
        return calls.count_critic(replace(kind, rank=preset.lora.rank), preset)
    student = replace(kind, window=preset.window)
    if name == "rollout":
        return calls.count_rollout(student, preset).counts
    return calls.count_forcing(student, preset)


MAKERS = {"forcing": forcing, "rollout": rollout, "critic": critic}


def attention_flops(q: Any, k: Any, v: Any, *_: Any, **__: Any) -> int:
    """By hand: two products of queries and keys, and of these scores and values."""
    batch, heads, queries, width = q
    return int(2 * 2 * batch * heads * queries * k[2] * width)


def attention_backward_flops(_: Any, q: Any, k: Any, v: Any, *__: Any, **___: Any) -> int:
    """By hand: the scores again, and the gradients of scores, values, queries and keys: five products."""
    batch, heads, queries, width = q
    return int(5 * 2 * batch * heads * queries * k[2] * width)


def flop_counter() -> FlopCounterMode:
    aten = torch.ops.aten
    return FlopCounterMode(
        display=False,
        custom_mapping={
            aten._scaled_dot_product_flash_attention_for_cpu: attention_flops,
            aten._scaled_dot_product_flash_attention_for_cpu_backward: attention_backward_flops,
        },
    )


def peak_of(action: Callable[[], object]) -> int:
    """Most bytes that the allocator of the CPU held at once, as the profiler of PyTorch recorded it."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        action()
    events = profiled.profiler.kineto_results.events()
    changes = sorted((e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]")
    live = peak = 0
    for _, change in changes:
        live += change
        peak = max(peak, live)
    return peak


@pytest.mark.parametrize(
    ("name", "precision", "recompute", "weights_bf16"),
    [
        ("forcing", "fp32", False, False),
        ("forcing", "bf16", True, True),
        ("rollout", "fp32", False, False),
        ("rollout", "bf16", True, False),
        ("critic", "bf16", False, False),
        ("critic", "fp32", True, False),
        ("critic", "bf16", True, True),
    ],
)
def test_memory_and_flop_of_a_micro_batch_are_measured_on_a_real_one(
    name: str, precision: str, recompute: bool, weights_bf16: bool
) -> None:
    preset = measured_preset(precision)
    kind = NetworkSpec(model=preset.model, recompute=recompute, weights_bf16=weights_bf16)
    network, loss_of = MAKERS[name](preset)
    network = real(network, kind)
    found = counted(name, preset, kind)

    def step() -> None:
        loss_of(network).backward()

    step()  # rotary tables are remembered from now on
    with flop_counter() as flops:
        step()
    assert found.forward.flops + found.backward.flops == CLOSE(flops.get_total_flops(), rel=0.01)
    assert found.peak_bytes == CLOSE(peak_of(step), rel=0.1)
    assert found.weights.total == sum(p.numel() for p in network.parameters())
    assert found.weights.trained == sum(p.numel() for p in network.parameters() if p.requires_grad)


@pytest.mark.parametrize("name", ["forcing", "critic"])
def test_what_is_held_for_the_way_back_is_what_autograd_saves(name: str) -> None:
    preset = measured_preset()
    network, loss_of = MAKERS[name](preset)
    weights = {p.untyped_storage().data_ptr() for p in network.parameters()}
    saved: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss_of(network)
    kind = NetworkSpec(model=preset.model)
    assert counted(name, preset, kind).forward.held_bytes == CLOSE(sum(saved.values()), rel=0.1)


def test_a_look_without_gradient() -> None:
    preset = measured_preset()
    batch, prompts = calls.make_batch(preset, 1), calls.make_prompts(preset)
    network = WanTransformer(preset.model.config()).requires_grad_(False)
    t_B = torch.rand(1, dtype=torch.float64)

    def look() -> None:
        critic_prediction(
            network, batch.latents_BCTHW, t_B, batch.conditions(prompts.text_BLD), precision="fp32"
        )

    look()
    found = calls.count_look(NetworkSpec(model=preset.model, trained=False), preset)
    with flop_counter() as flops:
        look()
    assert found.forward.flops == CLOSE(flops.get_total_flops(), rel=0.01)
    assert found.peak_bytes == CLOSE(peak_of(look), rel=0.1)
    assert found.passes == 1
    assert found.graded_passes == 0
    assert found.backward.flops == 0


def simple(preset: Preset) -> Preset:
    """What is drawn at random made certain: one call for each chunk, and guidance everywhere."""
    values = preset.model_dump()
    values["schedule"] |= {"t_list": (0.9, 0.0)}
    values["distill"] |= {"guidance": "everywhere", "reward_weighting": "per_sample"}
    return Preset.model_validate(values)


@pytest.mark.parametrize("name", STAGE_NAMES)
def test_the_flop_of_a_stage_are_those_of_the_stage(
    name: StageName, inputs: StageInputs, tmp_path: Path
) -> None:
    preset = simple(tiny_preset())
    plan = plan_stage(Setup(preset=preset, layout=Layout(gpu=GPUS["h200"])), name)
    with flop_counter() as flops:
        stage_of(name, preset).run(inputs, tmp_path, strategy=OneDevice())
    assert plan.num_steps * plan.step.flops == CLOSE(flops.get_total_flops(), rel=0.01)


def test_optimiser_gradients_and_parameters_of_a_real_update() -> None:
    preset = measured_preset()
    network = WanTransformer(preset.model.config())
    inject_lora(network, rank=preset.lora.rank, alpha=1.0, also_train=FULLY_TRAINED)
    optimiser = make_optimiser(network, preset.lora)
    trained = [p for p in network.parameters() if p.requires_grad]
    sum(p.square().sum() for p in trained).backward()
    optimiser.step()
    least = least_memory(Setup(preset=preset, layout=Layout(gpu=GPUS["h200"])), "lora")
    moments = [
        value
        for state in optimiser.state_dict()["state"].values()
        for value in state.values()
        if value.numel() > 1
    ]
    assert least["optimiser"] == sum(m.numel() * m.element_size() for m in moments)
    assert least["gradients"] == sum(p.grad.numel() * 4 for p in trained if p.grad is not None)
    assert least["parameters"] == sum(p.numel() * p.element_size() for p in network.parameters())


@pytest.mark.parametrize(
    ("name", "total", "block", "adapter"),
    [("1.3b", 1_421_383_840, 46_440_704, 174_981_120), ("14b", 14_294_081_696, 351_394_304, 613_416_960)],
)
def test_published_sizes(name: str, total: int, block: int, adapter: int) -> None:
    """Method A.1."""
    preset = load_preset(name)
    weights = weights_of(NetworkSpec(model=preset.model))
    assert (weights.total, weights.trained, weights.block) == (total, total, block)
    assert weights_of(NetworkSpec(model=preset.model, rank=128)).total - total == adapter


def test_counting_twice_gives_the_same() -> None:
    """Operations that are met for the first time are made of others, which must not count beside them."""
    FakeTensorMode.cache_clear()
    preset, spec = measured_preset(), NetworkSpec(model=measured_preset().model, recompute=True)
    first = calls.count_critic.__wrapped__(spec, preset)
    assert calls.count_critic.__wrapped__(spec, preset) == first
