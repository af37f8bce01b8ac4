"""Settings in words: every setting of a pydantic model with its type, unit, default and meaning.

A model says the meaning and the unit of a setting with ``meaning``, beside its bounds::

    size: Annotated[int, Field(ge=64), meaning("Side of the face crop.", "pixels")] = 128
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import AfterValidator, BaseModel, Field
from pydantic.fields import FieldInfo

from lipforcing_core.base.catalogue import Choice, either

_UNITS_IN_NAMES = {
    "_s": "seconds",
    "_frames": "frames",
    "_latents": "latents",
    "_px": "pixels",
    "_dbfs": "dBFS",
    "_fraction": "share, 0 to 1",
}
_KINDS = {int: "whole number", float: "number", str: "text", bool: "true or false", Path: "path"}


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One setting: its dotted name, what values it takes, their unit, the default, what it means and what it decides.

    default: None where there is none, or where the setting is off by default (``is_required`` tells). decides: empty
    where the model does not say.
    """

    name: str
    type: str
    unit: str
    default: Any
    is_required: bool
    meaning: str
    decides: str = ""


def meaning(text: str, unit: str = "") -> Any:
    """Metadata for ``Annotated``: what a setting means, in a sentence, and the unit of its value."""
    return Field(description=text, json_schema_extra={"unit": unit} if unit else None)


def describe(model: type[BaseModel]) -> list[Setting]:
    """All settings of a model and of its sections, in their order, under dotted names."""
    return list(_described(model, ""))


def values_by_name(settings: BaseModel) -> dict[str, Any]:
    """The values that are set, under dotted names: those that a dump leaves out too, and none that are None."""
    found: dict[str, Any] = {}
    for key in type(settings).model_fields:
        value = getattr(settings, key)
        if isinstance(value, BaseModel):
            found |= {f"{key}.{inner}": v for inner, v in values_by_name(value).items()}
        elif value is not None:
            found[key] = value
    return found


def toml_value(value: Any) -> str:
    """A value as TOML writes it; raises ``TypeError`` for one that TOML cannot hold, such as None."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, str | Path):
        return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, Sequence):
        return f"[{', '.join(toml_value(item) for item in value)}]"
    raise TypeError(f"TOML holds no {type(value).__name__}")


def _described(model: type[BaseModel], prefix: str) -> Iterator[Setting]:
    for name, field in model.model_fields.items():
        section = _section(field.annotation)
        if section is not None:
            yield from _described(section, f"{prefix}{name}.")
            continue
        required = field.is_required()
        yield Setting(
            name=prefix + name,
            type=_type(field.annotation, field.metadata),
            unit=_unit(name, field),
            default=None if required else field.get_default(call_default_factory=True),
            is_required=required,
            meaning=field.description or "",
            decides=_extra(field, "decides"),
        )


def _section(annotation: Any) -> type[BaseModel] | None:
    """The model behind a field that holds a section, which may be absent."""
    options = _options(annotation)
    kinds = [kind for kind in options if isinstance(kind, type) and issubclass(kind, BaseModel)]
    return kinds[0] if len(kinds) == 1 and len(options) == 1 else None


def _options(annotation: Any) -> tuple[Any, ...]:
    """What a field may be, None left out."""
    if get_origin(annotation) in (Union, UnionType):
        return tuple(kind for kind in get_args(annotation) if kind is not type(None))
    return (annotation,)


def _unit(name: str, field: FieldInfo) -> str:
    by_name = next((unit for end, unit in _UNITS_IN_NAMES.items() if name.endswith(end)), "")
    return _extra(field, "unit") or by_name


def _extra(field: FieldInfo, name: str) -> str:
    """What a field says of itself beside its description; empty where it does not."""
    extra = field.json_schema_extra
    return str(extra.get(name, "")) if isinstance(extra, dict) else ""


def _type(annotation: Any, metadata: Sequence[Any] = ()) -> str:
    """The values a field takes, in words, with its bounds or choices."""
    for item in metadata:
        if isinstance(item, AfterValidator) and isinstance(item.func, Choice):
            return either(item.func.names)
    words = [_kind(option) for option in _options(annotation)]
    bounds = ", ".join(_bounds(metadata))
    return " or ".join(words) + (f", {bounds}" if bounds else "")


def _kind(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " or ".join(str(choice) for choice in arguments)
    if origin in (tuple, list):
        members = [inner for inner in arguments if inner is not Ellipsis]
        count = f"{len(members)} " if origin is tuple and Ellipsis not in arguments else ""
        inner = members[0]
        return f"list of {count}{_plural(inner)}"
    if hasattr(annotation, "__metadata__"):
        return _kind(arguments[0])
    return _KINDS.get(annotation, getattr(annotation, "__name__", str(annotation)))


def _plural(annotation: Any) -> str:
    while hasattr(annotation, "__metadata__"):
        annotation = get_args(annotation)[0]
    return {int: "whole numbers", float: "numbers", str: "texts", Path: "paths"}.get(annotation, "values")


def _bounds(metadata: Sequence[Any]) -> Iterator[str]:
    for item in metadata:
        for name, words in (
            ("ge", "{} or more"),
            ("gt", "above {}"),
            ("le", "{} or less"),
            ("lt", "below {}"),
        ):
            if (limit := getattr(item, name, None)) is not None:
                yield words.format(f"{limit:g}" if isinstance(limit, float) else limit)
        if (step := getattr(item, "multiple_of", None)) is not None:
            yield f"a multiple of {step}"
