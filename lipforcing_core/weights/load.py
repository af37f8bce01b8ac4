"""Filling a network from checkpoint files: all names and shapes are checked first, then one tensor at a time.

The peak of memory is the network and one tensor; a file that does not fit leaves the network as it was.

Batch norms count their batches in ``num_batches_tracked`` since torch 0.4.1; files from before lack it, and it
means nothing to a trained network. It is the one tensor that may be missing, and is then zero, as in torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from lipforcing_core.base.errors import IncompatibleCheckpointError
from lipforcing_core.base.products import ByteProgress
from lipforcing_core.weights.checkpoint import Checkpoint
from lipforcing_core.weights.mismatch import first_mismatch
from lipforcing_core.weights.stored import StoredTensor

KeyMap = Callable[[str], str | None]
"""From a name in the file to the name in the network; None for a tensor that is not used."""

Fit = Callable[[str, Tensor, Sequence[int]], Tensor]
"""From (name in the network, stored tensor, wanted shape) to the tensor to use, such as a part of the stored one.
It is tried on the meta device before any value is read."""


def load_network(
    network: nn.Module,
    files: Path | Sequence[Path],
    *,
    key_map: KeyMap | None = None,
    root: str | None = None,
    fit: Fit | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
    on_progress: ByteProgress | None = None,
) -> None:
    """Fill ``network``, built on the meta device or real, strictly from one file or its shards.

    files: safetensors, a ``*.safetensors.index.json`` with its shards beside it, or files of ``torch.save``
    (read without running code in them; files older than torch 1.6 are read whole).
    key_map: names of the file to names of the network (None: the tensor is ignored); default: equal.
    root: key of the container that holds the tensors, such as ``params`` or ``model/net``.
    fit: adapts stored tensors whose shape may differ (``models.codecs.taehv.trim_time_kernel``); default: none may.
    dtype: type of the floating-point tensors; default: that of the file for tensors on the meta device, their
    own for real ones, which are filled in place. device: where tensors go that were on the meta device.

    Raises ``MissingWeightsError`` if a file is not there, and ``IncompatibleCheckpointError`` naming the file
    and the first key (in the network's naming) that is missing, unexpected or of another shape or kind.
    Buffers on the meta device that are in no checkpoint are rebuilt by modules that override ``_apply`` to do so
    (``models.rope.RotaryTables``); ``RuntimeError`` if another module has such buffers.
    """
    tables = _tables(network)
    checkpoint = Checkpoint.open(files, root=root)
    wanted = network.state_dict(keep_vars=True)
    names = match_names(checkpoint, wanted, key_map, fit)
    for module, key in tables:
        if module.get_buffer(key).is_meta:
            module.to_empty(device=device, recurse=False)
        else:
            setattr(module, key, module.get_buffer(key).to(device))
    for counter in wanted.keys() - set(names.values()):
        _put(network, counter, wanted[counter], torch.zeros((), dtype=torch.int64), None, device)
    done, total = 0, sum(checkpoint.tensors[name].nbytes for name in names)
    for name, value in checkpoint.values(names):
        done += value.nbytes
        target = names[name]
        fitted = value if fit is None else fit(target, value, wanted[target].shape)
        _put(network, target, wanted[target], fitted, dtype, device)
        if on_progress is not None:
            on_progress(done, total)


def match_names(
    checkpoint: Checkpoint,
    wanted: Mapping[str, Tensor],
    key_map: KeyMap | None = None,
    fit: Fit | None = None,
) -> dict[str, str]:
    """Which tensor of the checkpoint fills which of ``wanted``: names in the file to names in the network.

    Values are not read. Raises ``IncompatibleCheckpointError`` as ``load_network`` does.
    """
    names: dict[str, str] = {}
    taken: dict[str, str] = {}
    for name in checkpoint.tensors:
        target = key_map(name) if key_map else name
        if target is None:
            continue
        if target in taken:
            raise IncompatibleCheckpointError(
                f"{checkpoint.tensors[name].file}: {name} and {taken[target]} are both {target}"
            )
        names[name], taken[target] = target, name
    stored = {target: checkpoint.tensors[name] for name, target in names.items()}
    found = {target: _header(target, tensor, wanted, fit) for target, tensor in stored.items()}
    needed = {k: v for k, v in wanted.items() if k in found or not k.endswith(".num_batches_tracked")}
    if mismatch := first_mismatch(needed, found):
        key, problem = mismatch
        in_file = f" ({taken[key]} in the file)" if taken.get(key, key) != key else ""
        where = stored[key].file if key in stored else checkpoint.label
        raise IncompatibleCheckpointError(f"{where}: {key}{in_file} {problem}")
    for key in sorted(found):
        if found[key].dtype.is_floating_point != wanted[key].dtype.is_floating_point:
            raise IncompatibleCheckpointError(
                f"{stored[key].file}: {key} is of type {found[key].dtype}, expected one like {wanted[key].dtype}"
            )
    return names


def _header(name: str, stored: StoredTensor, wanted: Mapping[str, Tensor], fit: Fit | None) -> Tensor:
    header = torch.empty(stored.shape, dtype=stored.dtype, device="meta")
    return header if fit is None or name not in wanted else fit(name, header, wanted[name].shape)


def _tables(network: nn.Module) -> list[tuple[nn.Module, str]]:
    """Buffers that no checkpoint holds, of networks built on the meta device, with the modules they belong to."""
    if not any(parameter.is_meta for parameter in network.parameters()):
        return []
    found = []
    for name, module in network.named_modules():
        for key in sorted(module._non_persistent_buffers_set):
            if module.get_buffer(key).is_meta and type(module)._apply is nn.Module._apply:
                raise RuntimeError(
                    f"{type(network).__name__}: {name or 'the module'}.{key} is on the meta device and in no "
                    "checkpoint: build it elsewhere, or rebuild it in _apply as models.rope.RotaryTables does"
                )
            found.append((module, key))
    return found


@torch.no_grad()
def _put(
    network: nn.Module,
    name: str,
    own: Tensor,
    value: Tensor,
    dtype: torch.dtype | None,
    device: torch.device | str,
) -> None:
    if not own.is_floating_point():
        dtype = own.dtype
    elif dtype is None:
        dtype = value.dtype if own.is_meta else own.dtype
    if not own.is_meta and own.dtype == dtype:
        own.copy_(value)
        return
    filled = value.to(device=device if own.is_meta else own.device, dtype=dtype)
    parent, _, leaf = name.rpartition(".")
    is_parameter = isinstance(own, nn.Parameter)
    setattr(
        network.get_submodule(parent),
        leaf,
        nn.Parameter(filled, requires_grad=own.requires_grad) if is_parameter else filled,
    )
