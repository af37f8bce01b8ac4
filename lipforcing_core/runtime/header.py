"""A preset compared with the header of the weights, before anything of the preset's size is built.

A description beside the weights may say anything; a network of a billion layers would be built for hours, even without
values. The header of the weights is read in an instant and says how large the network really is.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path

from lipforcing_core.base.errors import IncompatibleCheckpointError
from lipforcing_core.presets import Preset
from lipforcing_core.weights.checkpoint import Checkpoint
from lipforcing_core.weights.mismatch import Shaped

_SETTINGS = {
    "dim": ("patch_embedding.weight", 0),
    "in_channels": ("patch_embedding.weight", 1),
    "freq_dim": ("time_embedding.0.weight", 1),
    "text_dim": ("text_embedding.0.weight", 1),
    "ffn_dim": ("blocks.0.ffn.0.weight", 0),
    "audio_hidden": ("audio_proj.proj.weight", 0),
}
"""Settings of the model, and the tensor and axis that have the same size."""


def require_fitting_header(preset: Preset, file: Path) -> None:
    """Raise ``IncompatibleCheckpointError`` naming the first size of the preset that the weights do not have.

    Names and shapes of all tensors are for the strict load to check, once the sizes are known to be real.
    """
    tensors = Checkpoint.open(file).tensors
    model = preset.model
    for setting, (name, axis) in _SETTINGS.items():
        _require(file, f"model.{setting}", getattr(model, setting), _size(tensors, name, axis, file))
    outputs = model.out_channels * math.prod(model.patch_size)
    found = _size(tensors, "head.head.weight", 0, file)
    _require(file, "model.out_channels times the patch", outputs, found)
    blocks = {match[1] for name in tensors if (match := re.match(r"blocks\.(\d+)\.", name))}
    _require(file, "model.num_layers", model.num_layers, len(blocks))


def _size(tensors: Mapping[str, Shaped], name: str, axis: int, file: Path) -> int:
    tensor = tensors.get(name)
    if tensor is None or len(tensor.shape) <= axis:
        raise IncompatibleCheckpointError(
            f"{file}: holds no {name} of a lip-sync transformer ({len(tensors)} tensors)"
        )
    return tensor.shape[axis]


def _require(file: Path, what: str, said: int, found: int) -> None:
    if said != found:
        raise IncompatibleCheckpointError(
            f"{file}: its tensors are those of {what} = {found}, and preset.json says {said}"
        )
