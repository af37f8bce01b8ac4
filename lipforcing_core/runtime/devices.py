"""What a user calls the device that a model runs on; training chooses among strategies (``training.strategies``)."""

from __future__ import annotations

from typing import Literal

TorchDevice = Literal["cpu", "cuda"]
"""A device as torch calls it."""

DeviceWish = Literal["auto", TorchDevice]
"""A device, or ``auto``: what is best for the model on this machine (``runtime.encoders.choose_device``)."""
