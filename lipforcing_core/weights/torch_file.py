"""What a file of ``torch.save`` holds, read without running code in it (``weights_only``) and without its values.

Such a file is a zip of one folder: ``data.pkl``, which describes the tensors, and a record ``data/<key>`` for every
storage. Where a record lies and how long it is, the zip says. Which record a tensor has, torch's reader says: it is
given a stand-in, a zip in memory with the same ``data.pkl`` and empty records, and notes for every tensor the place of
its record there. Files older than torch 1.6 are no zips and are read whole.
"""

from __future__ import annotations

import os
import pickle
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO
from zipfile import ZIP_STORED, ZipFile

import torch
from torch import Tensor

from lipforcing_core.base.errors import IncompatibleCheckpointError, LipForcingError
from lipforcing_core.weights.stored import StoredTensor, shown

_LARGEST_PICKLE = 1 << 28  # bytes; that of a large model is less than a megabyte
_LARGEST_REPEATED = 1 << 28  # bytes of a tensor that repeats the values it has in the file
_DEEPEST = 64  # containers within each other
_MOST_ENTRIES = 1_000_000  # in all containers of a file
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


def read_torch_header(file: Path) -> dict[str, Any]:
    """The content of a file of ``torch.save`` with a ``StoredTensor`` for every tensor; errors as ``read_header``."""
    with open(file, "rb") as stream:
        magic = stream.read(len(_ZIP_MAGIC))
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
