"""What this machine calls its processor, and how much of it this process may use; on Linux and on macOS."""

from __future__ import annotations

import os
import platform
from pathlib import Path

CPU_FACTS = Path("/proc/cpuinfo")


def usable_cpus() -> int:
    """Processor cores that this process may run on, where the system tells (Linux); else those of the machine."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def processor_name() -> str | None:
    """The name of the processor; None where the machine does not say."""
    try:
        lines = CPU_FACTS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or None
