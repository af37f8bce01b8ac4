"""What a run costs: CPU time of its process tree, accelerators and the time it held them, and the machine it ran on."""

from __future__ import annotations

import platform
import sys
import time
from dataclasses import dataclass
from typing import Any

import psutil

from lipforcing_core.base.machine import processor_name, usable_cpus


@dataclass(frozen=True, kw_only=True)
class Usage:
    """A reading of the meters: clock and CPU seconds, to be taken from a later reading."""

    clock_s: float
    cpu_s: float


def read_meters() -> Usage:
    """The meters now."""
    return Usage(clock_s=time.monotonic(), cpu_s=process_tree_cpu_s())


def process_tree_cpu_s() -> float:
    """CPU seconds, user and system, of this process, of those it started, and of those they started, ended ones too.

    A process hands its time to its parent when it ends, so the sum does not shrink as workers come and go. Workers on
    other machines are not seen.
    """
    return _cpu_s(psutil.Process()) + sum(map(_cpu_s, psutil.Process().children(recursive=True)))


def cost_since(start: Usage) -> dict[str, Any]:
    """The columns of the table runs that say what the work since ``start`` cost."""
    now = read_meters()
    wall_s = now.clock_s - start.clock_s
    names = _accelerators()
    gpu_s: float | None = len(names) * wall_s
    if not names and (elsewhere := _accelerators_of_workers()):
        names, gpu_s = [elsewhere], None
    return {
        "device": ", ".join(sorted(set(names))) or "cpu",
        "device_count": None if gpu_s is None else len(names),
        "cpu_seconds": max(0.0, now.cpu_s - start.cpu_s),
        "gpu_seconds": gpu_s,
    }


def machine() -> dict[str, Any]:
    """The columns of the table runs that describe the machine."""
    return {
        "host": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "python_version": platform.python_version(),
        "cpu_model": processor_name(),
        "cpu_count": usable_cpus(),
        "memory_bytes": psutil.virtual_memory().total,
    }


def _cpu_s(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.Error:  # it ended meanwhile
        return 0.0
    return float(times.user + times.system + times.children_user + times.children_system)


def _accelerators() -> list[str]:
    """Names of the CUDA devices that this process holds memory on; without torch in use, none."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available() or not torch.cuda.is_initialized():
        return []
    used = [i for i in range(torch.cuda.device_count()) if torch.cuda.max_memory_reserved(i) > 0]
    return [torch.cuda.get_device_name(i) for i in used]


def _accelerators_of_workers() -> str | None:
    """What Ray's workers may have used, where this process drives a cluster that has accelerators."""
    ray = sys.modules.get("ray")
    if ray is None or not ray.is_initialized():
        return None
    return "accelerators of Ray workers" if ray.cluster_resources().get("GPU", 0) > 0 else None
