"""How strongly an adapter is added: its alpha, from where peft, trainers and other tools keep it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lipforcing_core.base.errors import BadInputError, IncompatibleCheckpointError
from lipforcing_core.base.user_file import read_json_object, read_json_value
from lipforcing_core.checkpoints.sources import Source

PEFT_CONFIG = "adapter_config.json"

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


def adapter_alpha(
    adapter: Source, base: Source, *, given: float | None = None, root: str | None = None
) -> float | None:
    """The alpha with which alpha / rank B A is what an adapter adds.

    It is ``given``, or registered, or stands beside the adapter in the ``adapter_config.json`` that peft writes or in a
    ``config.json``, or in the preset of the base's bundle. What else peft's file says holds for a given alpha too: with
    ``use_rslora`` the adapter adds alpha / sqrt(rank) B A, so alpha times sqrt(rank) is returned.

    None: no one alpha holds. The adapter keeps one for every layer among its tensors, or ComfyUI, diffusers or kohya
    wrote it without any, and then it adds just B A (``plan_merge`` does both).

    root: key that holds the adapter's tensors. Raises ``BadInputError`` if alpha stands nowhere, or is ``given`` and no
    number or beside alphas of the layers, and ``IncompatibleCheckpointError`` for an alpha that is none and, naming the
    setting, for an adapter of peft that is not one sum with one alpha.
    """
    if given is not None and not (math.isfinite(given) and given > 0):
        raise BadInputError(f"alpha {given:g}: must be a number above 0")
    if adapter.spec and adapter.spec.lora_alpha is not None:
        return adapter.spec.lora_alpha if given is None else given
    if any(name.endswith(".alpha") for name in adapter.open_adapter(root=root).tensors):
        if given is not None:
            raise BadInputError(f"{adapter.files[0]}: keeps an alpha for every layer: leave out --alpha")
        return None
    peft = adapter.files[0].with_name(PEFT_CONFIG)
    settings = _peft_settings(peft) if peft.is_file() else {}
    alpha = _stored_alpha(adapter, base, root) if given is None else given
    if alpha is None:
        return None
    return alpha * math.sqrt(_one_rank(adapter, root, peft)) if settings.get("use_rslora") else alpha


def _stored_alpha(adapter: Source, base: Source, root: str | None) -> float | None:
    configs = [adapter.files[0].with_name(name) for name in (PEFT_CONFIG, "config.json")]
    places = [(config, ["lora_alpha"]) for config in configs]
    foreign = adapter.is_foreign_adapter(root=root)
    if not foreign:
        places.append((base.files[0].with_name("preset.json"), ["lora", "alpha"]))
    for file, keys in places:
        if not file.is_file():
            continue
        try:
            value = read_json_value(file)
            for key in keys:
                value = value[key]
            alpha = float(value)
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            raise IncompatibleCheckpointError(f"{file}: names no alpha of the adapter ({error!r})") from error
        if not (math.isfinite(alpha) and alpha > 0):
            raise IncompatibleCheckpointError(f"{file}: alpha {alpha:g} of the adapter is no number above 0")
        return alpha
    if foreign:
        return None
    raise BadInputError(
        f"the alpha of {adapter.files[0]} stands nowhere (no {' or '.join(config.name for config in configs)} beside "
        "it): give --alpha"
    )


def _peft_settings(file: Path) -> Mapping[str, Any]:
    """What peft says of its adapter; refuses what ``convert.plan_merge`` does not add up."""
    try:
        settings = read_json_object(file)
    except BadInputError as error:
        raise IncompatibleCheckpointError(f"{file}: no settings of an adapter ({error})") from error
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
