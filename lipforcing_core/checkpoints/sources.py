"""What a user may name as weights: a registered checkpoint, a file, a folder of shards, or a model bundle."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from lipforcing_core.base.errors import BadInputError, IncompatibleCheckpointError
from lipforcing_core.base.products import read_json
from lipforcing_core.checkpoints.networks import Wanted, wanted_by
from lipforcing_core.weights.checkpoint import INDEX_SUFFIX, Checkpoint, holds_no_containers
from lipforcing_core.weights.keymaps import adapter_key, find_key_map
from lipforcing_core.weights.registry import (
    WeightSpec,
    all_weights,
    find_weight,
    require_all_weights,
    require_weights,
)

PEFT_CONFIG = "adapter_config.json"

_PEFT_FILES = ("adapter_model.safetensors", "adapter_model.bin")
_OTHER_SUMS = {
    "alpha_pattern": "other alphas for some layers",
    "use_dora": "weights whose lengths are learned apart",
    "fan_in_fan_out": "weights that are stored the other way round",
    "lora_bias": "a bias within the adapter",
    "use_qalora": "an adapter of pooled inputs",
    "use_bdlora": "an adapter in blocks",
    "kasa_config": "a base without its smallest singular values",
    "monteclora_config": "a sampled adapter",
    "alora_invocation_tokens": "an adapter of some tokens only",
    "arrow_config": "a choice among adapters by token",
    "layer_replication": "a base of repeated layers",
    "trainable_token_indices": "parts of an embedding",
}
"""Settings of peft that make an adapter something other than alpha / rank B A on every layer, and what it is then."""
_OTHER_BASES = ("pissa", "olora", "corda", "loftq", "lora_ga")
"""Ways to begin an adapter that change the base too (``init_lora_weights`` of peft), by how their names begin."""


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

        Raises ``IncompatibleCheckpointError`` also for one that keeps an alpha for every layer among its tensors.
        """
        checkpoint = self.open(root=root)
        if self.spec:
            return checkpoint
        checkpoint = checkpoint.renamed(adapter_key)
        for name in checkpoint.tensors:
            layer, _, leaf = name.rpartition(".")
            if leaf == "alpha" and f"{layer}.lora_A.weight" in checkpoint.tensors:
                raise IncompatibleCheckpointError(
                    f"{checkpoint.label}: {name} is the alpha of one layer, and here one alpha holds for all"
                )
        return checkpoint


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


def adapter_alpha(
    adapter: Source, base: Source, *, given: float | None = None, root: str | None = None
) -> float:
    """The alpha with which alpha / rank B A is what an adapter adds.

    It is ``given``, or registered, or stands beside the adapter in the ``adapter_config.json`` that peft writes or in a
    ``config.json``, or in the preset of the base's bundle. What else peft's file says holds for a given alpha too: with
    ``use_rslora`` the adapter adds alpha / sqrt(rank) B A, so alpha times sqrt(rank) is returned.

    root: key that holds the adapter's tensors. Raises ``BadInputError`` if alpha stands nowhere or none can be
    ``given``, and ``IncompatibleCheckpointError`` for an alpha that is none and, naming the setting, for an adapter of
    peft that is not one sum with one alpha.
    """
    if given is not None and not (math.isfinite(given) and given > 0):
        raise BadInputError(f"alpha {given:g}: must be a number above 0")
    if adapter.spec and adapter.spec.lora_alpha is not None:
        return adapter.spec.lora_alpha if given is None else given
    peft = adapter.files[0].with_name(PEFT_CONFIG)
    settings = _peft_settings(peft) if peft.is_file() else {}
    alpha = _stored_alpha(adapter, base) if given is None else given
    return alpha * math.sqrt(_one_rank(adapter, root, peft)) if settings.get("use_rslora") else alpha


def _stored_alpha(adapter: Source, base: Source) -> float:
    configs = [adapter.files[0].with_name(name) for name in (PEFT_CONFIG, "config.json")]
    places = [(config, ["lora_alpha"]) for config in configs]
    places.append((base.files[0].with_name("preset.json"), ["lora", "alpha"]))
    for file, keys in places:
        if not file.is_file():
            continue
        try:
            value = read_json(file)
            for key in keys:
                value = value[key]
            alpha = float(value)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise IncompatibleCheckpointError(f"{file}: names no alpha of the adapter ({error!r})") from error
        if not (math.isfinite(alpha) and alpha > 0):
            raise IncompatibleCheckpointError(f"{file}: alpha {alpha:g} of the adapter is no number above 0")
        return alpha
    raise BadInputError(
        f"the alpha of {adapter.files[0]} stands nowhere (no {' or '.join(config.name for config in configs)} beside "
        "it): give --alpha"
    )


def _peft_settings(file: Path) -> Mapping[str, Any]:
    """What peft says of its adapter; refuses what ``convert.plan_merge`` does not add up."""
    try:
        settings = read_json(file)
    except (ValueError, RecursionError) as error:
        raise IncompatibleCheckpointError(f"{file}: no settings of an adapter ({error})") from error
    if not isinstance(settings, Mapping):
        raise IncompatibleCheckpointError(f"{file}: no settings of an adapter")
    kind = settings.get("peft_type", "LORA")
    if kind != "LORA":
        raise IncompatibleCheckpointError(
            f"{file}: peft_type is {kind}, and only adapters LORA can be merged"
        )
    for key, meaning in _OTHER_SUMS.items():
        if settings.get(key):
            raise IncompatibleCheckpointError(
                f"{file}: {key} is set ({meaning}), which cannot be merged here: let peft merge it"
            )
    begun = settings.get("init_lora_weights")
    if isinstance(begun, str) and begun.lower().startswith(_OTHER_BASES):
        raise IncompatibleCheckpointError(
            f"{file}: init_lora_weights is {begun}, which changed the base as well: let peft convert the adapter "
            "(save_pretrained with path_initial_model_for_weight_conversion)"
        )
    return settings


def _one_rank(adapter: Source, root: str | None, config: Path) -> int:
    """The rank of all layers of the adapter, where a setting depends on it."""
    tensors = adapter.open_adapter(root=root).tensors
    ranks = sorted({t.shape[0] for name, t in tensors.items() if name.endswith(".lora_A.weight") and t.shape})
    if len(ranks) > 1:
        raise IncompatibleCheckpointError(
            f"{config}: use_rslora is set and the ranks differ from layer to layer ({', '.join(map(str, ranks))}), "
            "which cannot be merged here: let peft merge it"
        )
    return ranks[0] if ranks else 1  # an adapter without layers is refused where it is merged


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
