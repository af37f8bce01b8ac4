"""``lipforcing doctor``: what this machine can do, what is missing, and the command that fixes it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from lipforcing_core.base.catalogue import Catalogue
from lipforcing_core.seams.catalogues import all_seams
from lipforcing_core.weights.registry import WeightState, all_weights, find_weight, state_of
from tasks.workspace import Workspace

MIN_FREE_GB = 5.0
MIN_MEMORY_GB = 6.0
MANY = 8
"""More ready choices of a seam than this are counted and not named."""
MIN_SHARED_GB = 1.0
SHARED_MEMORY = Path("/dev/shm")


class Health(StrEnum):
    """The verdict of one check."""

    OK = "ok"
    OPTIONAL = "optional"
    BROKEN = "broken"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line of the report. ``remedy`` is empty when nothing needs doing."""

    subject: str
    health: Health
    detail: str
    remedy: str = ""


def examine(workspace: Workspace) -> Iterator[Finding]:
    """Run every check, one finding at a time; a check that raises is itself a finding."""
    checks: list[tuple[str, Callable[[], Finding]]] = [
        ("python", _python),
        ("decoder", _decoder),
        ("encoder", _encoder),
        ("torch", _torch),
        ("GPU", _gpu),
        ("Ray", lambda: _package("Ray", "ray", os.environ.get("RAY_ADDRESS", "local, started when needed"))),
        ("Prefect", lambda: _package("Prefect", "prefect", _prefect_server())),
        ("DuckDB", lambda: _package("DuckDB", "duckdb", _warehouse(workspace))),
        ("memory", _memory),
        ("shared memory", _shared_memory),
        ("disk", lambda: _disk(workspace)),
    ]
    for subject, check in checks:
        try:
            yield check()
        except Exception as error:
            yield Finding(
                subject=subject,
                health=Health.BROKEN,
                detail=f"{type(error).__name__}: {error}",
                remedy="rm -rf .venv && make test",
            )
    for seam in all_seams():
        yield choices_finding(seam.catalogue, workspace)
    for spec in all_weights():
        state = state_of(spec, workspace.weights)
        usable = state is WeightState.PRESENT
        yield Finding(
            subject=f"weights {spec.name}",
            health=Health.OK if usable else Health.OPTIONAL,
            detail=f"{state.value}; {spec.used_by}; licence: {spec.licence}",
            remedy="" if usable else spec.how_to_get(workspace.weights),
        )


def choices_finding(catalogue: Catalogue[Any], workspace: Workspace) -> Finding:
    """Which implementations of a seam can be chosen here and now, and which weights the others wait for."""
    ready, waiting = [], []
    for entry in catalogue:
        name = f"{entry.name} (licence: {entry.licence})" if entry.licence else entry.name
        needed = [
            weights
            for weights in entry.weights
            if state_of(find_weight(weights), workspace.weights) is not WeightState.PRESENT
        ]
        if lacks := [*needed, *([entry.lacks] if entry.lacks else [])]:
            waiting.append(f"{name} needs {', '.join(lacks)}")
        else:
            ready.append(name)
    told = f"{len(ready)} are ready" if len(ready) > MANY else f"ready: {', '.join(ready) or 'none'}"
    return Finding(subject=catalogue.plural, health=Health.OK, detail="; ".join([told, *waiting]))


def _python() -> Finding:
    version = platform.python_version()
    good = version.startswith(("3.11.", "3.12."))
    return Finding(
        subject="python",
        health=Health.OK if good else Health.BROKEN,
        detail=f"{version} on {platform.system()} {platform.machine()}",
        remedy="" if good else "install Python 3.11 and run make again",
    )


def _decoder() -> Finding:
    import av

    wanted = ("h264", "hevc", "vp9", "aac")
    missing = [name for name in wanted if name not in av.codecs_available]
    return Finding(
        subject="decoder",
        health=Health.BROKEN if missing else Health.OK,
        detail=f"PyAV {av.__version__}: {', '.join(wanted)}"
        + (f"; without {', '.join(missing)}" if missing else ""),
        remedy="install the wheel of av: pip install --force-reinstall --only-binary av av"
        if missing
        else "",
    )


def _encoder() -> Finding:
    import imageio_ffmpeg

    version = imageio_ffmpeg.get_ffmpeg_version()
    return Finding(subject="encoder", health=Health.OK, detail=f"ffmpeg {version} (from imageio-ffmpeg)")


def _torch() -> Finding:
    import torch

    threads = torch.get_num_threads()
    return Finding(subject="torch", health=Health.OK, detail=f"{torch.__version__}, {threads} CPU threads")


def _gpu() -> Finding:
    import torch

    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        detail = f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB"
        return Finding(subject="GPU", health=Health.OK, detail=detail)
    return Finding(
        subject="GPU",
        health=Health.OPTIONAL,
        detail="none; the nano preset runs on the CPU, presets 1.3b and 14b need one",
        remedy="use a CUDA machine and a CUDA build of torch for presets 1.3b and 14b",
    )


def _package(subject: str, distribution: str, detail: str) -> Finding:
    version = importlib.metadata.version(distribution)
    return Finding(subject=subject, health=Health.OK, detail=f"{version}; {detail}")


def _prefect_server() -> str:
    return os.environ.get("PREFECT_API_URL", "no server named by PREFECT_API_URL; runs are not recorded")


def _warehouse(workspace: Workspace) -> str:
    if workspace.warehouse.is_file():
        return f"warehouse at {workspace.warehouse}"
    return "no warehouse yet; `lipforcing demo` or `lipforcing warehouse rebuild` makes one"


def _memory() -> Finding:
    total_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    good = total_gb >= MIN_MEMORY_GB * 0.9
    return Finding(
        subject="memory",
        health=Health.OK if good else Health.BROKEN,
        detail=f"{total_gb:.1f} GiB",
        remedy="" if good else f"the demo needs about {MIN_MEMORY_GB:g} GB",
    )


def _shared_memory() -> Finding:
    """Ray keeps what workers share in /dev/shm, of which a container has 64 MB unless it is told otherwise."""
    subject = "shared memory"
    if not SHARED_MEMORY.is_dir():
        return Finding(subject=subject, health=Health.OK, detail=f"no {SHARED_MEMORY} here; Ray uses files")
    total_gb = shutil.disk_usage(SHARED_MEMORY).total / 2**30
    good = total_gb >= MIN_SHARED_GB
    return Finding(
        subject=subject,
        health=Health.OK if good else Health.OPTIONAL,
        detail=f"{total_gb * 1024:.0f} MiB in {SHARED_MEMORY}"
        + ("" if good else "; Ray falls back to slow files"),
        remedy=""
        if good
        else "start the container with `docker run --shm-size=2g ...` (docs: infra/README.md)",
    )


def _disk(workspace: Workspace) -> Finding:
    root = workspace.root.resolve()
    folder = next(path for path in (root, *root.parents) if path.exists())
    free_gb = shutil.disk_usage(folder).free / 2**30
    good = free_gb >= MIN_FREE_GB
    return Finding(
        subject="disk",
        health=Health.OK if good else Health.BROKEN,
        detail=f"{free_gb:.0f} GiB free at {folder}",
        remedy="" if good else "free some space, or pass --workspace with a folder on a larger disk",
    )
