"""The registry of external checkpoints and the state of each on this machine."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

from lipforcing_core.errors import BadInputError, MissingWeightsError
from lipforcing_core.products import file_sha256


@dataclass(frozen=True, kw_only=True)
class WeightSpec:
    """One checkpoint: name, file relative to the weights folder, origin, licence and use."""

    name: str
    file: str
    source: str
    url: str
    size_mb: float
    licence: str
    commercial_ok: bool
    used_by: str
    sha256: str | None = None

    def path(self, weights_dir: Path) -> Path:
        """Where the file is expected under ``weights_dir``."""
        return weights_dir / self.file


class WeightState(StrEnum):
    """What is known of a checkpoint on this machine."""

    MISSING = "missing"
    PRESENT = "present, no public hash to check"
    VERIFIED = "verified"
    WRONG_HASH = "wrong hash"


@lru_cache(maxsize=1)
def all_weights() -> tuple[WeightSpec, ...]:
    """Every registered checkpoint, in the order of the registry file."""
    text = files(__package__).joinpath("registry.toml").read_text(encoding="utf-8")
    return tuple(WeightSpec(**entry) for entry in tomllib.loads(text)["weight"])


def find_weight(name: str) -> WeightSpec:
    """The spec called ``name``; raises ``BadInputError`` that lists the known names."""
    for spec in all_weights():
        if spec.name == name:
            return spec
    known = ", ".join(spec.name for spec in all_weights())
    raise BadInputError(f"unknown weights {name!r}; known: {known}")


def state_of(spec: WeightSpec, weights_dir: Path) -> WeightState:
    """Whether the file is there and, where a hash is registered, whether it is the right one."""
    path = spec.path(weights_dir)
    if not path.is_file():
        return WeightState.MISSING
    if spec.sha256 is None:
        return WeightState.PRESENT
    return WeightState.VERIFIED if file_sha256(path) == spec.sha256 else WeightState.WRONG_HASH


def require_weight(name: str, weights_dir: Path) -> Path:
    """Path of a checkpoint that is here; raises ``MissingWeightsError`` saying how to get it otherwise."""
    spec = find_weight(name)
    path = spec.path(weights_dir)
    if not path.is_file():
        raise MissingWeightsError(
            f"{spec.name} is needed ({spec.used_by}) and {path} does not exist. Get it from {spec.source}, "
            f"{spec.url} ({spec.size_mb:g} MB; licence: {spec.licence}), and put it there."
        )
    return path
