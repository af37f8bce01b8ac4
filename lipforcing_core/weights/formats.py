"""What a weight file holds, read from its header: safetensors, and the files of ``torch.save``.

Nothing here maps a file into memory: mapped pages count against the process, a mapping larger than the
machine's memory may be refused, and a file that shrinks under a mapping kills the process. Tensors are read
with plain reads, one at a time. Code in a file is never run (``weights_only``).

The safetensors format: 8 bytes little-endian length of the header, the header as JSON
(``name: {dtype, shape, data_offsets}``, offsets from the end of the header), then the data without gaps.

A file of ``torch.save`` is a zip of one folder: ``data.pkl``, which describes the tensors, and a record ``data/<key>``
for every storage. Where a record lies and how long it is, the zip says. Which record a tensor has, torch's reader says:
it is given a stand-in, a zip in memory with the same ``data.pkl`` and empty records, and notes for every tensor the
place of its record there.
"""

from __future__ import annotations

import json
import math
import os
import pickle
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import Any, BinaryIO, TypeGuard
from zipfile import ZIP_STORED, ZipFile

import torch
from torch import Tensor

from lipforcing_core.base.errors import IncompatibleCheckpointError, LipForcingError

DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8,
    "BOOL": torch.bool,
}  # fmt: skip
"""The type names of safetensors."""

_LARGEST_HEADER = 100_000_000  # bytes, as in the safetensors library
_LARGEST_PICKLE = 1 << 28  # bytes; that of a large model is less than a megabyte
_LARGEST_REPEATED = 1 << 28  # bytes of a tensor that repeats the values it has in the file
_LARGEST_COUNT = (1 << 63) - 1  # that torch can count to
_DEEPEST = 64  # containers within each other
_MOST_ENTRIES = 1_000_000  # in all containers of a file
_LONGEST_NAME = 300  # characters
_ZIP_MAGIC = b"PK\x03\x04"
_LOCAL_HEADER = 30  # bytes of a zip's header before each record, without the name and the extra field

_NO_VALUES = "tensors without values, saved from the meta device"
_UNSUPPORTED = {
    b"_rebuild_meta_tensor_no_storage": _NO_VALUES,
    b"_rebuild_nested_tensor": "a nested tensor, which is not supported",
    b"_rebuild_qtensor": "a quantised tensor, which is not supported",
    b"_rebuild_sparse_tensor": "a sparse tensor, which is not supported",
}
"""How ``data.pkl`` names tensors that have no plain values, and what they are."""


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
    Raises ``IncompatibleCheckpointError`` naming the file if it is truncated, damaged, compressed, of another format,
    or holds anything but tensors, containers and plain values, and ``LipForcingError`` if this version of torch
    cannot tell which values in a torch file are whose. All values are in the file, as long as it does not change.
    """
    with open(file, "rb") as stream:
        magic = stream.read(len(_ZIP_MAGIC))
    if (suffix or file.suffix) == ".safetensors":
        return _read_safetensors_header(file)
    records: dict[int, _Record] = {}
    if magic == _ZIP_MAGIC:
        stand_in, records = _read_torch_zip(file)
        content = _torch_load(stand_in, file, "meta")
    else:
        content = _torch_load(file, file, "cpu")
    if not isinstance(content, Mapping):
        raise IncompatibleCheckpointError(f"{file}: holds a {type(content).__name__}, not named tensors")
    described: dict[str, Any] = _Description(file, records).of(content)
    return described


def shown(name: str) -> str:
    """A name from a file as messages and terminals can bear it: escaped if not printable, shortened if long."""
    plain = name if name.isprintable() else ascii(name)
    return plain if len(plain) <= _LONGEST_NAME else f"{plain[:80]}... ({len(name)} characters)"


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


@dataclass(frozen=True)
class _Record:
    """Where the bytes of a record of a zip lie in its file."""

    start: int
    size: int


def _read_torch_zip(file: Path) -> tuple[BinaryIO, dict[int, _Record]]:
    """The stand-in of a torch zip (see above), and its records by their places in the stand-in."""
    with open(file, "rb") as stream:
        try:
            records = _records(stream, file)
        except IncompatibleCheckpointError:
            raise
        except Exception as error:  # what a damaged zip makes the reader meet
            raise _damaged(file, error) from error
        order = _content(stream, records["byteorder"]) if "byteorder" in records else b"little"
        if order != b"little":
            raise IncompatibleCheckpointError(
                f"{file}: its values are not little-endian: load it with torch and save it again"
            )
        if records["data.pkl"].size > _LARGEST_PICKLE:
            raise IncompatibleCheckpointError(
                f"{file}: no weight file, its data.pkl is larger than any model's"
            )
        pickled = _content(stream, records["data.pkl"])
    for function, kind in _UNSUPPORTED.items():
        if function in pickled:
            raise IncompatibleCheckpointError(f"{file}: holds {kind}")
    stand_in, places = BytesIO(), {}
    with ZipFile(stand_in, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/version", "3\n")
        for name, record in records.items():
            if name.startswith("data/"):
                archive.writestr(f"archive/{name}", b"")
                places[stand_in.tell()] = record
    stand_in.seek(0)
    return stand_in, places


def _records(stream: BinaryIO, file: Path) -> dict[str, _Record]:
    """The records in the folder of ``data.pkl``, by name; nothing in them is read."""
    size = os.fstat(stream.fileno()).st_size
    records: dict[str, _Record] = {}
    with ZipFile(stream) as archive:
        entries = [entry for entry in archive.infolist() if not entry.is_dir()]
        folders = [f for f, slash, name in (e.filename.partition("/") for e in entries) if name == "data.pkl"]
        if len(folders) != 1:
            raise IncompatibleCheckpointError(f"{file}: a zip, but not one of torch.save")
        if any(entry.filename == f"{folders[0]}/constants.pkl" for entry in entries):
            raise IncompatibleCheckpointError(
                f"{file}: a TorchScript archive, whose code is never run: save the state_dict() of its module"
            )
        if min(entry.header_offset for entry in archive.infolist()) != 0:
            raise IncompatibleCheckpointError(
                f"{file}: truncated or damaged (it begins with no record of its zip)"
            )
        for entry in entries:
            folder, _, name = entry.filename.partition("/")
            if folder != folders[0]:
                continue
            if entry.compress_type != ZIP_STORED:
                raise IncompatibleCheckpointError(
                    f"{file}: was compressed after it was saved: load it with torch and save it again"
                )
            with archive.open(entry):  # checks the header before the record
                pass
            stream.seek(entry.header_offset)
            header = stream.read(_LOCAL_HEADER)
            lengths = int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
            record = _Record(entry.header_offset + _LOCAL_HEADER + lengths, entry.file_size)
            if name in records or record.start + record.size > size:
                raise IncompatibleCheckpointError(f"{file}: truncated or damaged (place of {shown(name)})")
            records[name] = record
    return records


def _content(stream: BinaryIO, record: _Record) -> bytes:
    stream.seek(record.start)
    return stream.read(record.size)


def _torch_load(source: BinaryIO | Path, file: Path, device: str) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what torch says of old formats, and of what it then refuses
            return torch.load(source, map_location=device, weights_only=True, mmap=False)
    except pickle.UnpicklingError as error:
        raise IncompatibleCheckpointError(
            f"{file}: no weight file, or one that holds code or objects besides tensors, which are never run"
        ) from error
    except Exception as error:  # a damaged file raises whatever the reader met first, KeyError included
        raise _damaged(file, error) from error


def _damaged(file: Path, error: Exception) -> IncompatibleCheckpointError:
    words = str(error).split("\n")[0].split(". ")[0] or type(error).__name__
    return IncompatibleCheckpointError(f"{file}: truncated or damaged ({shown(words)})")


@dataclass
class _Description:
    """Turns the content of a torch file into containers of ``StoredTensor``."""

    file: Path
    records: Mapping[int, _Record]
    entries: int = field(default=0, init=False)

    def of(self, content: Any, depth: int = 0) -> Any:
        if isinstance(content, Tensor):
            return self._tensor(content)
        if not isinstance(content, Mapping):
            return content
        self.entries += len(content)
        if depth == _DEEPEST or self.entries > _MOST_ENTRIES:
            raise IncompatibleCheckpointError(
                f"{self.file}: no weight file, its containers hold themselves, are nested more than {_DEEPEST} deep, "
                f"or hold more than {_MOST_ENTRIES} entries"
            )
        described: dict[str, Any] = {}
        for key, value in content.items():
            name = str(key)
            if name in described:
                raise IncompatibleCheckpointError(f"{self.file}: two keys are both called {shown(name)}")
            described[name] = self.of(value, depth + 1)
        return described

    def _tensor(self, tensor: Tensor) -> StoredTensor:
        if tensor.layout is not torch.strided or tensor.is_quantized:
            raise IncompatibleCheckpointError(
                f"{self.file}: holds a sparse or quantised tensor, which is not supported"
            )
        if tensor.is_conj() or tensor.is_neg():
            raise IncompatibleCheckpointError(
                f"{self.file}: holds a tensor that is yet to be conjugated, which is not supported"
            )
        described = StoredTensor(
            file=self.file,
            shape=tuple(tensor.shape),
            dtype=tensor.dtype,
            start=None,
            stride=tensor.stride(),
            values=None if tensor.is_meta else tensor.detach(),
        )
        if described.nbytes > max(described.span, _LARGEST_REPEATED):
            raise IncompatibleCheckpointError(
                f"{self.file}: holds a tensor of shape {list(described.shape)} that repeats {described.span} bytes"
            )
        if not tensor.is_meta:
            return described
        record, skipped = self._record(tensor), int(tensor.storage_offset()) * tensor.dtype.itemsize
        if described.span and skipped + described.span > record.size:
            raise IncompatibleCheckpointError(
                f"{self.file}: truncated or damaged ({record.size} bytes for {list(tensor.shape)} {tensor.dtype})"
            )
        return replace(described, start=record.start + skipped)

    def _record(self, tensor: Tensor) -> _Record:
        if not self.records:
            raise IncompatibleCheckpointError(f"{self.file}: holds {_NO_VALUES}")
        place: Any = getattr(tensor.untyped_storage(), "_checkpoint_offset", None)  # a private note of torch
        if place not in self.records:
            raise LipForcingError(
                f"{self.file}: torch {torch.__version__} no longer tells where in a file its tensors lie. Convert the "
                "file to safetensors (`lipforcing weights convert`) with torch 2.13, or install that version"
            )
        return self.records[place]
