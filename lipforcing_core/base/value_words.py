"""What is wrong with a value of settings, in words for people who write TOML or JSON and not Python."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

_LONGEST_VALUE = 60

TABLE = "a table"

_WANTED = {
    "a text": ("string_type", "string_sub_type", "string_unicode"),
    "a path, written as a text": ("path_type",),
    "a whole number": ("int_type", "int_parsing", "int_parsing_size", "int_from_float"),
    "a number": ("float_type", "float_parsing", "decimal_type", "decimal_parsing"),
    "a finite number": ("finite_number",),
    "true or false": ("bool_type", "bool_parsing"),
    "a list": ("list_type", "tuple_type", "set_type", "frozen_set_type", "iterable_type"),
    TABLE: ("dict_type", "mapping_type", "model_type", "model_attributes_type", "dataclass_type"),
    "null": ("none_required",),
}
_KIND_OF_PROBLEM = {problem: kind for kind, problems in _WANTED.items() for problem in problems}
"""The kind of value that is wanted, by what pydantic calls a value of another kind."""

_SUBJECT = re.compile(r"^(?:Input|List|Tuple|Set|Frozenset|Dictionary|String|Data|Value) should ")


def wanted_kind(problem: Mapping[str, Any]) -> str | None:
    """The kind of value that is wanted, where a value is of another kind; None for every other problem."""
    return _KIND_OF_PROBLEM.get(problem["type"])


def should_be(kinds: Iterable[str]) -> str:
    """``should be a text or a table``, each kind once."""
    return f"should be {' or '.join(dict.fromkeys(kinds))}"


def complaint(problem: Mapping[str, Any]) -> str:
    """What a value should be, as the end of a sentence that begins with its key."""
    if kind := wanted_kind(problem):
        return should_be([kind])
    words = _SUBJECT.sub("should ", problem["msg"]).replace(" after validation", "")
    return words.removeprefix("Value error, ")


def shown_value(value: Any) -> str:
    """A value as its file may say it, shortened where it is long."""
    names = {None: "null", True: "true", False: "false"}
    text = names[value] if value is None or isinstance(value, bool) else repr(value)
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 3] + "..."
