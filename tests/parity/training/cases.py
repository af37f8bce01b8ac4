"""Reading the training vectors: one case with its settings, inputs, results and tolerances."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.parity.filler import Tensors, Vectors, assert_close, load_vectors


@dataclass(frozen=True)
class Case:
    """One case of a set. ``data``: its tensors, as ``in.NAME`` and ``out.NAME``."""

    settings: dict[str, Any]
    config: dict[str, Any]
    data: Tensors
    tolerances: dict[str, dict[str, Any]]

    def close(self, got: Tensor | float, name: str) -> None:
        """Compare with ``out.NAME``: exactly where it is whole numbers, within its tolerance otherwise."""
        want = self.data[f"out.{name}"]
        got = torch.as_tensor(got).detach()
        what = f"{self.settings['name']} {name}"
        if not want.is_floating_point():
            assert torch.equal(got, want), f"{what}: {got.tolist()}, expected {want.tolist()}"
            return
        assert_close(got, want, self.tolerances[f"{self.settings['name']}.out.{name}"]["atol"], what)

    def outputs(self, prefix: str) -> list[str]:
        """The names of the results that begin so, without ``out.``."""
        names = (name.removeprefix("out.") for name in self.data if name.startswith("out."))
        return [name for name in names if name.startswith(prefix)]

    def done(self) -> None:
        """Every stored result was looked at."""
        self.data.assert_all_checked(self.settings["name"])


def vectors_of(parity_dir: Path, folder: str) -> Vectors:
    """A set of the training vectors, below ``training`` or at the top; skips where it is absent."""
    below = parity_dir / "training"
    return load_vectors(below if below.is_dir() else parity_dir, folder)


def case(vectors: Vectors, name: str) -> Case:
    """A case by its name; skips the test where the vectors have none of that name."""
    found = vectors.cases(name=name)
    if not found:
        pytest.skip(f"the vectors of {vectors.folder.name} have no case {name}")
    return Case(found[0], vectors.meta["config"], vectors.of(name), vectors.meta["tensors"])


def all_cases(vectors: Vectors) -> list[Case]:
    """Every case of a set; there must be one."""
    names = [entry["name"] for entry in vectors.meta["cases"]]
    owners = {*names, *(entry.get("inputs_of_case", entry["name"]) for entry in vectors.meta["cases"])}
    strays = [name for name in vectors.tensors if not name.startswith(tuple(f"{owner}." for owner in owners))]
    assert not strays, f"{vectors.folder.name} holds tensors of no case: {strays[:5]}"
    assert names, f"the vectors of {vectors.folder.name} have no cases"
    return [case(vectors, name) for name in names]
