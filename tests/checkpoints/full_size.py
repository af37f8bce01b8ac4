"""Files with the header of a full-size checkpoint and no data: sparse, so they take no space on the disk."""

from __future__ import annotations

import gzip
import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import torch

from lipforcing_core.weights.formats import safetensors_header

Shapes = Mapping[str, Sequence[int]]


def key_list(parity_dir: Path, name: str) -> dict[str, list[int]]:
    """Names and shapes of a public checkpoint; skips the test where the list is absent."""
    path = parity_dir / "keys" / f"{name}.json.gz"
    if not path.is_file():
        pytest.skip(f"no key list {name}")
    return json.loads(gzip.decompress(path.read_bytes()))


def write_sparse(
    path: Path, shapes: Shapes, dtype: torch.dtype = torch.bfloat16, *, root: str | None = None
) -> None:
    """A safetensors file, or a file of ``torch.save`` for any other suffix, of zeros that are not stored.

    ``root``: the key of the container in a torch file that holds the tensors.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    dtypes = {name: torch.int64 if name.endswith("num_batches_tracked") else dtype for name in shapes}
    if path.suffix == ".safetensors":
        header = safetensors_header({name: (dtypes[name], tuple(shape)) for name, shape in shapes.items()})
        path.write_bytes(header)
        os.truncate(
            path,
            len(header) + sum(math.prod(shape) * dtypes[name].itemsize for name, shape in shapes.items()),
        )
    else:
        with torch.serialization.skip_data():  # writes the headers and leaves holes for the values
            tensors = {n: torch.empty(list(s), dtype=dtypes[n], device="cpu") for n, s in shapes.items()}
            torch.save({root: tensors} if root else tensors, path)


def write_shards(paths: Sequence[Path], shapes: Shapes, *, root: str | None = None) -> None:
    """The tensors dealt out to several files."""
    names = sorted(shapes)
    for index, path in enumerate(paths):
        write_sparse(path, {name: shapes[name] for name in names[index :: len(paths)]}, root=root)
