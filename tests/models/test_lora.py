"""Adapters change nothing at first, merge exactly to rounding, and travel by peft's names."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lipforcing_core.base.errors import BadInputError, IncompatibleCheckpointError
from lipforcing_core.models.causal import CausalStudent
from lipforcing_core.models.lora import (
    LORA_TARGETS,
    adapter_state_dict,
    fold_lora,
    grow_patch_embedding,
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


def test_an_adapted_model_takes_no_second_adapter() -> None:
    """Loaded over a folded one, the sum of both would remain."""
    state, model = adapter_state_dict(adapted()), adapted(seed=6)
    fold_lora(model)
    want = velocity(model)
    with pytest.raises(BadInputError, match="already has LoRA"):
        load_adapter(model, state, alpha=6.0)
    assert torch.equal(velocity(model), want)


def test_an_adapter_of_some_layers_is_taken_only_where_that_is_meant() -> None:
    state = {k: v for k, v in adapter_state_dict(adapted()).items() if k.startswith("blocks.0.")}
    model = tiny_student()
    with pytest.raises(IncompatibleCheckpointError, match=r"blocks\.1\..* is missing: 30 of 40 layers"):
        load_adapter(model, state, alpha=6.0)
    assert not list(lora_layers(model))
    load_adapter(model, state, alpha=6.0, partial=True)
    assert len(list(lora_layers(model))) == 10
    only_q = {k: v for k, v in adapter_state_dict(adapted()).items() if ".self_attn.q." in k}
    load_adapter(tiny_student(), only_q, alpha=6.0, targets=["self_attn.q"])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_model_on_meta_takes_the_tensors_of_the_file(dtype: torch.dtype) -> None:
    with torch.device("meta"):
        model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2)).to(dtype)
    state = {
        "0.lora_A.weight": torch.tensor([[1.0, 2.0, 0.0]]),
        "0.lora_B.weight": torch.tensor([[1.0], [-1.0]]),
        "1.bias": torch.tensor([5.0, 7.0]),
    }
    load_adapter(model, state, alpha=4.0, targets=["0"])
    assert {name for name, value in model.state_dict().items() if not value.is_meta} == set(state)
    base = {"0.weight": torch.zeros(2, 3), "0.bias": torch.tensor([1.0, 0.0]), "1.weight": torch.eye(2)}
    base = {name: value.to(dtype) for name, value in base.items()}
    model.load_state_dict(base, strict=False, assign=True)
    out = model(torch.tensor([1.0, 1.0, 9.0], dtype=dtype))
    assert (out.dtype, out.tolist()) == (dtype, [4.0 * 3 + 1 + 5, -4.0 * 3 + 7])
    assert all(isinstance(value, nn.Parameter) for value in model.parameters())


def test_a_folded_model_is_neither_saved_nor_loaded() -> None:
    """Its weights hold the adapter once already: saved beside it and loaded again they would hold it twice."""
    model = adapted()
    state, want = copy.deepcopy(model.state_dict()), velocity(model)
    fold_lora(model)
    for use in (model.state_dict, lambda: adapter_state_dict(model), lambda: model.load_state_dict(state)):
        with pytest.raises(BadInputError, match="unfold_lora"):
            use()
    unfold_lora(model)
    again = adapted(seed=6)
    again.load_state_dict(model.state_dict())
    torch.testing.assert_close(velocity(again), want, atol=2e-5, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_grown_patch_embedding_does_not_see_the_new_channels(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(24, 9, 1, 2, 2, generator=generator).to(dtype)
    x = torch.randn(2, 17, 3, 4, 6, generator=generator).to(dtype)
    grown = grow_patch_embedding(weight, 17)
    assert (grown.shape, grown.dtype) == ((24, 17, 1, 2, 2), dtype)
    assert torch.equal(grown[:, :9], weight)
    assert not grown[:, 9:].any()
    own, seen = F.conv3d(x[:, :9], weight, stride=(1, 2, 2)), F.conv3d(x, grown, stride=(1, 2, 2))
    torch.testing.assert_close(seen, own)
    assert torch.equal(grow_patch_embedding(weight, 9), weight)
    assert grow_patch_embedding(weight.to("meta"), 13).shape[1] == 13
    with pytest.raises(BadInputError, match="9 input channels and cannot shrink to 8"):
        grow_patch_embedding(weight, 8)


def test_misuse_is_explained() -> None:
    with pytest.raises(BadInputError, match="already has LoRA"):
        inject_lora(adapted(), rank=2, alpha=1.0)
    with pytest.raises(BadInputError, match="no linear layer"):
        inject_lora(tiny_student(), rank=2, alpha=1.0, targets=("nothing",))
    with pytest.raises(BadInputError, match="rank 0"):
        inject_lora(tiny_student(), rank=0, alpha=1.0)
