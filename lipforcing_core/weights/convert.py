"""Writing checkpoints tensor by tensor: one safetensors file from shards or other formats, and merged adapters.

``safetensors.torch.save_file`` wants all tensors in memory at once, 57 GB for Wan 2.1 14B. Names, types and shapes of
the result are known from headers alone, so here the header is written first and then one tensor after the other.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from lipforcing_core.errors import BadInputError, IncompatibleCheckpointError
from lipforcing_core.products import atomic_path
from lipforcing_core.weights.checkpoint import Checkpoint
from lipforcing_core.weights.formats import StoredTensor, safetensors_header

Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A tensor to be written: its type and shape, known beforehand, and how to get its values."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    read: Callable[[], Tensor]

    @property
    def nbytes(self) -> int:
        return self.dtype.itemsize * torch.Size(self.shape).numel()


def plan_copy(checkpoint: Checkpoint, *, dtype: torch.dtype | None = None) -> dict[str, Planned]:
    """Every tensor under its name, floating-point ones as ``dtype`` where one is given."""
    return {name: _copied(checkpoint, name, dtype) for name in checkpoint.tensors}


def plan_merge(
    base: Checkpoint, adapter: Checkpoint, *, alpha: float, dtype: torch.dtype | None = None
) -> dict[str, Planned]:
    """The base with an adapter merged in: W + (alpha / rank) B A, added in float32 and rounded once (method A.9).

    Whole tensors of the adapter (OmniAvatar: ``audio_proj``, ``audio_cond_projs``, ``patch_embedding``) replace those
    of the base or are added to them; a patch embedding may have another number of input channels. ``dtype``: that of
    all floating-point tensors; default: the base's own, and the adapter's own for whole tensors that are new.
    Raises ``IncompatibleCheckpointError`` naming the first adapter tensor without a partner, without a place in the
    base, or of a shape that does not fit.
    """
    plan = plan_copy(base, dtype=dtype)
    layers = sorted({name.rpartition(".lora_")[0] for name in adapter.tensors if ".lora_" in name})
    if not layers:
        raise IncompatibleCheckpointError(
            f"{adapter.label}: holds no lora_A and lora_B tensors, so it is no adapter"
        )
    for layer in layers:
        _check_layer(base, adapter, layer)
        weight = plan[f"{layer}.weight"]
        read = partial(_merged, base, adapter, layer, alpha, weight.dtype)
        plan[f"{layer}.weight"] = Planned(dtype=weight.dtype, shape=weight.shape, read=read)
    for name in sorted(adapter.tensors):
        if ".lora_" in name:
            continue
        own = base.tensors.get(name)
        if own is not None:
            _check_replacement(name, own, adapter.tensors[name])
        plan[name] = _copied(adapter, name, dtype or (own.dtype if own else None))
    return plan


def write_plan(plan: Mapping[str, Planned], output: Path, *, on_progress: Progress | None = None) -> None:
    """Write planned tensors to a ``.safetensors`` file; memory holds one of them at a time.

    The file appears when it is complete. Raises ``BadInputError`` for another suffix or a disk that is too small.
    """
    if output.suffix != ".safetensors":
        raise BadInputError(f"{output}: the name of the output must end in .safetensors")
    # widest types first, so that all values lie at multiples of their size
    ordered = dict(sorted(plan.items(), key=lambda item: -item[1].dtype.itemsize))
    header = safetensors_header({name: (tensor.dtype, tensor.shape) for name, tensor in ordered.items()})
    total = sum(tensor.nbytes for tensor in ordered.values())
    output.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(output.parent).free
    if len(header) + total > free:
        raise BadInputError(
            f"{output} needs {total / 1e9:.1f} GB and {output.parent} has {free / 1e9:.1f} GB free"
        )
    done = 0
    with atomic_path(output) as temporary, open(temporary, "wb") as stream:
        stream.write(header)
        for name, tensor in ordered.items():
            values = tensor.read().contiguous()
            assert (values.dtype, tuple(values.shape)) == (tensor.dtype, tensor.shape), name
            stream.write(values.reshape(-1).view(torch.uint8).numpy().data)
            done += tensor.nbytes
            if on_progress is not None:
                on_progress(done, total)


def _copied(checkpoint: Checkpoint, name: str, dtype: torch.dtype | None) -> Planned:
    stored = checkpoint.tensors[name]
    kept = dtype if dtype is not None and stored.dtype.is_floating_point else stored.dtype
    return Planned(dtype=kept, shape=stored.shape, read=lambda: checkpoint.value(name).to(kept))


def _check_layer(base: Checkpoint, adapter: Checkpoint, layer: str) -> None:
    names = [f"{layer}.lora_A.weight", f"{layer}.lora_B.weight"]
    for name in sorted(key for key in adapter.tensors if key.startswith(f"{layer}.lora_")):
        if name not in names:
            raise IncompatibleCheckpointError(
                f"{adapter.label}: {name} is not a LoRA tensor of a linear layer"
            )
    for name in names:
        if name not in adapter.tensors:
            raise IncompatibleCheckpointError(f"{adapter.label}: {name} is missing")
    weight = base.tensors.get(f"{layer}.weight")
    if weight is None:
        raise IncompatibleCheckpointError(
            f"{adapter.label}: {names[0]} has no {layer}.weight in {base.label}"
        )
    a, b = (adapter.tensors[name].shape for name in names)
    fits = len(weight.shape) == len(a) == len(b) == 2 and (b[0], a[1]) == weight.shape and a[0] == b[1]
    if not fits:
        raise IncompatibleCheckpointError(
            f"{adapter.label}: {layer}: lora_A {list(a)} and lora_B {list(b)} do not fit a weight {list(weight.shape)}"
        )


def _check_replacement(name: str, own: StoredTensor, new: StoredTensor) -> None:
    same = own.shape == new.shape
    if name == "patch_embedding.weight":
        same = (own.shape[0], own.shape[2:]) == (new.shape[0], new.shape[2:])
    if not same:
        raise IncompatibleCheckpointError(
            f"{new.file}: {name} has shape {list(new.shape)}, the base {list(own.shape)} in {own.file}"
        )


def _merged(base: Checkpoint, adapter: Checkpoint, layer: str, alpha: float, dtype: torch.dtype) -> Tensor:
    a = adapter.value(f"{layer}.lora_A.weight").float()
    b = adapter.value(f"{layer}.lora_B.weight").float()
    return base.value(f"{layer}.weight").float().add_(b @ a, alpha=alpha / a.shape[0]).to(dtype)
