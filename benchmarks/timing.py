"""What every benchmark measures with, and says about its machine."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date

import torch


class Timer:
    """Seconds of named parts; waits for the device at the end of each."""

    def __init__(self, device: torch.device) -> None:
        self.seconds: dict[str, float] = {}
        self._device = device

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Time the block under this name."""
        started = time.perf_counter()
        yield
        if self._device.type == "cuda":
            torch.cuda.synchronize()
        self.seconds[name] = time.perf_counter() - started


def timed(work: Callable[[], object], repeats: int, device: torch.device) -> list[float]:
    """Seconds of each of ``repeats`` calls, after one that warms up."""
    samples = []
    for _ in range(1 + repeats):
        timer = Timer(device)
        with timer.part("work"):
            work()
        samples.append(timer.seconds["work"])
    return samples[1:]


def machine(device: torch.device) -> dict[str, object]:
    """Date, device, version of torch and number of threads: the head of every result."""
    return {
        "date": date.today().isoformat(),
        "device": torch.cuda.get_device_name() if device.type == "cuda" else platform.processor() or "cpu",
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }


def require_device(name: str) -> torch.device:
    """The device of this name; ends the program with a sentence where there is none."""
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise SystemExit("error: there is no CUDA device here; --device cpu measures a small preset")
    return device
