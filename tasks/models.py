"""The models of an experiment: their size, and their place in its run folder."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path

from tasks.training import TrainedModel


def num_parameters(model: TrainedModel) -> float:
    """Millions of parameters of a trained model."""
    from safetensors import safe_open

    with safe_open(model.bundle / "model.safetensors", framework="np") as stored:
        shapes = [stored.get_slice(name).get_shape() for name in stored.keys()]  # noqa: SIM118 - not a mapping
    return sum(math.prod(shape) for shape in shapes) / 1e6


def place_models(models: Mapping[str, TrainedModel], folder: Path) -> None:
    """Link the bundles into the run folder, where `lipforcing generate` looks for them.

    The links are relative, so that they still hold when the whole workspace is moved or copied.
    """
    target = folder / "models"
    target.mkdir(exist_ok=True)
    for name, model in models.items():
        link = target / name
        link.unlink(missing_ok=True)
        relative = os.path.relpath(model.bundle.resolve(), target.resolve())
        link.symlink_to(relative, target_is_directory=True)
