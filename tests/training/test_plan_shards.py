"""What a plan says of a run on several GPUs, measured on one of four workers that only pretends to have the others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.utils._python_dispatch import TorchDispatchMode

from lipforcing_core.models.causal import CausalStudent
from lipforcing_core.models.wan import WanTransformer
from lipforcing_core.training.plan import calls
from lipforcing_core.training.plan.gpus import GPUS
from lipforcing_core.training.plan.layout import FP32, Layout
from lipforcing_core.training.plan.networks import NetworkSpec
from lipforcing_core.training.strategies import sharded
from lipforcing_core.training.strategies.workers import OneWorker
from tests.training.test_plan_counts import MAKERS, measured_preset, peak_of

WORKERS = 4


@pytest.fixture
def strategy(monkeypatch: pytest.MonkeyPatch) -> Iterator[sharded.Sharded]:
    """Networks spread over four workers; what the others send is whatever the memory holds."""
    fake_pg = pytest.importorskip("torch.testing._internal.distributed.fake_pg")
    dist.init_process_group("fake", rank=0, world_size=WORKERS, store=fake_pg.FakeStore())
    monkeypatch.setattr(sharded, "ProcessGroup", OneWorker)  # which would look for the others
    try:
        monkeypatch.setattr(OneWorker, "count", WORKERS)
        yield sharded.Sharded("cpu")
    finally:
        dist.destroy_process_group()


class Sent(TorchDispatchMode):
    """Adds up the whole tensors that workers put together or add up."""

    def __init__(self) -> None:
        super().__init__()
        self.size = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.namespace == "c10d":
            tensors = [value for value in torch.utils._pytree.tree_leaves(args) if isinstance(value, Tensor)]
            self.size += max(tensor.numel() * tensor.element_size() for tensor in tensors)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", MAKERS)
def test_shards_what_travels_and_the_peak(name: str, strategy: sharded.Sharded) -> None:
    preset = measured_preset("bf16")
    settings = preset.distill.student
    _, loss_of = MAKERS[name](preset)

    def make() -> WanTransformer:
        config = preset.model.config()
        return WanTransformer(config) if name == "critic" else CausalStudent(config, preset.window.config())

    def fill(network: WanTransformer) -> None:
        for parameter in network.parameters():
            assert isinstance(parameter, DTensor)
            torch.nn.init.constant_(parameter.to_local(), 0.01)

    network = strategy.build(make, fill, trained=True, precision="bf16", recompute=True)

    def step() -> None:
        strategy.backward(loss_of(network))

    step()  # gradients are there from now on
    with Sent() as sent:
        step()
    kind = NetworkSpec(
        model=preset.model,
        window=None if name == "critic" else preset.window,
        recompute=True,
        weights_bf16=True,
    )
    count = {
        "forcing": calls.count_forcing,
        "critic": calls.count_critic,
        "rollout": lambda *given: calls.count_rollout(*given).counts,
    }[name]
    counts = count(kind, preset)
    layout = Layout(gpu=GPUS["h200"], gpus=WORKERS)

    held = [parameter.to_local() for parameter in network.parameters() if isinstance(parameter, DTensor)]
    assert layout.stored_bytes(counts.weights.total) == pytest.approx(
        sum(part.numel() * part.element_size() for part in held), rel=0.1
    )
    assert layout.stored_bytes(1.0) == FP32 / WORKERS
    others = (WORKERS - 1) / WORKERS
    assert layout.traffic(counts, settings).link_bytes == pytest.approx(others * sent.size, rel=0.1)
    planned = counts.peak_bytes + layout.gathered_bytes([counts.weights], settings)
    assert planned == pytest.approx(peak_of(step), rel=0.1)
