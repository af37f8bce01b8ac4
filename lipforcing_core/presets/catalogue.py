"""The shipped presets as a catalogue: read from their TOML files, with the weights that their backends need."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from lipforcing_core.base.catalogue import Catalogue, Entry
from lipforcing_core.presets.load import load_preset, preset_names
from lipforcing_core.presets.schema import Preset

DEFAULT = "nano"


@dataclass(frozen=True, kw_only=True)
class PresetEntry(Entry):
    """One shipped preset, checked."""

    preset: Preset


@cache
def shipped_presets() -> Catalogue[PresetEntry]:
    """All presets that ship with the package, ``nano`` first."""
    names = sorted(preset_names(), key=lambda name: (name != DEFAULT, name))
    return Catalogue(kind="preset", entries=tuple(_entry(name) for name in names))


def _entry(name: str) -> PresetEntry:
    preset = load_preset(name)
    return PresetEntry(name=name, summary=preset.summary, weights=preset.backends.weights, preset=preset)
