"""In which precision the network calls of a stage compute."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch

ComputePrecision = Literal["fp32", "bf16"]


def compute_precision(precision: ComputePrecision, device: torch.device) -> AbstractContextManager[object]:
    """Mixed precision for the network calls of a stage; parameters, losses and optimiser stay in fp32.

    device: where the tensors of these calls are. Autocast of another device would leave them in fp32 without a word.
    """
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)
