"""What a user may name as weights: a registered checkpoint, a file, a folder of shards, or a model bundle."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from lipforcing_core.base.errors import BadInputError, IncompatibleCheckpointError
from lipforcing_core.checkpoints.networks import Wanted, wanted_by
from lipforcing_core.weights.checkpoint import INDEX_SUFFIX, Checkpoint, holds_no_containers
from lipforcing_core.weights.keymaps import adapter_key, find_key_map, is_foreign_adapter
from lipforcing_core.weights.registry import (
    all_weights,
    find_weight,
    require_all_weights,
    require_weights,
)
from lipforcing_core.weights.spec import WeightSpec

_OTHER_KINDS = {
    ".dora_scale": "a DoRA adapter (lengths that are learned apart)",
    ".hada_w": "a LoHa adapter",
    ".lokr_w": "a LoKr adapter",
    ".lora_mid.": "a LoRA adapter of convolutions in three parts",
    ".oft_": "an OFT adapter",
    ".diff_b": "an adapter that holds whole differences",
}
"""Parts of names that other kinds of adapters have, and what they are."""
_PEFT_FILES = ("adapter_model.safetensors", "adapter_model.bin")


@dataclass(frozen=True, kw_only=True)
class Source:
    """Files that hold tensors; ``spec`` where they are registered weights."""

    files: list[Path]
    spec: WeightSpec | None = None

    @cached_property
    def wanted(self) -> Wanted | None:
        """What the files must hold; None for files that no network here is known to read."""
        return wanted_by(self.spec) if self.spec else None

    def open(self, *, root: str | None = None, key_map: str | None = None) -> Checkpoint:
        """The checkpoint under this project's names.

        Registered weights bring their root, key map and network, and their names and shapes are checked; ``root``
        and ``key_map`` say more of others. Raises ``IncompatibleCheckpointError`` for what does not fit, and
        ``BadInputError`` for a root or key map where there is none to choose.
        """
        if self.spec and (root or key_map):
            raise BadInputError(
                f"{self.spec.name} has its own key map and root: leave out --key-map and --root"
            )
        if root and any(holds_no_containers(file) for file in self.files):
            raise BadInputError(f"{self.files[0]}: safetensors files hold no containers: leave out --root")
        wanted = self.wanted
        if wanted is not None:
            checkpoint = wanted.check(self.files)
            return checkpoint.renamed(wanted.key_map) if wanted.key_map else checkpoint
        checkpoint = Checkpoint.open(self.files, root=root)
        return checkpoint.renamed(find_key_map(key_map)) if key_map else checkpoint

    def open_adapter(self, *, root: str | None = None) -> Checkpoint:
        """The checkpoint of a LoRA adapter, with the names that peft and trainers give it mapped to ours.

        An alpha that it keeps for a layer is ``LAYER.alpha``. Raises ``IncompatibleCheckpointError`` also for an
        adapter of another kind than A and B, naming what it is.
        """
        checkpoint = self.open(root=root)
        if self.spec:
            return checkpoint
        for name in checkpoint.tensors:
            for part, kind in _OTHER_KINDS.items():
                if part in name:
                    raise IncompatibleCheckpointError(
                        f"{checkpoint.label}: {name} belongs to {kind}, which cannot be merged here: let the tool that "
                        "made it merge it"
                    )
        return checkpoint.renamed(adapter_key)

    def is_foreign_adapter(self, *, root: str | None = None) -> bool:
        """Whether ComfyUI, diffusers or kohya named the tensors of this adapter."""
        return not self.spec and any(is_foreign_adapter(name) for name in self.open(root=root).tensors)


def find_source(text: str, weights_dir: Path, *, kind: str | None = None) -> Source:
    """Weights by registered name or by path; ``kind`` names the registered weights that a file is a copy of.

    A folder stands for the shards of its ``*.safetensors.index.json``, for the ``model.safetensors`` of a model
    bundle, for the ``adapter_model`` that peft writes, or for its one weight file (hidden
    ones do not count, which killed writers leave). Raises ``MissingWeightsError`` for registered weights that are not
    here, and ``BadInputError`` for what is neither and for a kind whose files no network here reads.
    """
    if text in {spec.name for spec in all_weights()} and kind is None:
        registered = find_weight(text)
        require_weights(text, weights_dir)
        files = registered.tensor_files(weights_dir)
        if not files:
            raise BadInputError(f"{text} is no checkpoint of tensors ({Path(registered.file).name})")
        return Source(files=files, spec=registered)
    path = Path(text)
    if not path.exists():
        raise BadInputError(
            f"{text} is neither a file or folder nor registered weights (`lipforcing weights list`)"
        )
    spec = find_weight(kind) if kind else None
    if spec is not None and spec.network is None:
        raise BadInputError(
            f"no network of this project reads {kind}, so nothing can be checked: leave out --kind"
        )
    return Source(files=_weight_files(path) if path.is_dir() else [path], spec=spec)


def require_sources(texts: Iterable[str], weights_dir: Path) -> None:
    """Raise one ``MissingWeightsError`` for all registered weights among ``texts`` that are not here."""
    registered = {spec.name for spec in all_weights()}
    require_all_weights([text for text in texts if text in registered], weights_dir)


def _weight_files(folder: Path) -> list[Path]:
    indexes = sorted(folder.glob(f"[!.]*{INDEX_SUFFIX}"))
    if len(indexes) == 1:
        return indexes
    for name in ("model.safetensors", *_PEFT_FILES):
        if (folder / name).is_file():
            return [folder / name]
    found = [
        file
        for suffix in ("safetensors", "pth", "pt", "bin")
        for file in sorted(folder.glob(f"[!.]*.{suffix}"))
    ]
    if len(found) != 1:
        raise BadInputError(f"{folder} holds {len(found)} weight files and no index of shards: name the file")
    return found
