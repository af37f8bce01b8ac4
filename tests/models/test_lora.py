"""Adapters change nothing at first, merge exactly to rounding, and travel by peft's names."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lipforcing_core.errors import BadInputError, IncompatibleCheckpointError
from lipforcing_core.models.causal import CausalStudent
from lipforcing_core.models.lora import (
    LORA_TARGETS,
    adapter_state_dict,
    fold_lora,
    inject_lora,
    load_adapter,
    lora_layers,
    merge_lora,
    unfold_lora,
)
from tests.models.tiny import random_conditions, random_latents, tiny_student

ALSO = ("audio_proj", "audio_cond_projs", "patch_embedding")


def velocity(model: CausalStudent) -> torch.Tensor:
    with torch.no_grad():
        return model(random_latents(3), 0.5, model.encode_conditions(random_conditions(3)))


def adapted(seed: int = 5) -> CausalStudent:
    """A student whose adapters are not zero."""
    generator = torch.Generator().manual_seed(seed)
    model = tiny_student()
    inject_lora(model, rank=3, alpha=6.0, also_train=ALSO, generator=generator)
    for _, layer in lora_layers(model):
        nn.init.normal_(layer.lora_B.weight, std=0.1, generator=generator)
    return model


def test_formula() -> None:
    layer = nn.Sequential(nn.Linear(3, 2))
    inject_lora(layer, rank=1, alpha=4.0, targets=("0",))
    ((_, lora),) = lora_layers(layer)
    with torch.no_grad():
        lora.weight.zero_()
        lora.bias.copy_(torch.tensor([1.0, 0.0]))
        lora.lora_A.weight.copy_(torch.tensor([[1.0, 2.0, 0.0]]))
        lora.lora_B.weight.copy_(torch.tensor([[1.0], [-1.0]]))
    assert layer(torch.tensor([1.0, 1.0, 9.0])).tolist() == [4.0 * 3 + 1, -4.0 * 3]


def test_injection_changes_names_and_training_but_no_output() -> None:
    model = tiny_student()
    before, native = velocity(model), set(model.state_dict())
    names = inject_lora(model, rank=2, alpha=1.0, also_train=ALSO)
    assert len(names) == 10 * 4 == len(LORA_TARGETS) * len(model.blocks)
    assert torch.equal(velocity(model), before)
    added = set(model.state_dict()) - native
    assert added == {f"{name}.lora_{side}.weight" for name in names for side in "AB"}
    trainable = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trainable == added | {name for name in native if name.startswith(ALSO)}


def test_only_the_adapter_learns() -> None:
    model = adapted()
    loss = model(random_latents(3), 0.5, model.encode_conditions(random_conditions(3))).square().mean()
    loss.backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name
    assert all(layer.lora_A.weight.grad.abs().sum() > 0 for _, layer in lora_layers(model))


def test_fold_unfold_and_merge() -> None:
    model, native = adapted(), tiny_student()
    want = velocity(model)
    assert not torch.allclose(want, velocity(native), atol=1e-3)
    fold_lora(model)
    fold_lora(model)
    torch.testing.assert_close(velocity(model), want, atol=2e-5, rtol=0)
    unfold_lora(model)
    for name, value in native.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], value, atol=1e-6, rtol=0)
    merge_lora(model)
    torch.testing.assert_close(velocity(model), want, atol=2e-5, rtol=0)
    assert set(model.state_dict()) == set(native.state_dict())
    assert not list(lora_layers(model))


def test_round_trip_by_file_names() -> None:
    source, target = adapted(), tiny_student()
    state = adapter_state_dict(source, also=ALSO)
    assert state["blocks.0.self_attn.q.lora_A.weight"].shape == (3, 24)
    assert state["blocks.0.ffn.0.lora_B.weight"].shape == (40, 3)
    load_adapter(target, state, alpha=6.0)
    assert torch.equal(velocity(target), velocity(source))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("blocks.1.ffn.0.lora_B.weight"), "blocks.1.ffn.0.lora_B.weight"),
        (lambda s: s.update({"blocks.9.ffn.0.lora_A.weight": torch.zeros(3, 24)}), "blocks.9.ffn.0"),
        (lambda s: s.update({"foreign.weight": torch.zeros(1)}), "foreign.weight"),
        (lambda s: s.update({"blocks.0.ffn.2.lora_B.weight": torch.zeros(24, 4)}), "blocks.0.ffn.2.lora_B"),
        (lambda s: s.clear(), "no lora_A"),
    ],
)
def test_a_foreign_adapter_is_refused_whole(change, message: str) -> None:  # type: ignore[no-untyped-def]
    state, model = adapter_state_dict(adapted()), tiny_student()
    before = set(model.state_dict())
    change(state)
    with pytest.raises(IncompatibleCheckpointError, match=message):
        load_adapter(model, state, alpha=1.0)
    assert set(model.state_dict()) == before


def test_misuse_is_explained() -> None:
    with pytest.raises(BadInputError, match="already has LoRA"):
        inject_lora(adapted(), rank=2, alpha=1.0)
    with pytest.raises(BadInputError, match="no linear layer"):
        inject_lora(tiny_student(), rank=2, alpha=1.0, targets=("nothing",))
    with pytest.raises(BadInputError, match="rank 0"):
        inject_lora(tiny_student(), rank=0, alpha=1.0)
