"""Low-rank adapters on linear layers: W x + (alpha / rank) B (A x), with the key names that peft writes.

An adapted layer keeps its own ``weight`` and ``bias`` and gains ``lora_A.weight [rank, in]`` and
``lora_B.weight [out, rank]``, so a model's state dict is the native one plus the adapter, and an adapter
file of OmniAvatar (``blocks.0.self_attn.q.lora_A.weight``, method A.9) loads by name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lipforcing_core.errors import BadInputError, IncompatibleCheckpointError

LORA_TARGETS = (
    *(f"{layer}.{name}" for layer in ("self_attn", "cross_attn") for name in ("q", "k", "v", "o")),
    "ffn.0",
    "ffn.2",
)
"""Ends of the names of the layers that OmniAvatar and Lip Forcing adapt (method D.3)."""


class LoRALinear(nn.Linear):
    """A linear layer with a low-rank addition. Built by ``inject_lora`` around an existing layer's
    parameters.
    """

    def __init__(self, base: nn.Linear, *, rank: int, alpha: float) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = base.in_features, base.out_features
        self.weight, self.bias = base.weight, base.bias
        self.scaling = alpha / rank
        self.merged = False
        like = {"device": base.weight.device, "dtype": base.weight.dtype}
        self.lora_A = nn.Linear(base.in_features, rank, bias=False, **like)
        self.lora_B = nn.Linear(rank, base.out_features, bias=False, **like)
        nn.init.zeros_(self.lora_B.weight)

    def forward(self, x: Tensor) -> Tensor:
        out = F.linear(x, self.weight, self.bias)
        return out if self.merged else out + self.scaling * self.lora_B(self.lora_A(x))

    @torch.no_grad()
    def add_to_weight(self, sign: float) -> None:
        """weight += sign (alpha / rank) B A, computed in float32 and rounded once."""
        delta = self.lora_B.weight.float() @ self.lora_A.weight.float()
        self.weight.copy_(self.weight.float() + sign * self.scaling * delta)


def inject_lora(
    model: nn.Module,
    *,
    rank: int,
    alpha: float,
    targets: Sequence[str] = LORA_TARGETS,
    also_train: Sequence[str] = (),
    generator: torch.Generator | None = None,
) -> list[str]:
    """Adapt every linear layer whose name ends in one of ``targets``; returns the names.

    The output does not change at first (B is zero; A is uniform as in peft, drawn from ``generator``). Only
    the adapters and the parameters under the names in ``also_train`` stay trainable, all others are frozen.
    Raises
    ``BadInputError`` if nothing matches or the model is already adapted.
    """
    if rank < 1:
        raise BadInputError(f"LoRA rank {rank} must be at least 1")
    if any(True for _ in lora_layers(model)):
        raise BadInputError("the model already has LoRA adapters: merge or remove them first")
    endings = tuple(targets)
    names = [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and any(name == end or name.endswith(f".{end}") for end in endings)
    ]
    if not names:
        raise BadInputError(f"no linear layer of the model ends in any of {endings}")
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    for name in names:
        layer = LoRALinear(_linear(model, name), rank=rank, alpha=alpha)
        if not layer.weight.is_meta:
            bound = layer.in_features**-0.5  # kaiming_uniform(a=sqrt(5)), the initialisation of peft
            nn.init.uniform_(layer.lora_A.weight, -bound, bound, generator=generator)
        _replace(model, name, layer)
    for name, parameter in model.named_parameters():
        if name.startswith(tuple(f"{prefix}." for prefix in also_train)):
            parameter.requires_grad_(True)
    return names


def lora_layers(model: nn.Module) -> Iterator[tuple[str, LoRALinear]]:
    """All adapted layers with their names."""
    return ((name, module) for name, module in model.named_modules() if isinstance(module, LoRALinear))


def adapter_state_dict(model: nn.Module, *, also: Sequence[str] = ()) -> dict[str, Tensor]:
    """The adapter's tensors, and those under the names in ``also`` (fully trained parts): an OmniAvatar-
    like file.
    """
    prefixes = tuple(f"{prefix}." for prefix in also)
    return {
        name: value
        for name, value in model.state_dict().items()
        if ".lora_A." in name or ".lora_B." in name or name.startswith(prefixes)
    }


def load_adapter(model: nn.Module, state: Mapping[str, Tensor], *, alpha: float) -> None:
    """Adapt the layers named in an adapter file and load it, with everything else the file holds.

    The rank is read from the tensors. Raises ``IncompatibleCheckpointError`` naming the first key that has no
    place in the model, no partner, or another shape; the model is then unchanged.
    """
    own = dict(model.state_dict())
    layers = sorted({name.rpartition(".lora_")[0] for name in state if ".lora_" in name})
    if not layers:
        raise IncompatibleCheckpointError("the adapter file holds no lora_A or lora_B tensors")
    expected: dict[str, tuple[int, ...]] = {}
    for name in layers:
        a = state.get(f"{name}.lora_A.weight")
        if a is None or f"{name}.weight" not in own:
            raise IncompatibleCheckpointError(f"adapter layer {name} is incomplete or unknown to the model")
        out_features, in_features = own[f"{name}.weight"].shape
        expected[f"{name}.lora_A.weight"] = (a.shape[0], in_features)
        expected[f"{name}.lora_B.weight"] = (out_features, a.shape[0])
    expected |= {name: tuple(own[name].shape) for name in state if name in own}
    for name in sorted(expected.keys() | state.keys()):
        if name not in expected or name not in state:
            raise IncompatibleCheckpointError(
                f"{name} is only in the {'adapter' if name in state else 'model'}"
            )
        if tuple(state[name].shape) != expected[name]:
            raise IncompatibleCheckpointError(
                f"{name} has shape {list(state[name].shape)}, expected {list(expected[name])}"
            )
    for name in layers:
        rank = state[f"{name}.lora_A.weight"].shape[0]
        _replace(model, name, LoRALinear(_linear(model, name), rank=rank, alpha=alpha))
    model.load_state_dict(state, strict=False)


def fold_lora(model: nn.Module) -> None:
    """Add the adapters into the weights and bypass them, until ``unfold_lora``. No effect when folded."""
    for _, layer in lora_layers(model):
        if not layer.merged:
            layer.add_to_weight(1.0)
            layer.merged = True


def unfold_lora(model: nn.Module) -> None:
    """Undo ``fold_lora``, exact to the rounding of the weights' type."""
    for _, layer in lora_layers(model):
        if layer.merged:
            layer.add_to_weight(-1.0)
            layer.merged = False


def merge_lora(model: nn.Module) -> None:
    """Fold the adapters in for good: plain linear layers and native state-dict names remain."""
    fold_lora(model)
    for name, layer in list(lora_layers(model)):
        plain = nn.Linear(layer.in_features, layer.out_features, bias=layer.bias is not None, device="meta")
        plain.weight, plain.bias = layer.weight, layer.bias
        _replace(model, name, plain)


def _linear(model: nn.Module, name: str) -> nn.Linear:
    module = model.get_submodule(name)
    if not isinstance(module, nn.Linear):
        raise BadInputError(f"{name} is no linear layer and cannot be adapted")
    return module


def _replace(model: nn.Module, name: str, layer: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, layer)
