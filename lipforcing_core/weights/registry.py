"""The registry of external checkpoints: what each is, where it comes from, and whether it is here."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from lipforcing_core.base.errors import BadInputError, IncompatibleCheckpointError, MissingWeightsError
from lipforcing_core.base.products import file_sha256
from lipforcing_core.weights.missing import Missing, require_none


@dataclass(frozen=True, kw_only=True)
class WeightFile:
    """One file of a checkpoint; ``path`` is relative to the weights folder, ``size`` in bytes.

    ``sha256`` or its first digits ``sha256_prefix`` are given where they are known for certain. ``tensors`` is
    False for a file that holds none of the network's (a tokenizer, an ONNX graph, an index). ``use`` says what this
    file of a pack is for; one that is not ``needed`` may be left out.
    """

    path: str
    url: str | None = None
    sha256: str | None = None
    sha256_prefix: str | None = None
    size: int | None = None
    tensors: bool = True
    use: str | None = None
    needed: bool = True

    @property
    def expected_hash(self) -> str | None:
        """The hash or its first digits, None where neither is known."""
        return self.sha256 or self.sha256_prefix

    def check_size(self, path: Path) -> None:
        """Raise ``IncompatibleCheckpointError`` if the file at ``path`` has not the registered size."""
        size = path.stat().st_size
        if self.size is not None and size != self.size:
            raise IncompatibleCheckpointError(f"{path}: {size} bytes, expected {self.size}")

    def check_content(self, path: Path) -> None:
        """Raise ``IncompatibleCheckpointError`` if the file at ``path`` has not the registered size and hash."""
        self.check_size(path)
        if self.expected_hash is not None:
            digest = file_sha256(path)
            if not digest.startswith(self.expected_hash):
                raise IncompatibleCheckpointError(
                    f"{path}: sha256 is {digest}, expected {self.expected_hash}"
                )


@dataclass(frozen=True, kw_only=True)
class WeightSpec:
    """One checkpoint: name, files, origin, licence and use; see the head of ``registry.toml``."""

    name: str
    files: tuple[WeightFile, ...]
    source: str
    page: str
    size_mb: float
    licence: str
    commercial_ok: bool
    used_by: str
    archive: str | None = None
    network: str | None = None
    key_map: str | None = None
    root: str | None = None
    lora_alpha: float | None = None

    @property
    def file(self) -> str:
        """The first file, relative to the weights folder."""
        return self.files[0].path

    @property
    def url(self) -> str:
        """Where to get it: the address of the one file, or the page of several."""
        return (self.files[0].url if len(self.files) == 1 else None) or self.archive or self.page

    @property
    def fetchable(self) -> bool:
        """Whether every file has a direct address."""
        return self.archive is not None or all(file.url for file in self.files)

    def path(self, weights_dir: Path) -> Path:
        """Where the first file is expected under ``weights_dir``."""
        return weights_dir / self.file

    def paths(self, weights_dir: Path) -> list[Path]:
        """Where all files are expected."""
        return [weights_dir / file.path for file in self.files]

    def missing(self, weights_dir: Path) -> list[Path]:
        """Where needed files are expected and are not."""
        return [
            path
            for file, path in zip(self.files, self.paths(weights_dir), strict=True)
            if file.needed and not path.is_file()
        ]

    def tensor_files(self, weights_dir: Path) -> list[Path]:
        """The files that hold tensors of the network, as ``load_network`` takes them."""
        return [weights_dir / file.path for file in self.files if file.tensors]

    def how_to_get(self, weights_dir: Path | None = None) -> str:
        """One sentence: the command or the page, size, licence and place; without a folder, to give the file's path."""
        what = ", ".join(Path(file.path).name for file in self.files[:2])
        more = f" and {len(self.files) - 2} more" if len(self.files) > 2 else ""
        accept = "" if self.commercial_ok else " --accept-licence"
        command = f"with `lipforcing weights fetch {self.name}{accept}` or " if self.fetchable else ""
        then = "give its path" if weights_dir is None else f"put it into {self.path(weights_dir).parent}"
        return (
            f"get {what}{more} ({self.size_mb:g} MB; licence: {self.licence}) {command}by hand from {self.url} "
            f"({self.source}), and {then}"
        )

    def without_address(self, weights_dir: Path | None) -> str:
        """One sentence for a checkpoint that is not ``fetchable``: where a person gets it."""
        return f"{self.name} has no direct address: {self.how_to_get(weights_dir)}"


class WeightState(StrEnum):
    """What a look at the folder tells of a checkpoint."""

    MISSING = "missing"
    PARTIAL = "partly here"
    PRESENT = "present"
    WRONG_SIZE = "wrong size"


@lru_cache(maxsize=1)
def all_weights() -> tuple[WeightSpec, ...]:
    """Every registered checkpoint, in the order of the registry file."""
    text = files(__package__).joinpath("registry.toml").read_text(encoding="utf-8")
    return tuple(_spec(entry) for entry in tomllib.loads(text)["weight"])


def find_weight(name: str) -> WeightSpec:
    """The spec called ``name``; raises ``BadInputError`` that lists the known names."""
    for spec in all_weights():
        if spec.name == name:
            return spec
    known = ", ".join(spec.name for spec in all_weights())
    raise BadInputError(f"unknown weights {name!r}; known: {known}")


def state_of(spec: WeightSpec, weights_dir: Path) -> WeightState:
    """Whether the files are there, with the sizes that are registered. Contents are not read (see ``verify``)."""
    here = [
        (file, path) for file, path in zip(spec.files, spec.paths(weights_dir), strict=True) if path.is_file()
    ]
    if not here:
        return WeightState.MISSING
    if any(file.size not in (None, path.stat().st_size) for file, path in here):
        return WeightState.WRONG_SIZE
    return WeightState.PARTIAL if spec.missing(weights_dir) else WeightState.PRESENT


def require_weight(name: str, weights_dir: Path) -> Path:
    """First file of a checkpoint that is here; raises ``MissingWeightsError`` saying how to get it otherwise."""
    return require_weights(name, weights_dir)[0]


def given_weight(name: str, given: Path | None, *, instead: str | None = None) -> Path:
    """``given``, the path that a user named for the file of the registered weights ``name``.

    Raises ``MissingWeightsError`` where it is None or not there, saying how to get the file and that ``instead``
    (another setting, where there is one) needs none.
    """
    if given is None or not Path(given).is_file():
        raise MissingWeightsError(missing_given(find_weight(name), given, instead=instead).sentence)
    return Path(given)


def missing_given(
    spec: WeightSpec, given: Path | None, *, instead: str | None = None, setting: str = ""
) -> Missing:
    """What is said of a file that a user must name, and has not, or that is not where the user says.

    instead: another choice, which needs no file. setting: what takes the path.
    """
    problem = "no file was given" if given is None else f"{given} does not exist"
    otherwise = f"; or use {instead!r}, which needs no file" if instead else ""
    return Missing(
        sentence=f"{spec.name}: {problem}: {spec.how_to_get()}{otherwise}",
        paths=() if given is None else (given,),
        spec=spec,
        setting=setting,
        stand_in=instead,
    )


def missing_in(weights_dir: Path, spec: WeightSpec) -> list[Missing]:
    """What is said of needed files of a checkpoint that are not in the weights folder; empty where all are."""
    paths = spec.missing(weights_dir)
    if not paths:
        return []
    how = spec.how_to_get(weights_dir)
    sentence = f"{spec.name} is needed ({spec.used_by}) and {paths[0]} does not exist: {how}"
    return [Missing(sentence=sentence, paths=tuple(paths), spec=spec, folder=weights_dir)]


def require_weights(name: str, weights_dir: Path) -> list[Path]:
    """Where all files of a checkpoint are; raises ``MissingWeightsError`` with how to get it if a needed one is not."""
    spec = find_weight(name)
    require_none(missing_in(weights_dir, spec))
    return spec.paths(weights_dir)


def require_all_weights(names: Iterable[str], weights_dir: Path | None) -> None:
    """Raise one ``MissingWeightsError`` for all needed files of these checkpoints that are not in the folder.

    Of one checkpoint it says what ``require_weights`` does, of several what ``missing.require_none`` does. A folder
    must be given only where there are names.
    """
    specs = [find_weight(name) for name in dict.fromkeys(names)]
    if not specs:
        return
    if weights_dir is None:
        needed = ", ".join(spec.name for spec in specs)
        raise MissingWeightsError(f"{needed} must be downloaded, and no weights folder was given")
    require_none([missing for spec in specs for missing in missing_in(weights_dir, spec)])


def _spec(entry: dict[str, Any]) -> WeightSpec:
    return WeightSpec(**(entry | {"files": tuple(WeightFile(**file) for file in entry["files"])}))
