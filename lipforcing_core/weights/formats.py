"""What a weight file holds, read from its header: safetensors, and the files of ``torch.save``.

Nothing here maps a file into memory: mapped pages count against the process, a mapping larger than the
machine's memory may be refused, and a file that shrinks under a mapping kills the process. Tensors are read
with plain reads, one at a time. Code in a file is never run (``weights_only``).

The safetensors format: 8 bytes little-endian length of the header, the header as JSON
(``name: {dtype, shape, data_offsets}``, offsets from the end of the header), then the data without gaps.
"""

from __future__ import annotations

import json
import math
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lipforcing_core.errors import IncompatibleCheckpointError, LipForcingError

DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8,
    "BOOL": torch.bool,
}  # fmt: skip
"""The type names of safetensors."""

_LARGEST_HEADER = 100_000_000  # bytes, as in the safetensors library
_ZIP_MAGIC = b"PK\x03\x04"


@dataclass(frozen=True, kw_only=True)
class StoredTensor:
    """One tensor in a file: what its header says, and where the values lie.

    ``start`` is the byte at which they begin; None means that ``values`` holds them already (old torch files
    can only be read whole). ``stride`` is in elements.
    """

    file: Path
    shape: tuple[int, ...]
    dtype: torch.dtype
    start: int | None
    stride: tuple[int, ...]
    values: Tensor | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of the values."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def span(self) -> int:
        """Bytes in the file from the first to the last value; more than ``nbytes`` where the stride has gaps."""
        if 0 in self.shape:
            return 0
        last = sum((size - 1) * step for size, step in zip(self.shape, self.stride, strict=True))
        return (last + 1) * self.dtype.itemsize

    def read(self, stream: BufferedReader) -> Tensor:
        """The values, contiguous, in memory of their own. ``stream`` is the opened file."""
        if self.values is not None:
            return self.values.clone(memory_format=torch.contiguous_format)
        assert self.start is not None
        buffer = torch.empty(self.span, dtype=torch.uint8)
        stream.seek(self.start)
        if self.span and stream.readinto(buffer.numpy().data) != self.span:
            raise IncompatibleCheckpointError(f"{self.file}: ended while it was read")
        return buffer.view(self.dtype).as_strided(self.shape, self.stride).contiguous()


def read_header(file: Path, *, suffix: str | None = None) -> dict[str, Any]:
    """The content of a weight file with a ``StoredTensor`` for every tensor, nested as in the file.

    ``suffix`` tells the format (``.safetensors``, else torch) of a file that does not bear its name yet.
    Raises ``IncompatibleCheckpointError`` naming the file if it is truncated, damaged, of another format, or
    holds anything but tensors, containers and plain values, and ``LipForcingError`` if this version of torch
    cannot tell where in a torch file the values lie.
    """
    with open(file, "rb") as stream:
        magic = stream.read(len(_ZIP_MAGIC))
    if (suffix or file.suffix) == ".safetensors":
        return _read_safetensors_header(file)
    content = _torch_load(file, "meta" if magic == _ZIP_MAGIC else "cpu")
    if not isinstance(content, Mapping):
        raise IncompatibleCheckpointError(f"{file}: holds a {type(content).__name__}, not named tensors")
    return {str(name): _describe(value, file) for name, value in content.items()}


def safetensors_header(tensors: Mapping[str, tuple[torch.dtype, tuple[int, ...]]]) -> bytes:
    """The first bytes of a safetensors file whose data follow in the order of ``tensors``, without gaps.

    Raises ``IncompatibleCheckpointError`` for a type that the format does not know.
    """
    names = {dtype: name for name, dtype in DTYPES.items()}
    entries: dict[str, Any] = {"__metadata__": {"format": "pt"}}  # transformers refuses files without it
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
        entries = json.loads(text)
        entries.pop("__metadata__", None)
        tensors = {name: _safetensor(file, 8 + length, entry) for name, entry in entries.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise IncompatibleCheckpointError(f"{file}: its safetensors header is damaged ({error})") from error
    end = 8 + length
    for name, tensor in sorted(tensors.items(), key=lambda item: (item[1].start, item[1].span)):
        if tensor.start != end:
            raise IncompatibleCheckpointError(f"{file}: its safetensors header is damaged (place of {name})")
        end += tensor.span
    if end != size:
        state = "truncated" if size < end else "too long"
        raise IncompatibleCheckpointError(f"{file}: {state}, {size} bytes where its header says {end}")
    return tensors


def _safetensor(file: Path, data_start: int, entry: Mapping[str, Any]) -> StoredTensor:
    shape = tuple(entry["shape"])
    if not all(isinstance(size, int) and size >= 0 for size in shape):
        raise ValueError(f"shape {list(shape)}")
    stride = tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))
    start, end = entry["data_offsets"]
    tensor = StoredTensor(
        file=file, shape=shape, dtype=DTYPES[entry["dtype"]], start=data_start + start, stride=stride
    )
    if end - start != tensor.nbytes:
        raise ValueError(f"{end - start} bytes for {list(shape)} {entry['dtype']}")
    return tensor


def _torch_load(file: Path, device: str) -> Any:
    try:
        return torch.load(file, map_location=device, weights_only=True)
    except pickle.UnpicklingError as error:
        raise IncompatibleCheckpointError(
            f"{file}: no weight file, or one that holds code or objects besides tensors, which are never run"
        ) from error
    except Exception as error:  # a damaged file raises whatever the reader met first, KeyError included
        problem = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise IncompatibleCheckpointError(f"{file}: truncated or damaged ({problem})") from error


def _describe(content: Any, file: Path) -> Any:
    if isinstance(content, Tensor):
        return _stored_tensor(content, file)
    if isinstance(content, Mapping):
        return {str(name): _describe(value, file) for name, value in content.items()}
    return content


def _stored_tensor(tensor: Tensor, file: Path) -> StoredTensor:
    if tensor.layout is not torch.strided or tensor.is_quantized:
        raise IncompatibleCheckpointError(
            f"{file}: holds a sparse or quantised tensor, which is not supported"
        )
    start: int | None = None
    values: Tensor | None = None
    if tensor.is_meta:  # torch notes where in the file the values of a tensor on the meta device would lie
        storage_start: Any = getattr(tensor.untyped_storage(), "_checkpoint_offset", None)  # a private note
        if storage_start is None:
            raise LipForcingError(
                f"{file}: torch {torch.__version__} no longer tells where in a file its tensors lie. Convert the file "
                "to safetensors (`lipforcing weights convert`) with torch 2.13, or install that version"
            )
        start = int(storage_start + tensor.storage_offset() * tensor.dtype.itemsize)
    else:
        values = tensor.detach()
    return StoredTensor(
        file=file,
        shape=tuple(tensor.shape),
        dtype=tensor.dtype,
        start=start,
        stride=tensor.stride(),
        values=values,
    )
