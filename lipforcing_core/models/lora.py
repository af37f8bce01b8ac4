"""Low-rank adapters on linear layers: W x + (alpha / rank) B (A x), with the key names that peft writes.

An adapted layer keeps its own ``weight`` and ``bias`` and gains ``lora_A.weight [rank, in]`` and
``lora_B.weight [out, rank]``, so a model's state dict is the native one plus the adapter, and an adapter
file of OmniAvatar (``blocks.0.self_attn.q.lora_A.weight``, method A.9) loads by name.

To train an adapter: ``inject_lora``, then ``adapter_state_dict``. To use one in a notebook: ``load_adapter``, then
``fold_lora`` for speed and ``unfold_lora`` to compare with the base or to train on; ``merge_lora`` where the adapter is
to stay. To merge the files of a large model without loading it: ``lipforcing weights export``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lipforcing_core.base.errors import BadInputError, IncompatibleCheckpointError

LORA_TARGETS = (
    *(f"{layer}.{name}" for layer in ("self_attn", "cross_attn") for name in ("q", "k", "v", "o")),
    "ffn.0",
    "ffn.2",
)
"""Ends of the names of the layers that OmniAvatar and Lip Forcing adapt (method D.3)."""

FULLY_TRAINED = ("audio_proj", "audio_cond_projs", "patch_embedding")
"""The parts that they train whole beside the adapter; an adapter file of OmniAvatar holds them too (method A.9)."""


class LoRALinear(nn.Linear):
    """A linear layer with a low-rank addition. Built by ``inject_lora`` around an existing layer's parameters."""

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

    def _save_to_state_dict(self, *args: Any, **kwargs: Any) -> None:
        self._refuse_folded()
        super()._save_to_state_dict(*args, **kwargs)

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        self._refuse_folded()
        super()._load_from_state_dict(*args, **kwargs)

    def _refuse_folded(self) -> None:
        """Folded weights beside their adapter, saved or loaded, would count the adapter twice or not at all."""
        if self.merged:
            raise BadInputError(
                "the adapter is folded into the weights: unfold_lora (or merge_lora, to keep it) before the model is "
                "saved or loaded"
            )


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

    The output does not change at first (``adapter_start``; on the meta device that is left to do). Only
    the adapters and the parameters under the names in ``also_train`` stay trainable, all others are frozen.
    Raises ``BadInputError`` if nothing matches, the model is already adapted, or rank or alpha are out of range.
    """
    if rank < 1:
        raise BadInputError(f"LoRA rank {rank} must be at least 1")
    check_alpha(alpha)
    _refuse_adapted(model)
    names = target_layers(_linear_layers(model), targets)
    if not names:
        raise BadInputError(f"no linear layer of the model ends in any of {tuple(targets)}")
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    for name in names:
        _replace(model, name, LoRALinear(_linear(model, name), rank=rank, alpha=alpha))
    for start, value in adapter_start(model, generator):
        if not start.is_meta:
            with torch.no_grad():
                start.copy_(value)
    for name, parameter in model.named_parameters():
        if name.startswith(tuple(f"{prefix}." for prefix in also_train)):
            parameter.requires_grad_(True)
    return names


def adapter_start(
    model: nn.Module, generator: torch.Generator | None = None
) -> Iterator[tuple[Tensor, Tensor]]:
    """The tensors of the adapters with the values that they start from, on the device of the generator.

    B is zero; A is uniform as in peft, drawn from ``generator``, one layer after the other.
    """
    for _, layer in lora_layers(model):
        bound = layer.in_features**-0.5  # kaiming_uniform(a=sqrt(5)), the initialisation of peft
        drawn_on = layer.weight.device if generator is None else generator.device
        drawn = torch.empty(layer.lora_A.weight.shape, device=drawn_on)
        yield layer.lora_A.weight, drawn.uniform_(-bound, bound, generator=generator)
        yield layer.lora_B.weight, torch.zeros(layer.lora_B.weight.shape, device=drawn_on)


def is_adapter_tensor(name: str) -> bool:
    """Whether a name in a state dict is that of an adapter's tensor."""
    return ".lora_A." in name or ".lora_B." in name


def lora_layers(model: nn.Module) -> Iterator[tuple[str, LoRALinear]]:
    """All adapted layers with their names."""
    return ((name, module) for name, module in model.named_modules() if isinstance(module, LoRALinear))


def adapter_state_dict(model: nn.Module, *, also: Sequence[str] = ()) -> dict[str, Tensor]:
    """The adapter's tensors, and those under the names in ``also`` (fully trained parts): an OmniAvatar-like file.

    Raises ``BadInputError`` while the adapter is folded, as ``state_dict`` does.
    """
    prefixes = tuple(f"{prefix}." for prefix in also)
    return {
        name: value
        for name, value in model.state_dict().items()
        if is_adapter_tensor(name) or name.startswith(prefixes)
    }


def load_adapter(
    model: nn.Module,
    state: Mapping[str, Tensor],
    *,
    alpha: float,
    targets: Sequence[str] = LORA_TARGETS,
    partial: bool = False,
) -> None:
    """Adapt the layers named in an adapter file and load it, with everything else the file holds.

    state: named as by ``adapter_state_dict``; ``weights.keymaps.adapter_key`` maps the names of peft and trainers. That
    of a whole adapted model, which trainers keep, brings the weights of its base, which replace the model's. The state
    must adapt every linear layer whose name ends in one of ``targets``, or only some of them where ``partial``. The
    rank is read from the tensors, which take the types of the model's. A patch embedding with fewer input channels
    than the model's first passes ``grow_patch_embedding``.

    On the meta device the tensors of the file become those of the model, which stays on meta for the rest.

    Raises ``BadInputError`` if the model is adapted already or alpha is out of range, and
    ``IncompatibleCheckpointError`` naming the first key that is missing, has no place in the model, no partner,
    or another shape; the model is then unchanged.
    """
    check_alpha(alpha)
    _refuse_adapted(model)
    layers = adapter_layers(state)
    if not layers:
        raise IncompatibleCheckpointError("the adapter file holds no lora_A or lora_B tensors")
    own = model.state_dict()
    expected: dict[str, tuple[int, ...]] = {}
    for name in layers:
        a = state.get(f"{name}.lora_A.weight")
        if a is None or f"{name}.weight" not in own:
            raise IncompatibleCheckpointError(f"adapter layer {name} is incomplete or unknown to the model")
        if a.dim() != 2 or a.shape[0] == 0:
            raise IncompatibleCheckpointError(
                f"{name}.lora_A.weight has shape {list(a.shape)}, so it has no rank"
            )
        out_features, in_features = _linear(model, name).weight.shape
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
    if not partial and (problem := first_unadapted(target_layers(_linear_layers(model), targets), layers)):
        raise IncompatibleCheckpointError(f"{problem} (partial=True: an adapter of some layers only)")
    for name in layers:
        rank = state[f"{name}.lora_A.weight"].shape[0]
        _replace(model, name, LoRALinear(_linear(model, name), rank=rank, alpha=alpha))
    own = model.state_dict()
    for on_meta in (False, True):
        part = {k: v.to(own[k].dtype) for k, v in state.items() if own[k].is_meta is on_meta}
        model.load_state_dict(part, strict=False, assign=on_meta)


def check_alpha(alpha: float) -> None:
    """Raise ``BadInputError`` for an alpha by which nothing can be scaled."""
    if not 0 < alpha <= torch.finfo(torch.float32).max:  # NaN is neither
        raise BadInputError(f"LoRA alpha {alpha:g} must be a finite number above 0")


def adapter_layers(names: Iterable[str]) -> list[str]:
    """The layers that an adapter with tensors of these names adapts, sorted."""
    return sorted({name.rpartition(".lora_")[0] for name in names if ".lora_" in name})


def target_layers(layers: Iterable[str], targets: Sequence[str] = LORA_TARGETS) -> list[str]:
    """Those of ``layers`` whose names end in one of ``targets``, in their order."""
    return [name for name in layers if any(name == end or name.endswith(f".{end}") for end in targets)]


def first_unadapted(wanted: Sequence[str], adapted: Sequence[str]) -> str | None:
    """The first of the layers ``wanted`` that is not ``adapted``, in words with the count; None if all are."""
    missing = sorted(set(wanted) - set(adapted))
    if not missing:
        return None
    return f"{missing[0]}.lora_A.weight is missing: {len(missing)} of {len(wanted)} layers are not adapted"


def grow_patch_embedding(weight_DCThw: Tensor, in_channels: int) -> Tensor:
    """A patch embedding for ``in_channels`` input channels: the given ones first, then zeros (method A.9).

    weight_DCThw: the weight ``[D, C, 1, ph, pw]`` of width D, C input channels and patches ph x pw; the result is
    ``[D, in_channels, 1, ph, pw]``, of the same type and device. What the new channels hold changes nothing until
    they are trained; the bias stays. Raises ``BadInputError`` for fewer channels than there are.
    """
    missing = in_channels - weight_DCThw.shape[1]
    if missing < 0:
        raise BadInputError(
            f"the patch embedding has {weight_DCThw.shape[1]} input channels and cannot shrink to {in_channels}"
        )
    return F.pad(weight_DCThw, (0, 0, 0, 0, 0, 0, 0, missing))


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


def _refuse_adapted(model: nn.Module) -> None:
    if any(True for _ in lora_layers(model)):
        raise BadInputError("the model already has LoRA adapters: merge or remove them first")


def _linear_layers(model: nn.Module) -> list[str]:
    return [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]


def _linear(model: nn.Module, name: str) -> nn.Linear:
    module = model.get_submodule(name)
    if not isinstance(module, nn.Linear):
        raise BadInputError(f"{name} is no linear layer and cannot be adapted")
    return module


def _replace(model: nn.Module, name: str, layer: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, layer)
