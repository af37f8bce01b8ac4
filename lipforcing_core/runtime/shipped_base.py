"""The shipped base that a preset starts from, checked against the preset before anything is trained or encoded."""

from __future__ import annotations

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.models.bases.catalogue import BASES, BaseEntry
from lipforcing_core.presets.schema import Preset


def shipped_base(preset: Preset) -> BaseEntry | None:
    """The base that ``base_checkpoint`` names, its files verified; None where the preset names none.

    Raises ``BadInputError`` for a preset whose network or encoders are not those of the base, and
    ``IncompatibleCheckpointError`` for files that are missing or were changed.
    """
    if preset.base_checkpoint is None:
        return None
    base = BASES[preset.base_checkpoint]
    for section, values in base.fits.items():
        for key, value in values.items():
            if (found := getattr(getattr(preset, section), key)) != value:
                raise BadInputError(
                    f"preset {preset.name} has {section}.{key} = {found!r}, but its base_checkpoint {base.name} was "
                    f"trained with {value!r}; leave base_checkpoint out to train a base from nothing"
                )
    return base.check()
