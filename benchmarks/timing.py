"""What every benchmark measures with, says about its machine, and leaves behind."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import torch

from lipforcing_core.base.errors import LipForcingError
from lipforcing_core.base.machine import processor_name
from lipforcing_core.base.products import write_json
from lipforcing_core.presets import Preset, load_preset

GIGABYTE = 1e9


class Timer:
    """Seconds of named parts; waits for the device before and after each."""

    def __init__(self, device: torch.device) -> None:
        self.seconds: dict[str, float] = {}
        self._device = device

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Time the block under this name."""
        _wait(self._device)
        started = time.perf_counter()
        yield
        _wait(self._device)
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


def peak_gigabytes(device: torch.device, *, above: int = 0) -> float | None:
    """Most memory that was allocated on a GPU since the last reset, less ``above`` bytes; None on a CPU."""
    if device.type != "cuda":
        return None
    return round((torch.cuda.max_memory_allocated(device) - above) / GIGABYTE, 3)


def machine(device: torch.device) -> dict[str, object]:
    """Date, device, version of torch and number of threads: the head of every result."""
    return {
        "date": date.today().isoformat(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else processor_name() or "cpu",
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }


def command_line(about: str | None, *, preset: str, device: str) -> argparse.ArgumentParser:
    """The arguments that all benchmarks take, with these defaults; a bad one ends the program with a sentence."""
    parser = argparse.ArgumentParser(
        description=about, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--preset", type=_preset, default=preset, help="name or TOML file of the model")
    parser.add_argument("--device", type=_device, default=device, help="cuda, cuda:N or cpu")
    parser.add_argument("--repeats", type=positive, default=20, help="samples of each time")
    parser.add_argument(
        "--output", type=Path, default=Path("benchmarks/results"), help="folder for the result file"
    )
    return parser


def positive(text: str) -> int:
    """A whole number from 1, of a command line."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1")
    return int(text)


def progress(words: str) -> None:
    """Say on standard error what is going on."""
    print(words, file=sys.stderr, flush=True)


def publish(result: Mapping[str, object], name: str, folder: Path) -> None:
    """Write ``NAME_DATE.json`` into the folder, and print all but the raw samples."""
    for key, value in result.items():
        if not isinstance(value, dict | list):
            print(f"{key:28} {value}")
    try:
        write_json(folder / f"{name}_{date.today().isoformat()}.json", result)
    except OSError as error:
        raise SystemExit(f"error: the result cannot be written into {folder}: {error.strerror}") from error


def _preset(text: str) -> Preset:
    try:
        return load_preset(text)
    except LipForcingError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _device(text: str) -> torch.device:
    try:
        device = torch.device(text)
    except RuntimeError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no device") from error
    if device.type not in ("cpu", "cuda"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither cpu nor cuda")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise argparse.ArgumentTypeError(f"there is no {text} here; cpu measures a small preset")
    return device


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
