"""What a weight file holds, read from its header: safetensors here, the files of ``torch.save`` in ``torch_file``.

Nothing here maps a file into memory: mapped pages count against the process, a mapping larger than the
machine's memory may be refused, and a file that shrinks under a mapping kills the process. Tensors are read
with plain reads, one at a time. Code in a file is never run (``weights_only``).

The safetensors format: 8 bytes little-endian length of the header, the header as JSON
(``name: {dtype, shape, data_offsets}``, offsets from the end of the header), then the data without gaps.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeGuard

import torch

from lipforcing_core.base.errors import IncompatibleCheckpointError
from lipforcing_core.weights.stored import StoredTensor, shown
from lipforcing_core.weights.torch_file import read_torch_header

DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8,
    "BOOL": torch.bool,
}  # fmt: skip
"""The type names of safetensors."""

_LARGEST_HEADER = 100_000_000  # bytes, as in the safetensors library
_LARGEST_COUNT = (1 << 63) - 1  # that torch can count to


def read_header(file: Path, *, suffix: str | None = None) -> dict[str, Any]:
    """The content of a weight file with a ``StoredTensor`` for every tensor, nested as in the file.

    ``suffix`` tells the format (``.safetensors``, else torch) of a file that does not bear its name yet.
    Raises ``IncompatibleCheckpointError`` naming the file if it is truncated, damaged, compressed, of another format,
    or holds anything but tensors, containers and plain values, and ``LipForcingError`` if this version of torch
    cannot tell which values in a torch file are whose. All values are in the file, as long as it does not change.
    """
    if (suffix or file.suffix) == ".safetensors":
        return _read_safetensors_header(file)
    return read_torch_header(file)


def safetensors_header(
    tensors: Mapping[str, tuple[torch.dtype, tuple[int, ...]]], *, for_transformers: bool = True
) -> bytes:
    """The first bytes of a safetensors file whose data follow in the order of ``tensors``, without gaps.

    for_transformers: say which library the tensors are of, as transformers wants it and ``save_file`` does not.
    Raises ``IncompatibleCheckpointError`` for a type that the format does not know.
    """
    names = {dtype: name for name, dtype in DTYPES.items()}
    entries: dict[str, Any] = {"__metadata__": {"format": "pt"}} if for_transformers else {}
    end = 0
    for name, (dtype, shape) in tensors.items():
        if dtype not in names:
            raise IncompatibleCheckpointError(f"{name}: safetensors cannot hold {dtype}")
        start, end = end, end + math.prod(shape) * dtype.itemsize
        entries[name] = {"dtype": names[dtype], "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the data begin at a multiple of 8
    return len(text).to_bytes(8, "little") + text


def _read_safetensors_header(file: Path) -> dict[str, Any]:
    size = file.stat().st_size
    with open(file, "rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if size < 8 or not 2 <= length <= min(_LARGEST_HEADER, size - 8):
            raise IncompatibleCheckpointError(f"{file}: no safetensors file, or cut off within its header")
        text = stream.read(length)
    try:
        entries = json.loads(text, object_pairs_hook=_without_repeats)
    except RecursionError as error:
        raise _damaged_header(file, "it is nested too deeply") from error
    except UnicodeDecodeError as error:
        raise _damaged_header(file, "it is no text") from error
    except ValueError as error:
        raise _damaged_header(file, shown(str(error))) from error
    if not isinstance(entries, dict):
        raise _damaged_header(file, "it lists no names")
    entries.pop("__metadata__", None)
    tensors = {name: _safetensor(file, 8 + length, name, entry) for name, entry in entries.items()}
    end = 8 + length
    for name, tensor in sorted(tensors.items(), key=lambda item: (item[1].start, item[1].span)):
        if tensor.start != end:
            raise _damaged_header(file, f"place of {shown(name)}")
        end += tensor.span
    if end != size:
        state = "truncated" if size < end else "too long"
        raise IncompatibleCheckpointError(f"{file}: {state}, {size} bytes where its header says {end}")
    return tensors


def _damaged_header(file: Path, problem: str) -> IncompatibleCheckpointError:
    return IncompatibleCheckpointError(f"{file}: its safetensors header is damaged ({problem})")


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries: dict[str, Any] = {}
    for name, value in pairs:
        if name in entries:
            raise ValueError(f"{shown(name)} stands there twice")
        entries[name] = value
    return entries


def _safetensor(file: Path, data_start: int, name: str, entry: Any) -> StoredTensor:
    facts = entry if isinstance(entry, dict) else {}
    shape, place, kind = facts.get("shape"), facts.get("data_offsets"), facts.get("dtype")
    if not (_are_counts(shape) and _are_counts(place) and len(place) == 2 and isinstance(kind, str)):
        raise _damaged_header(
            file, f"{shown(name)} needs a dtype, a shape and data_offsets, of whole numbers"
        )
    if kind not in DTYPES:
        raise IncompatibleCheckpointError(
            f"{file}: {shown(name)} is of type {shown(kind)}, which is not supported"
        )
    start, end = place
    tensor = StoredTensor(
        file=file,
        shape=tuple(shape),
        dtype=DTYPES[kind],
        start=data_start + start,
        stride=tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape))),
    )
    if math.prod(size or 1 for size in shape) * tensor.dtype.itemsize > _LARGEST_COUNT:
        raise _damaged_header(file, f"{shown(name)} is larger than anything can be")
    if end - start != tensor.nbytes:
        raise _damaged_header(file, f"{end - start} bytes for {shape} {kind} of {shown(name)}")
    return tensor


def _are_counts(values: Any) -> TypeGuard[list[int]]:
    return isinstance(values, list) and all(type(v) is int and 0 <= v <= _LARGEST_COUNT for v in values)
