"""Settings that say only what differs: ``extends``, ``without``, and overrides from the command line.

A TOML file may begin with ``extends = "nano"`` or ``extends = "other.toml"`` (a path relative to the file): its tables
are laid over those of the base, key by key. ``without = ["codec", "lora.warmup_steps"]`` first takes tables or keys of
the base away. A base may extend another; a circle is refused. An override ``section.key=value`` is laid over all.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import date, time
from pathlib import Path
from typing import Any

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.names import shown_name
from lipforcing_core.base.suggestions import did_you_mean
from lipforcing_core.base.user_file import parse_toml, read_toml

EXTENDS, WITHOUT = "extends", "without"

Named = Mapping[str, Mapping[str, Any]]
"""The values that ship under each name, which a base may be called by."""

_OPENING = ("[", "{", '"', "'")  # what begins like this is meant for TOML, and is no text by itself


def read_layers(path: Path, *, named: Named) -> dict[str, Any]:
    """The values of a TOML file laid over those of all that it extends.

    named: the bases that have a name. Raises ``BadInputError`` as ``read_toml`` does, and for a base that does not
    exist, a circle, or an ``extends`` or ``without`` that cannot be followed; it names the file.
    """
    return _read(path, named, ())


def resolve_layers(values: Mapping[str, Any], where: str, *, named: Named, folder: Path) -> dict[str, Any]:
    """Values that are at hand (not in a file) laid over what they extend; paths are relative to ``folder``."""
    return _resolved(dict(values), where, named, folder, ())


def apply_overrides(values: Mapping[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """The values with ``section.key=value`` laid over them, in order; values are TOML (0.5, true, [1, 2], "text").

    What is no value of TOML is taken as the text that it is (lbp, /data/talks, 2024-05-01). Raises ``BadInputError``
    for an override that is no such assignment; whether the settings know the key is for their model to say.
    """
    changed = dict(values)
    for override in overrides:
        keys, value = _assignment(override)
        changed = merged(changed, _nested(keys, value), where=f"--set {override}")
    return changed


def merged(base: Mapping[str, Any], changes: Mapping[str, Any], *, where: str = "") -> dict[str, Any]:
    """``changes`` laid over ``base``, table by table; other values, lists too, are replaced whole.

    Raises ``BadInputError`` where a value stands in the place of a table.
    """
    result = dict(base)
    for key, value in changes.items():
        below = result.get(key)
        if isinstance(below, Mapping) and isinstance(value, Mapping):
            result[key] = merged(below, value, where=where)
        elif isinstance(below, Mapping):
            raise BadInputError(
                f"{where}: {key} is a table [{key}], not a value: name a key in it ({key}.name=...)"
            )
        else:
            result[key] = value
    return result


def _read(path: Path, named: Named, trail: tuple[Path, ...]) -> dict[str, Any]:
    place = path.resolve()
    if place in trail:
        circle = " -> ".join(shown_name(file) for file in (*trail[trail.index(place) :], place))
        raise BadInputError(f"{shown_name(path)}: these files extend each other in a circle: {circle}")
    return _resolved(read_toml(path), shown_name(path), named, path.parent, (*trail, place))


def _resolved(
    values: dict[str, Any], where: str, named: Named, folder: Path, trail: tuple[Path, ...]
) -> dict[str, Any]:
    base_name, dropped = values.pop(EXTENDS, None), values.pop(WITHOUT, [])
    if base_name is None:
        if dropped:
            raise BadInputError(
                f"{where}: {WITHOUT} takes something away from a base: name one with {EXTENDS}"
            )
        return values
    if not isinstance(base_name, str):
        raise BadInputError(
            f"{where}: {EXTENDS} must be a name or the path of a TOML file (got {base_name!r})"
        )
    if base_name in named:
        base = named[base_name]
    else:
        file = folder / base_name
        if not base_name.endswith(".toml") or not file.is_file():
            raise BadInputError(f"{where}: {EXTENDS} = {base_name!r} is {_no_base(base_name, named)}")
        base = _read(file, named, trail)
    if not isinstance(dropped, list) or not all(isinstance(name, str) for name in dropped):
        raise BadInputError(f"{where}: {WITHOUT} must be a list of names of tables or keys (got {dropped!r})")
    for name in dropped:
        base = _dropped(
            base, name.split("."), f"{where}: {WITHOUT} names {name!r}, which {base_name} does not hold"
        )
    return merged(base, values, where=where)


def _no_base(name: str, named: Named) -> str:
    if not named:
        return "no TOML file"
    hint = did_you_mean(name, named)
    return f"neither a known name nor a TOML file{hint}; known: {', '.join(named)}"


def _dropped(values: Mapping[str, Any], keys: list[str], problem: str) -> dict[str, Any]:
    first, *rest = keys
    inner = values.get(first)
    if inner is None or (rest and not isinstance(inner, Mapping)):
        raise BadInputError(problem)
    kept = {key: value for key, value in values.items() if key != first}
    return kept | {first: _dropped(inner, rest, problem)} if rest else kept


def _assignment(override: str) -> tuple[list[str], Any]:
    name, equals, text = override.partition("=")
    keys = [key.strip() for key in name.split(".")]
    if not equals or not all(re.fullmatch(r"[\w-]+", key) for key in keys):
        raise BadInputError(f"--set {override!r}: must be section.key=value, as in distill.reward_beta=0")
    text = text.strip()
    try:
        parsed = parse_toml(f"value = {text}", f"--set {override!r}")
    except BadInputError as error:
        if not text or text.startswith(_OPENING):
            raise BadInputError(
                f"--set {override!r}: {text!r} is no value of TOML; lists are [1, 2], texts need no quotes or "
                'two of them, and the empty text is ""'
            ) from error
        return keys, text
    if set(parsed) != {"value"}:
        raise BadInputError(f"--set {override!r}: one value is wanted")
    value = parsed["value"]
    return keys, text if isinstance(value, date | time) else value


def _nested(keys: list[str], value: Any) -> dict[str, Any]:
    for key in reversed(keys):
        value = {key: value}
    assert isinstance(value, dict)
    return value
