"""Where a training stage runs: the choice of a request, checked before any work."""

from __future__ import annotations

import os

from lipforcing_core.base.catalogue import either
from lipforcing_core.base.errors import BadInputError
from lipforcing_core.training.strategies.catalogue import STRATEGIES

AUTO = "auto"
CPU, CUDA = "cpu", "cuda"
DEVICE_CHOICES = (AUTO, *STRATEGIES.names)
DEVICE_HELP = f"Where to train: {either(DEVICE_CHOICES)}. {AUTO} is the GPU of this machine, if there is one."


WORKERS_HELP = (
    "How many processes train together, each on a device of its own; every network is spread over them (FSDP2). The "
    "effective batch is shared, so the result is that of one, to rounding."
)
_SPREAD = {CPU: "sharded-cpu", CUDA: "sharded"}
"""What several workers do on the kind of device that one trains on."""


def training_device(wanted: str, workers: int = 1) -> str:
    """The training strategy of a request, by name; ``auto`` is the GPU of this machine, if there is one.

    Several workers take the strategy that spreads networks over devices of that kind. With ``RAY_ADDRESS`` the work
    goes to machines that this one knows nothing of, so the worker checks what the strategy needs. Raises
    ``BadInputError`` where this machine is to train and has not got the device, and for several workers of a strategy
    that trains on one device.
    """
    if wanted == AUTO:
        wanted = CPU if STRATEGIES[CUDA].lacks else CUDA
        return wanted if workers == 1 else _SPREAD[wanted]
    if workers > 1:
        wanted = _SPREAD.get(wanted, wanted)
        if not STRATEGIES[wanted].spreads:
            raise BadInputError(f"device {wanted} trains on one device: leave out --workers, or the device")
    if "RAY_ADDRESS" not in os.environ:
        require_device(wanted)
    return wanted


def require_device(device: str) -> None:
    """Raise ``BadInputError`` where this machine has not got what a training strategy needs."""
    if lacks := STRATEGIES[device].lacks:
        raise BadInputError(
            f"device {device}: no {lacks.removeprefix('a ')} here: check `nvidia-smi` and that a CUDA build of torch "
            'is installed, or train with --device cpu (device = "cpu" in a request)'
        )
