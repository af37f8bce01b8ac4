"""What is wrong with settings of a user: one line for every mistake, with the key, the value and what is allowed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from lipforcing_core.base.suggestions import closest, did_you_mean, suggested
from lipforcing_core.base.value_words import complaint, should_be, shown_value, wanted_kind

Location = tuple[int | str, ...]


def mistakes(
    error: ValidationError, model: type[BaseModel], *, names: Mapping[str, str] | None = None
) -> list[str]:
    """One line for each problem that pydantic found in values for ``model``; keys are dotted paths.

    An unknown key comes with the closest known name, and a missing key that it is a misspelling of is not told again.
    Below a list or a table of sections an unknown key is told without the known ones.
    ``names``: what the user calls a key, where that is something else (an option of the command line).
    """
    problems = _told_once(error.errors(), model)
    unknown = {p["loc"]: _closest(p["loc"], model) for p in problems if p["type"] == "extra_forbidden"}
    return [
        _line(problem, model, unknown, names or {})
        for problem in problems
        if problem["type"] != "missing" or problem["loc"] not in unknown.values()
    ]


def _told_once(problems: Iterable[Any], model: type[BaseModel]) -> list[Any]:
    """One problem for a field that takes values of several kinds, where pydantic tells one for each kind.

    Where the value is of one of the kinds and wrong within, only that is told.
    """
    told: list[Any] = []
    by_field: dict[Location, list[Any]] = {}
    for problem in problems:
        if _is_kind(problem["loc"], model) and wanted_kind(problem):
            by_field.setdefault(problem["loc"][:-1], []).append(problem)
        else:
            told.append(problem)
    for field, same in by_field.items():
        if not any(problem["loc"][: len(field)] == field for problem in told):
            words = should_be(str(wanted_kind(problem)) for problem in same)
            told.append({**same[0], "type": "no_kind", "loc": field, "msg": words})
    return told


def _line(
    problem: Any,
    model: type[BaseModel],
    unknown: Mapping[Location, Location | None],
    names: Mapping[str, str],
) -> str:
    location: Location = problem["loc"]
    written = _as_written(location, model)
    key = _called(written, names)
    if problem["type"] == "missing":
        return f"missing key {key!r}"
    if problem["type"] == "extra_forbidden":
        close = unknown[location]
        hint = suggested(_called(_as_written(close, model), names)) if close else ""
        section, key = location[:-1], _dotted(written)
        known = sorted(names.get(_dotted((*section, name)), name) for name in _keys(section, model))
        return f"unknown key {key!r}{hint}" + (f"; known keys: {', '.join(known)}" if known else "")
    if problem["type"] == "union_tag_invalid":
        return _unknown_kind(key, problem)
    if problem["type"] == "union_tag_not_found":
        return f"missing key {key + '.' + _discriminator(problem['ctx'])!r}"
    where = f"{key}: " if key else ""
    if problem["type"] == "model_type":
        return f"{where}must be a table [{key}] (got {shown_value(problem['input'])})"
    words = complaint(problem)
    if problem["type"] == "value_error":  # of a validator of ours, whose words may name keys
        words = _renamed(words, names)
    if problem["type"] in ("literal_error", "enum"):
        words += did_you_mean(problem["input"], re.findall(r"'([^']*)'", problem["ctx"]["expected"]))
    got = "" if isinstance(problem["input"], Mapping) else f" (got {shown_value(problem['input'])})"
    return f"{where}{words}{got}"


def _closest(location: Location, model: type[BaseModel]) -> Location | None:
    """The known key that an unknown one was probably meant to be."""
    found = closest(str(location[-1]), _keys(location[:-1], model))
    return (*location[:-1], found) if found else None


def _unknown_kind(key: str, problem: Any) -> str:
    """A section of one of several kinds, whose key for the kind names none of them."""
    about, field = problem["ctx"], _discriminator(problem["ctx"])
    known = [tag.strip(" '") for tag in str(about["expected_tags"]).split(",")]
    given = problem["input"].get(field) if isinstance(problem["input"], Mapping) else about["tag"]
    hint = did_you_mean(str(given), known)
    return f"{key}.{field}: unknown {field} {shown_value(given)}{hint}; known: {', '.join(known)}"


def _discriminator(about: Mapping[str, Any]) -> str:
    """The key that says of which kind a section is."""
    return str(about["discriminator"]).strip("'")


def _is_kind(location: Location, model: type[BaseModel]) -> bool:
    """Whether the last part of a location is a kind, and no key of the user's file."""
    path = _path(location, model)
    return bool(path) and path[-1][0]


def _keys(location: Location, model: type[BaseModel]) -> list[str]:
    """The keys of the section at ``location``; none where that is not a field for a single section."""
    sections = [section for _, section in _path(location, model)]
    found = sections[-1] if sections else model
    return list(found.model_fields) if found is not None else []


def _as_written(location: Location, model: type[BaseModel]) -> Location:
    """The location without the kinds that pydantic puts into it, which are no keys of the user's file."""
    path = _path(location, model)
    kinds = {index for index, (is_kind, _) in enumerate(path) if is_kind}
    return tuple(part for index, part in enumerate(location) if index not in kinds)


def _path(location: Location, model: type[BaseModel]) -> list[tuple[bool, type[BaseModel] | None]]:
    """For each part whether it is a kind, as of a section of one of several, and the section that it leads to."""
    path: list[tuple[bool, type[BaseModel] | None]] = []
    here: list[type[BaseModel]] = [model]
    has_kinds = (
        False  # of the field that the part before names: of values that are told apart by their kind alone
    )
    for part in location:
        kinds = [section for section in here if len(here) > 1 and part in _kinds(section)]
        is_kind = bool(kinds) or has_kinds
        if is_kind:
            here = kinds or [section for section in here if section.__name__ == part]
            has_kinds = False
        else:
            field = here[0].model_fields.get(str(part)) if here else None
            here = list(_models(field.annotation)) if field else []
            has_kinds = field is not None and field.discriminator is None and _num_kinds(field.annotation) > 1
        path.append((is_kind, here[0] if here else None))
    return path


def _num_kinds(annotation: Any) -> int:
    """How many kinds of value a field takes besides None."""
    kinds = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    return sum(kind is not type(None) for kind in kinds)


def _kinds(section: type[BaseModel]) -> set[object]:
    """The values that a section takes for its own kind: those of its fields that are literals."""
    return {value for field in section.model_fields.values() for value in get_args(field.annotation)}


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """The settings classes of a field that may also be None."""
    kinds = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    return (kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel))


def _renamed(words: str, names: Mapping[str, str]) -> str:
    """The words with every key replaced once by what the user calls it; ``a.b`` is not taken for ``a``."""
    keys = "|".join(re.escape(key) for key in sorted(names, key=len, reverse=True))
    return (
        re.sub(rf"(?<![\w.])(?:{keys})(?!\w|\.\w)", lambda found: names[found.group()], words)
        if names
        else words
    )


def _called(location: Location, names: Mapping[str, str]) -> str:
    """The dotted path, with what the user calls it, or the section that it is in."""
    for end in range(len(location), 0, -1):
        if name := names.get(_dotted(location[:end])):
            return _dotted((name, *location[end:]))
    return _dotted(location)


def _dotted(location: Location) -> str:
    return ".".join(str(part) for part in location)
