"""What a user may name as weights: a registered checkpoint, a file, a folder of shards, or a model bundle."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from lipforcing_core.errors import BadInputError, IncompatibleCheckpointError
from lipforcing_core.products import read_json
from lipforcing_core.weights.checkpoint import INDEX_SUFFIX, Checkpoint, holds_no_containers
from lipforcing_core.weights.keymaps import adapter_key, find_key_map
from lipforcing_core.weights.networks import Wanted, wanted_by
from lipforcing_core.weights.registry import WeightSpec, all_weights, find_weight, require_weights


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
        """The checkpoint of a LoRA adapter, with the names that peft and trainers give it mapped to ours."""
        checkpoint = self.open(root=root)
        return checkpoint if self.spec else checkpoint.renamed(adapter_key)


def find_source(text: str, weights_dir: Path, *, kind: str | None = None) -> Source:
    """Weights by registered name or by path; ``kind`` names the registered weights that a file is a copy of.

    A folder stands for the shards of its ``*.safetensors.index.json``, for the ``model.safetensors`` of a model
    bundle, or for its one weight file. Raises ``MissingWeightsError`` for registered weights that are not here and
    ``BadInputError`` for what is neither.
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
    return Source(files=_weight_files(path) if path.is_dir() else [path], spec=spec)


def adapter_alpha(adapter: Source, base: Source) -> float:
    """Alpha of an adapter: registered, in a ``config.json`` beside it, or in the preset of the base's bundle.

    Raises ``BadInputError`` if it stands nowhere.
    """
    if adapter.spec and adapter.spec.lora_alpha is not None:
        return adapter.spec.lora_alpha
    config = adapter.files[0].with_name("config.json")
    preset = base.files[0].with_name("preset.json")
    try:
        if config.is_file():
            return float(read_json(config)["lora_alpha"])
        if preset.is_file():
            return float(read_json(preset)["lora"]["alpha"])
    except (ValueError, KeyError, TypeError) as error:
        origin = config if config.is_file() else preset
        raise IncompatibleCheckpointError(f"{origin}: names no alpha of the adapter ({error!r})") from error
    raise BadInputError(
        f"the alpha of {adapter.files[0]} stands nowhere (no {config.name} beside it): give --alpha"
    )


def _weight_files(folder: Path) -> list[Path]:
    indexes = sorted(folder.glob(f"*{INDEX_SUFFIX}"))
    if len(indexes) == 1:
        return indexes
    if (folder / "model.safetensors").is_file():
        return [folder / "model.safetensors"]
    found = [
        file for suffix in ("safetensors", "pth", "pt", "bin") for file in sorted(folder.glob(f"*.{suffix}"))
    ]
    if len(found) != 1:
        raise BadInputError(f"{folder} holds {len(found)} weight files and no index of shards: name the file")
    return found
