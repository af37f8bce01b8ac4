"""How much of a machine DuckDB may take: memory, threads, and a bounded folder for what does not fit into memory."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from functools import lru_cache
from pathlib import Path

import psutil

from lipforcing_core.base.machine import usable_cpus

_CONTAINER_MEMORY = Path("/sys/fs/cgroup/memory.max")
_MB = 1_000_000
MAX_MEMORY_MB = 8_000
MAX_THREADS = 4
MAX_SPILL_MB = 16_000


@lru_cache(maxsize=1)
def resource_config() -> dict[str, str]:
    """Settings for every DuckDB connection of this process.

    At most half of the memory (of the container, where there is one) and 8 GB, 4 threads, and a spill folder of at most
    half of what is free there and 16 GB. The folder lies with other temporary files, never beside the warehouse, is
    readable by this user alone, and goes when the process ends.
    """
    memory_mb = min(MAX_MEMORY_MB, _memory_bytes() // 2 // _MB)
    spill_mb = min(MAX_SPILL_MB, shutil.disk_usage(tempfile.gettempdir()).free // 2 // _MB)
    return {
        "memory_limit": f"{max(memory_mb, 200)}MB",
        "threads": str(min(MAX_THREADS, usable_cpus())),
        "temp_directory": spill_folder(os.getpid()),
        "max_temp_directory_size": f"{spill_mb}MB",
    }


@lru_cache(maxsize=1)
def spill_folder(process_id: int) -> str:
    """The folder of this process for what does not fit into memory, made on first use; a fork gets its own."""
    folder = tempfile.mkdtemp(prefix="lipforcing-duckdb-")
    atexit.register(_remove, folder, process_id)
    return folder


def _remove(folder: str, process_id: int) -> None:
    if os.getpid() == process_id:  # not in a forked child, which inherits what is registered
        shutil.rmtree(folder, ignore_errors=True)


def _memory_bytes() -> int:
    """Memory of the machine, or of the container that this process runs in."""
    total: int = psutil.virtual_memory().total
    try:
        limit = _CONTAINER_MEMORY.read_text(encoding="ascii").strip()
    except OSError:
        return total
    return min(total, int(limit)) if limit.isdigit() else total
