"""Settings that a request names or brings along, as the frozen models that the steps take."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from lipforcing_core.base.errors import MissingWeightsError
from lipforcing_core.curation.settings import CurationSettings
from lipforcing_core.faces.detectors.catalogue import DETECTORS
from lipforcing_core.presets import Preset, load_preset, make_preset
from tasks.workspace import Workspace

EXTENDS = "extends"

Given = str | Mapping[str, Any]


def curation_settings(
    workspace: Workspace, given: Given, *, names: Mapping[str, str] | None = None
) -> CurationSettings:
    """Curation settings from a TOML file, or from those that differ from the defaults or from ``extends``, a TOML file.

    ``names``: what the user calls a key, where that is something else. Files get absolute paths. A detector without a
    model file gets the one of the workspace's weights. Raises ``BadInputError`` with a line for each mistake, and
    ``MissingWeightsError`` naming every file that is needed and absent.
    """
    from lipforcing_core.curation.backends import require_backends

    changes = {EXTENDS: given} if isinstance(given, str) else dict(given)
    base = changes.pop(EXTENDS, None)
    settings = CurationSettings() if base is None else CurationSettings.from_toml(Path(base))
    values = settings.model_dump(exclude_unset=True) | changes
    with suppress(MissingWeightsError):  # told below, with the other files that are not there
        values["detector_model"] = workspace.detector_model(
            values.get("detector", DETECTORS.default), values.get("detector_model")
        )
    settings = CurationSettings.from_mapping(values, "curate", names=names)
    settings = settings.with_files(lambda path: Path(os.path.abspath(path)))
    require_backends(settings, weights_dir=workspace.weights)
    return settings


def preset_of(given: Given) -> Preset:
    """A preset by name, from a TOML file, or brought along: whole, or as what differs from the one it ``extends``.

    Raises ``BadInputError`` with a line for each mistake.
    """
    return load_preset(given) if isinstance(given, str) else make_preset(given)
