"""The golden vectors of the reference implementations: loading them, and the deterministic weights behind them.

No weights are stored. Each is computed from its checkpoint name by the rule in the README next to the
vectors, so any implementation can be given the same network.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn


class Tensors(dict[str, Tensor]):
    """Tensors by name, which remember those that were looked up."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__(tensors)
        self._used: set[str] = set()

    def __getitem__(self, name: str) -> Tensor:
        self._used.add(name)
        return super().__getitem__(name)

    def assert_all_checked(self, what: str) -> None:
        """Fails where a result was not looked up, and where there is none. Steps on the way (``mid``) may be."""
        results = {name for name in self if not name.startswith(("in.", "mid."))}
        assert results, f"{what}: no results are stored"
        assert results <= self._used, f"{what}: no test looks at {sorted(results - self._used)}"


@dataclass(frozen=True)
class Vectors:
    """One folder of vectors. Tensors are named ``CASE.in.NAME``, ``CASE.mid.NAME`` and ``CASE.out.NAME``."""

    folder: Path

    @cached_property
    def meta(self) -> dict[str, Any]:
        return json.loads((self.folder / "meta.json").read_text())

    @cached_property
    def tensors(self) -> dict[str, Tensor]:
        return {k: v for file in self.meta["files"] for k, v in load_file(self.folder / file).items()}

    def cases(self, **fields: object) -> list[dict[str, Any]]:
        """Cases whose entries equal all of ``fields``."""
        return [c for c in self.meta["cases"] if all(c.get(k) == v for k, v in fields.items())]

    def cases_of_kind(self, kind: str | None, *, known: Collection[str | None]) -> list[dict[str, Any]]:
        """Cases whose ``kind`` is this (None: those without one); skips the test where there are none.

        Fails where there is a kind that is not ``known`` to the tests of the component, and where there is no case.
        """
        kinds = {case.get("kind") for case in self.meta["cases"]}
        assert kinds, f"the vectors of {self.folder.name} have no cases"
        assert kinds <= set(known), (
            f"no test looks at cases of {self.folder.name} of kind {kinds - set(known)}"
        )
        if kind not in kinds:
            pytest.skip(f"the vectors of {self.folder.name} have no cases of kind {kind}, only {kinds}")
        return self.cases(kind=kind)

    def of(self, prefix: str) -> Tensors:
        """All tensors below ``prefix.``, without it."""
        below = {
            k.removeprefix(f"{prefix}."): v for k, v in self.tensors.items() if k.startswith(f"{prefix}.")
        }
        return Tensors(below)

    def outside_cases(self) -> dict[str, Tensor]:
        """The tensors that belong to no case."""
        prefixes = tuple(f"{case['name']}." for case in self.meta["cases"])
        return {name: tensor for name, tensor in self.tensors.items() if not name.startswith(prefixes)}


def load_vectors(parity_dir: Path, component: str) -> Vectors:
    """Vectors of a component; skips the test where they are absent."""
    folder = parity_dir / component
    if not (folder / "meta.json").is_file():
        pytest.skip(f"no parity vectors of {component}")
    return Vectors(folder)


def wave(name: str, count: int, kind: str) -> np.ndarray:
    """``sine`` or ``chirp`` of the README, float64."""
    i = np.arange(count, dtype=np.int64)
    angle = 0.001 * (zlib.crc32(name.encode()) % 100003) + 0.7 * i.astype(np.float64)
    if kind == "chirp":
        angle = angle + 0.37 * ((i * i) % 8191).astype(np.float64)
    return np.sin(angle)


def fill(name: str, shape: Iterable[int], kind: str) -> Tensor:
    """The parameter or buffer ``name`` in checkpoint naming, float32 (int64 for batch counters)."""
    shape = tuple(shape)
    last = name.rpartition(".")[2]
    if last == "num_batches_tracked":
        return torch.zeros(shape, dtype=torch.int64)
    s = wave(name, int(np.prod(shape)), kind).reshape(shape)
    if last == "running_mean":
        value = 0.05 * s
    elif last == "running_var":
        value = 1 + 0.5 * np.abs(s)
    elif last == "gamma" or (len(shape) == 1 and last == "weight"):
        value = 1 + 0.1 * s
    elif last == "modulation" and kind == "chirp":
        value = 0.5 * s
    elif len(shape) >= 2:
        gain = {"sine": 1.0, "chirp": 2.0}[kind]
        value = s * (gain / np.sqrt(s.size / shape[0]))
    elif len(shape) == 1:
        value = 0.02 * s
    else:
        value = s
    return torch.from_numpy(np.asarray(value, dtype=np.float32))


def filled_state(shapes: Mapping[str, Iterable[int]], kind: str) -> dict[str, Tensor]:
    """A state dict for ``shapes`` (checkpoint name -> shape)."""
    return {name: fill(name, shape, kind) for name, shape in shapes.items()}


def fill_module(module: nn.Module, shapes: Mapping[str, Iterable[int]], kind: str) -> None:
    """Load the weights strictly: names and shapes of the module must be exactly those listed."""
    module.load_state_dict(filled_state(shapes, kind), strict=True)


def assert_close(got: Tensor, want: Tensor, atol: float, what: str) -> None:
    """max|got - want| <= atol in float64; the message gives the excess in units of atol."""
    assert got.shape == want.shape, f"{what}: shape {tuple(got.shape)}, expected {tuple(want.shape)}"
    error = float((got.double() - want.double()).abs().max())
    assert error <= atol, f"{what}: differs by {error:.3g} = {error / atol:.2g} x atol"
