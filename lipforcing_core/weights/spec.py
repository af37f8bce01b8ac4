"""What is registered of an external checkpoint: its files, where they come from, their licence and their use."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lipforcing_core.base.errors import IncompatibleCheckpointError
from lipforcing_core.base.products import file_sha256


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
