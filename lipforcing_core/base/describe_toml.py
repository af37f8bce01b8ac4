"""A TOML file to start from: every setting with its meaning in a comment, and all of them commented out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lipforcing_core.base.describe import Setting, toml_value

_WIDTH = 100


def commented_toml(settings: Sequence[Setting], values: Mapping[str, Any], *, table: str = "") -> str:
    """Settings as lines ``# key = value`` below comments that say what they mean, section by section.

    values: what stands behind the commented key, by dotted name; a setting without one is shown without a value.
    table: the table that holds them all. Taking the ``# `` of a line away makes it hold; the header of a section of
    which nothing is set is commented out too, since an empty section would be one with missing keys.
    """
    return "\n".join(_lines(settings, values, table)).strip("\n") + "\n"


def _lines(settings: Sequence[Setting], values: Mapping[str, Any], table: str) -> Iterator[str]:
    if table:
        yield f"[{table}]"
    section = ""
    for setting in settings:
        own, _, key = setting.name.rpartition(".")
        if own != section:
            section = own
            header = f"[{table}.{section}]" if table else f"[{section}]"
            is_set = any(name.startswith(f"{section}.") for name in values)
            yield ""
            yield header if is_set or not section else f"# {header}"
        yield ""
        yield from (f"## {line}" for line in _wrapped(_meaning(setting)))
        value = values.get(setting.name)
        yield f"# {key} = {toml_value(value)}" if value is not None else f"# {key} =     # not set"


def _meaning(setting: Setting) -> str:
    unit = f" Unit: {setting.unit}." if setting.unit else ""
    decides = f" Decides {setting.decides}." if setting.decides else ""
    return f"{setting.meaning}{unit}{decides} Values: {setting.type}."


def _wrapped(text: str) -> Iterator[str]:
    line = ""
    for word in text.split():
        if line and len(line) + 1 + len(word) > _WIDTH:
            yield line
            line = word
        else:
            line = f"{line} {word}".strip()
    yield line
