"""Reading presets: by the name of a shipped one, or from a TOML file of the user, which may say only what differs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.layers import EXTENDS, apply_overrides, resolve_layers
from lipforcing_core.base.names import shown_name
from lipforcing_core.base.settings_mistakes import mistakes
from lipforcing_core.base.suggestions import unknown
from lipforcing_core.base.user_file import read_toml
from lipforcing_core.presets.schema import Preset

_SUFFIX = ".toml"


def preset_names() -> list[str]:
    """The names of the presets that ship with the package, sorted."""
    return sorted(path.stem for path in shipped_folder().glob(f"*{_SUFFIX}"))


def shipped_folder() -> Path:
    """Where the presets that ship with the package are."""
    return Path(str(files(__package__)))


def load_preset(name: str | Path, *, overrides: Sequence[str] = ()) -> Preset:
    """The preset called ``name``, or the one in the TOML file at that path, with ``section.key=value`` laid over it.

    A file that extends another preset (``base.layers``) and gives no name of its own is called after the file.
    Raises ``BadInputError``: for an unknown name it lists the known ones, for malformed TOML it gives the line, and
    for bad keys and values it has a line for each, with the full name of the key and what is allowed.
    """
    text = str(name)
    shipped = _Shipped()
    where = f"preset {text!r}"
    if text in shipped:
        values = shipped[text]
    elif text.endswith(_SUFFIX):
        values, where = _file_values(Path(text), shipped), text
    else:
        raise BadInputError(f"{unknown('preset', text, shipped)}, or the path of a {_SUFFIX} file")
    if overrides:
        values = apply_overrides(values, overrides)
        where += "".join(f" --set {override}" for override in overrides)
    return check_preset(values, where)


def make_preset(values: Mapping[str, Any], where: str = "preset", *, folder: Path | None = None) -> Preset:
    """The preset that these values describe, whole or as what differs from the one that ``extends`` names.

    folder: what the path of a base is relative to; default: the working folder. Raises ``BadInputError`` as
    ``load_preset`` does, its lines beginning with ``where``.
    """
    return check_preset(resolve_layers(values, where, named=_Shipped(), folder=folder or Path()), where)


def check_preset(values: Mapping[str, Any], where: str) -> Preset:
    """The preset that these values describe in full; raises ``BadInputError`` with a line for each mistake."""
    try:
        return Preset.model_validate(values)
    except ValidationError as error:
        lines = mistakes(error, Preset)
        raise BadInputError("\n".join(f"{where}: {line}" for line in lines)) from error


@dataclass(frozen=True)
class _Shipped(Mapping[str, dict[str, Any]]):
    """The values of the shipped presets by name, with all that they extend, unchecked.

    trail: the shipped presets that are being read, so that a circle is noticed.
    """

    trail: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> dict[str, Any]:
        if name not in preset_names():
            raise KeyError(name)
        if name in self.trail:
            circle = " -> ".join((*self.trail[self.trail.index(name) :], name))
            raise BadInputError(f"these shipped presets extend each other in a circle: {circle}")
        return _file_values(shipped_folder() / (name + _SUFFIX), _Shipped((*self.trail, name)))

    def __contains__(self, name: object) -> bool:
        return name in preset_names()

    def __iter__(self) -> Iterator[str]:
        return iter(preset_names())

    def __len__(self) -> int:
        return len(preset_names())


def _file_values(path: Path, shipped: _Shipped) -> dict[str, Any]:
    own = read_toml(path)
    values = resolve_layers(own, shown_name(path), named=shipped, folder=path.parent)
    if EXTENDS in own and "name" not in own:
        values["name"] = path.stem
    return values
