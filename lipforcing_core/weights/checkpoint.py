"""A checkpoint of one file or many: names, shapes and types at once, values one tensor at a time."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from lipforcing_core.base.errors import BadInputError, IncompatibleCheckpointError, MissingWeightsError
from lipforcing_core.base.user_file import read_json_value, require_regular
from lipforcing_core.weights.formats import read_header
from lipforcing_core.weights.stored import StoredTensor, shown

INDEX_SUFFIX = ".safetensors.index.json"


class Checkpoint:
    """Named tensors on disk, as their headers describe them.

    ``tensors`` maps every name to its shape, type and place. ``label`` names the files in messages.
    """

    def __init__(self, tensors: Mapping[str, StoredTensor], label: str) -> None:
        self.tensors = dict(tensors)
        self.label = label

    @classmethod
    def open(cls, files: Path | Sequence[Path], *, root: str | None = None) -> Checkpoint:
        """Read the headers of a file, of several shards, or of those that a ``*.safetensors.index.json`` lists.

        ``root`` is the key of the container that holds the tensors (``params``; ``model/net`` for nested
        ones), None where they lie at the top. In safetensors files they always do, whatever ``root`` says.
        Raises ``MissingWeightsError`` for a file that is not there and ``IncompatibleCheckpointError`` for one that
        is truncated, damaged, foreign, or without that root; then it names the roots that the file has.
        """
        paths = [Path(files)] if isinstance(files, str | Path) else [Path(file) for file in files]
        if not paths:
            raise IncompatibleCheckpointError("a checkpoint of no files")
        shards = [shard for path in paths for shard in _shards(path)]
        tensors: dict[str, StoredTensor] = {}
        for shard in shards:
            inside = None if holds_no_containers(shard) else root
            for name, tensor in _below_root(read_header(shard), inside, shard).items():
                if name in tensors:
                    raise IncompatibleCheckpointError(f"{shard}: {name} is in {tensors[name].file} as well")
                tensors[name] = tensor
        label = str(paths[0]) if len(paths) == 1 else f"{paths[0]} (first of {len(paths)} files)"
        return cls(tensors, label)

    def values(self, names: Collection[str] | None = None) -> Iterator[tuple[str, Tensor]]:
        """Names and values, of all tensors or of ``names``: in the order of the files, one file open at a time."""
        wanted = self.tensors.keys() if names is None else names
        by_file: dict[Path, list[str]] = {}
        for name in wanted:
            by_file.setdefault(self.tensors[name].file, []).append(name)
        for file, members in by_file.items():
            with open(file, "rb") as stream:
                for name in sorted(members, key=lambda name: self.tensors[name].start or 0):
                    yield name, self.tensors[name].read(stream)

    def renamed(self, key_map: Callable[[str], str | None]) -> Checkpoint:
        """The same tensors under other names; None leaves one out. ``IncompatibleCheckpointError`` for a clash."""
        tensors: dict[str, StoredTensor] = {}
        for name, tensor in self.tensors.items():
            target = key_map(name)
            if target is None:
                continue
            if target in tensors:
                raise IncompatibleCheckpointError(
                    f"{tensor.file}: {name} and another tensor are both {target}"
                )
            tensors[target] = tensor
        return Checkpoint(tensors, self.label)

    def value(self, name: str) -> Tensor:
        """The values of one tensor."""
        with open(self.tensors[name].file, "rb") as stream:
            return self.tensors[name].read(stream)


def holds_no_containers(path: Path) -> bool:
    """Whether the file is one of safetensors, or an index of such, which hold tensors at the top only."""
    return path.suffix == ".safetensors" or path.name.endswith(INDEX_SUFFIX)


def _shards(path: Path) -> list[Path]:
    if not path.exists():
        raise MissingWeightsError(f"{path} does not exist")
    require_regular(path)
    if not path.name.endswith(INDEX_SUFFIX):
        return [path]
    try:
        index = read_json_value(path)
    except BadInputError as error:
        raise IncompatibleCheckpointError(f"{path}: not an index of safetensors shards, nor JSON") from error
    files = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(files, dict) or not all(isinstance(name, str) for name in files.values()):
        raise IncompatibleCheckpointError(
            f"{path}: not an index of safetensors shards (it has no weight_map of names to files)"
        )
    shards = [path.parent / Path(name).name for name in sorted(set(files.values()))]
    for shard in shards:
        if not shard.is_file():
            raise MissingWeightsError(f"{shard} does not exist, and {path.name} lists it")
    return shards


def _below_root(whole: Mapping[str, Any], root: str | None, file: Path) -> dict[str, StoredTensor]:
    content = whole
    for key in root.split("/") if root else ():
        inner = content.get(key)
        if not isinstance(inner, Mapping):
            raise IncompatibleCheckpointError(
                f"{file}: has no {key!r} that holds the tensors ({_inside(content)}){_roots_in_words(whole, file)}"
            )
        content = inner
    foreign = sorted(name for name, value in content.items() if not isinstance(value, StoredTensor))
    if foreign:
        raise IncompatibleCheckpointError(
            f"{file}: {shown(foreign[0])} is not a tensor ({_inside(content)}){_roots_in_words(whole, file)}"
        )
    for name in content:
        if shown(name) != name:
            raise IncompatibleCheckpointError(f"{file}: {shown(name)} cannot be the name of a tensor")
    return dict(content)


def _roots_in_words(whole: Mapping[str, Any], file: Path) -> str:
    """Where in the file tensors lie, the place of most first, and how to name it; empty where there are none."""
    found = sorted(((shown(root), count) for root, count in _roots(whole).items()), key=lambda item: -item[1])
    if not found:
        return ""
    first, _ = found[0]
    if not first:
        return "; its tensors lie at the top, below no root"
    listed = ", ".join(f"{root} ({count})" for root, count in found[:3])
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    return (
        f"; tensors lie within {listed}{more}: name one with --root, as in "
        f"`lipforcing weights convert {file} --root {first} -o NEW.safetensors`"
    )


def _roots(content: Mapping[str, Any], path: str = "") -> dict[str, int]:
    """Every container of nothing but tensors that a root can name, and how many it holds."""
    if content and all(isinstance(value, StoredTensor) for value in content.values()):
        return {path: len(content)}
    found: dict[str, int] = {}
    for name, inner in content.items():
        if isinstance(inner, Mapping) and name and "/" not in name:
            found |= _roots(inner, f"{path}/{name}" if path else name)
    return found


def _inside(content: Mapping[str, Any]) -> str:
    names = sorted(content)
    return (
        "it holds "
        + ", ".join(shown(name) for name in names[:3])
        + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    )
