"""The models of an experiment: their size, and their place in its run folder."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from lipforcing_core.base.products import atomic_path, link_or_copy
from tasks.training import TrainedModel

MODELS = "models"
"""The folder of the models in the folder of a run."""


def num_parameters(model: TrainedModel) -> float:
    """Millions of parameters of a trained model."""
    from safetensors import safe_open

    with safe_open(model.bundle / "model.safetensors", framework="np") as stored:
        shapes = [stored.get_slice(name).get_shape() for name in stored.keys()]  # noqa: SIM118 - not a mapping
    return sum(math.prod(shape) for shape in shapes) / 1e6


def place_models(models: Mapping[str, TrainedModel], folder: Path) -> None:
    """Put the bundles into the run folder, where `lipforcing generate` looks for them.

    Their files are hard links into the store, or copies where links are impossible: they take no room here, and a copy
    of the run folder has all that it needs.
    """
    for name, model in models.items():
        final = folder / MODELS / name
        if final.is_symlink():  # as earlier versions left it
            final.unlink()
        with atomic_path(final) as temporary:
            for file in sorted(path for path in model.bundle.rglob("*") if path.is_file()):
                link_or_copy(file, temporary / file.relative_to(model.bundle))
