"""Writing checkpoints tensor by tensor: one safetensors file from shards or other formats, and merged adapters.

``safetensors.torch.save_file`` wants all tensors in memory at once, 57 GB for Wan 2.1 14B. Names, types and shapes of
the result are known from headers alone, so here the header is written first and then one tensor after the other.
"""

from __future__ import annotations

import errno
import fcntl
import functools
import math
import os
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from lipforcing_core.base.errors import BadInputError, IncompatibleCheckpointError
from lipforcing_core.base.products import ByteProgress, atomic_path, temporary_name_of
from lipforcing_core.checkpoints.networks import Wanted
from lipforcing_core.models.config import channel_layouts
from lipforcing_core.models.lora import (
    adapter_layers,
    check_alpha,
    first_unadapted,
    grow_patch_embedding,
    target_layers,
)
from lipforcing_core.weights.checkpoint import Checkpoint
from lipforcing_core.weights.formats import safetensors_header
from lipforcing_core.weights.load import Fit
from lipforcing_core.weights.stored import StoredTensor

_PATCH = "patch_embedding.weight"
_ABANDONED_AFTER_S = 10  # that nobody writes to a file and nobody locks it


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A tensor to be written: its type and shape, known beforehand, and how to get its values."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    read: Callable[[], Tensor]

    @property
    def nbytes(self) -> int:
        return self.dtype.itemsize * torch.Size(self.shape).numel()


def plan_copy(
    checkpoint: Checkpoint, *, dtype: torch.dtype | None = None, wanted: Wanted | None = None
) -> dict[str, Planned]:
    """Every tensor under its name, floating-point ones as ``dtype`` where one is given.

    ``wanted``: the network that the checkpoint fits; a tensor that it takes in part is written in that part.
    """
    plan = {name: _copied(checkpoint, name, dtype) for name in checkpoint.tensors}
    if wanted is not None and wanted.fit is not None:
        for name, planned in plan.items():
            shape = tuple(wanted.tensors[name].shape)
            if planned.shape != shape:
                read = functools.partial(_fitted, wanted.fit, name, planned, shape)
                plan[name] = Planned(dtype=planned.dtype, shape=shape, read=read)
    return plan


def plan_merge(
    base: Checkpoint,
    adapter: Checkpoint,
    *,
    alpha: float | None,
    dtype: torch.dtype | None = None,
    in_channels: int | None = None,
    partial: bool = False,
    on_merged: Callable[[str, bool], None] | None = None,
) -> dict[str, Planned]:
    """The base with an adapter merged in: W + (alpha / rank) B A, added in float32 and rounded once (method A.9).

    Whole tensors of the adapter (OmniAvatar: ``audio_proj``, ``audio_cond_projs``, ``patch_embedding``) replace those
    of the base or are added to them; a patch embedding may have another number of input channels.

    alpha: None where the adapter keeps one for every layer (``LAYER.alpha``), or none at all and adds just B A.
    on_merged: called when a layer has been merged, with its name and whether that changed its weight as written.

    dtype: that of all floating-point tensors; default: the base's own, and the adapter's own for whole tensors that
    are new. in_channels: grow the merged patch embedding to so many (``models.lora.grow_patch_embedding``); default: as
    merged, which must be one of ``models.config.channel_layouts`` in a transformer. partial: the adapter may leave out
    layers of the base that ``models.lora.LORA_TARGETS`` names.

    Raises ``IncompatibleCheckpointError`` for a base that is adapted, and naming the first adapter tensor that is
    missing, has no partner, no place in the base, or a shape that does not fit; ``BadInputError`` for an alpha that is
    out of range, and for a number of input channels that no model here has, or fewer than there are.
    """
    if alpha is not None:
        check_alpha(alpha)
    if adapter_layers(base.tensors):
        raise IncompatibleCheckpointError(f"{base.label}: holds lora_A and lora_B tensors, so it is no base")
    plan = plan_copy(base, dtype=dtype)
    layers = adapter_layers(adapter.tensors)
    if not layers:
        raise IncompatibleCheckpointError(
            f"{adapter.label}: holds no lora_A and lora_B tensors, so it is no adapter"
        )
    for layer in layers:
        _check_layer(base, adapter, layer)
        weight = plan[f"{layer}.weight"]
        scale = _scale(adapter, layer, alpha)
        read = functools.partial(_merged, base, adapter, layer, scale, weight.dtype, on_merged)
        plan[f"{layer}.weight"] = Planned(dtype=weight.dtype, shape=weight.shape, read=read)
    for name in sorted(adapter.tensors):
        if ".lora_" in name or name.removesuffix(".alpha") in layers:
            continue
        if name.removesuffix(".weight") in layers:
            raise IncompatibleCheckpointError(
                f"{adapter.label}: holds {name} beside the adapter of that layer, so it is an adapted model"
            )
        own = base.tensors.get(name)
        if own is not None:
            _check_replacement(name, own, adapter.tensors[name])
        plan[name] = _copied(adapter, name, dtype or (own.dtype if own else None))
    linear = [name.removesuffix(".weight") for name, stored in base.tensors.items() if len(stored.shape) == 2]
    if not partial and (problem := first_unadapted(target_layers(linear), layers)):
        raise IncompatibleCheckpointError(
            f"{adapter.label}: {problem} (add --partial for an adapter of some layers only)"
        )
    if in_channels is not None:
        _grow(plan, in_channels)
    else:
        _check_layout(plan)
    return plan


def write_plan(plan: Mapping[str, Planned], output: Path, *, on_progress: ByteProgress | None = None) -> None:
    """Write planned tensors to a ``.safetensors`` file; memory holds one of them at a time.

    The file appears when it is complete; what killed runs left of it is removed. Raises ``BadInputError`` for another
    suffix or a disk that is too small, and ``IncompatibleCheckpointError`` naming the first tensor with a value that
    is finite in its file and not as it would be written.
    """
    if output.suffix != ".safetensors":
        raise BadInputError(f"{output}: the name of the output must end in .safetensors")
    if not plan:
        raise BadInputError(f"{output} would hold nothing: there is no tensor to write")
    # widest types first, so that all values lie at multiples of their size
    ordered = dict(sorted(plan.items(), key=lambda item: -item[1].dtype.itemsize))
    header = safetensors_header({name: (tensor.dtype, tensor.shape) for name, tensor in ordered.items()})
    total = sum(tensor.nbytes for tensor in ordered.values())
    output.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(output)
    free = shutil.disk_usage(output.parent).free
    if len(header) + total > free:
        raise BadInputError(
            f"{output} needs {total / 1e9:.1f} GB and {output.parent} has {free / 1e9:.1f} GB free"
        )
    done = 0
    try:
        with atomic_path(output) as temporary, open(temporary, "wb") as stream:
            with suppress(OSError):  # a file system without locks
                fcntl.flock(stream, fcntl.LOCK_EX)
            stream.write(header)
            for name, tensor in ordered.items():
                values = tensor.read().contiguous()
                assert (values.dtype, tuple(values.shape)) == (tensor.dtype, tensor.shape), name
                stream.write(values.reshape(-1).view(torch.uint8).numpy().data)
                done += tensor.nbytes
                if on_progress is not None:
                    on_progress(done, total)
    except OSError as error:
        if error.errno != errno.EFBIG:
            raise
        raise BadInputError(
            f"{output} needs {total / 1e9:.1f} GB, and no file may be that large there"
        ) from error


def _remove_abandoned(output: Path) -> None:
    """Remove temporary files of ``output`` whose writer was killed: a writer that lives holds a lock on its own."""
    ours = temporary_name_of(output)
    for path in output.parent.iterdir():
        if ours.fullmatch(path.name) and path.is_file() and not path.is_symlink():
            with suppress(OSError), open(path, "rb") as stream:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if time.time() - os.fstat(stream.fileno()).st_mtime > _ABANDONED_AFTER_S:
                    path.unlink()


def _copied(checkpoint: Checkpoint, name: str, dtype: torch.dtype | None) -> Planned:
    stored = checkpoint.tensors[name]
    kept = dtype if dtype is not None and stored.dtype.is_floating_point else stored.dtype
    return Planned(
        dtype=kept,
        shape=stored.shape,
        read=lambda: _cast(checkpoint.value(name), kept, f"{stored.file}: {name}"),
    )


def _cast(value: Tensor, dtype: torch.dtype, label: str) -> Tensor:
    cast = value.to(dtype)
    if cast.dtype != value.dtype:
        _check_finite(cast, value, label)
    return cast


def _check_finite(new: Tensor, old: Tensor, label: str) -> None:
    """Raise ``IncompatibleCheckpointError`` where ``new`` holds inf or NaN and ``old`` a number."""
    if min(new.dtype.itemsize, old.dtype.itemsize) == 1:  # torch does not compare float8
        new, old = new.float(), old.float()
    if not new.numel() or all(math.isfinite(end) for end in new.aminmax()):
        return
    lost = old.isfinite() & ~new.isfinite()
    if lost.any():
        raise IncompatibleCheckpointError(
            f"{label} holds {old[lost][0].item():g}, too large for the type to be written: choose a wider --dtype"
        )


def _fitted(fit: Fit, name: str, planned: Planned, shape: tuple[int, ...]) -> Tensor:
    return fit(name, planned.read(), shape)


def _grow(plan: dict[str, Planned], in_channels: int) -> None:
    if _PATCH not in plan:
        raise BadInputError(f"there is no {_PATCH} to grow to {in_channels} input channels")
    merged = plan[_PATCH]
    grown = grow_patch_embedding(torch.empty(merged.shape, device="meta"), in_channels)
    plan[_PATCH] = Planned(
        dtype=merged.dtype,
        shape=tuple(grown.shape),
        read=lambda: grow_patch_embedding(merged.read(), in_channels),
    )


def _check_layout(plan: Mapping[str, Planned]) -> None:
    """Refuse a transformer of another number of input channels than any model here has, before it is written."""
    if not {_PATCH, "head.head.weight"} <= plan.keys():
        return
    _, channels, *patch = plan[_PATCH].shape
    layouts = channel_layouts(plan["head.head.weight"].shape[0] // math.prod(patch))
    if channels not in layouts:
        raise BadInputError(
            f"the merged patch embedding has {channels} input channels, and models here take {layouts[0]}, "
            f"{layouts[1]} or {layouts[2]}: add --in-channels {layouts[2]} for the beginning of a lip-sync teacher "
            f"(zeros for the new channels), or --in-channels {channels} to write it as it is"
        )


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
    fits = len(weight.shape) == len(a) == len(b) == 2 and (b[0], a[1]) == weight.shape and a[0] == b[1] > 0
    if not fits:
        raise IncompatibleCheckpointError(
            f"{adapter.label}: {layer}: lora_A {list(a)} and lora_B {list(b)} do not fit a weight {list(weight.shape)}"
        )


def _check_replacement(name: str, own: StoredTensor, new: StoredTensor) -> None:
    same = own.shape == new.shape
    if name == _PATCH:
        same = (own.shape[0], own.shape[2:]) == (new.shape[0], new.shape[2:])
    if not same:
        raise IncompatibleCheckpointError(
            f"{new.file}: {name} has shape {list(new.shape)}, the base {list(own.shape)} in {own.file}"
        )


def _scale(adapter: Checkpoint, layer: str, alpha: float | None) -> float:
    """What B A is multiplied by: alpha / rank, with the layer's own alpha where no one alpha holds."""
    rank = adapter.tensors[f"{layer}.lora_A.weight"].shape[0]
    if alpha is not None:
        return alpha / rank
    name = f"{layer}.alpha"
    if name not in adapter.tensors:
        if any(other.endswith(".alpha") for other in adapter.tensors):
            raise IncompatibleCheckpointError(
                f"{adapter.label}: {name} is missing, and other layers have one"
            )
        return 1.0
    if math.prod(adapter.tensors[name].shape) != 1:
        raise IncompatibleCheckpointError(f"{adapter.label}: {name} is no single number")
    own = float(adapter.value(name).float().reshape(()))
    if not (math.isfinite(own) and own > 0):
        raise IncompatibleCheckpointError(f"{adapter.label}: {name} is {own:g}, no number above 0")
    return own / rank


def _merged(
    base: Checkpoint,
    adapter: Checkpoint,
    layer: str,
    scale: float,
    dtype: torch.dtype,
    on_merged: Callable[[str, bool], None] | None,
) -> Tensor:
    a = adapter.value(f"{layer}.lora_A.weight").float()
    b = adapter.value(f"{layer}.lora_B.weight").float()
    own = base.value(f"{layer}.weight").float()
    label = f"{base.label} with {adapter.label}: {layer}.weight"
    merged = _cast(own.add(b @ a, alpha=scale), dtype, label)
    if on_merged is not None:
        on_merged(layer, not torch.equal(merged, own.to(dtype)))
    return merged
