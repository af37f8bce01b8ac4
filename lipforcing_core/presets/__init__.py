"""Presets: model and training settings as TOML data, checked in one place. ``load_preset("nano")``."""

from lipforcing_core.presets.load import check_preset, load_preset, make_preset, preset_names
from lipforcing_core.presets.schema import Preset

__all__ = ["Preset", "check_preset", "load_preset", "make_preset", "preset_names"]
