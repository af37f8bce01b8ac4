"""Running a function on several workers: processes of this machine that meet over gloo."""

from __future__ import annotations

import multiprocessing
import os
import traceback
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

TIMEOUT = timedelta(minutes=5)  # a busy machine may hold one of them up
PRELOADED = ("torch._dynamo", "tests.training.worker_jobs")
"""What takes seconds to import: once, in the process from which the workers are forked."""


def on_workers(count: int, function: Callable[..., Any], *args: Any, folder: Path) -> list[Any]:
    """``function(*args)`` on every worker of a group of ``count``; the results, by rank.

    folder: an empty one, for the meeting and the results. Raises what ``torch.multiprocessing`` raises where a worker
    failed or was killed, after ending the others.
    """
    folder.mkdir(parents=True)
    multiprocessing.set_forkserver_preload(list(PRELOADED))
    arguments = (count, str(folder), function, args)
    mp.start_processes(_work, args=arguments, nprocs=count, start_method="forkserver")
    return [torch.load(folder / f"result-{rank}.pt", weights_only=False) for rank in range(count)]


def _work(rank: int, count: int, folder: str, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    store = dist.FileStore(f"{folder}/store", count)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=count, timeout=TIMEOUT)
    try:
        torch.save(function(*args), f"{folder}/result-{rank}.pt")
        dist.barrier()
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        dist.destroy_process_group()
