"""Small things that the stages share: prompts, noisy samples, masked errors, weights on disk."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from lipforcing_core.base.errors import IncompatibleCheckpointError
from lipforcing_core.base.products import atomic_path
from lipforcing_core.models.state import fill_network

MODEL_FILE = "model.safetensors"


def weigh_mouth(error_BCTHW: Tensor, keep_mask_HW: Tensor, mouth_weight: float) -> Tensor:
    """Mean error of each sample ``[B]``, with ``mouth_weight`` where the mask says generate (D.3: M = 2)."""
    weight_HW = torch.where(keep_mask_HW > 0.5, 1.0, mouth_weight).to(error_BCTHW)
    return (error_BCTHW * weight_HW).mean(dim=(1, 2, 3, 4))


def save_model(module: nn.Module, path: Path) -> None:
    """All weights of a module in fp32 under their native names, written atomically."""
    with atomic_path(path) as temporary:
        save_file(
            {name: value.detach().contiguous() for name, value in module.state_dict().items()}, temporary
        )


def load_model(module: nn.Module, path: Path) -> None:
    """Load weights strictly; ``IncompatibleCheckpointError`` names the first key or shape that differs."""
    try:
        stored = load_file(path)
    except (OSError, SafetensorError) as error:
        raise IncompatibleCheckpointError(f"{path}: cannot be read as safetensors ({error})") from error
    fill_network(module, stored, path)
