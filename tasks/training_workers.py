"""One long job on several workers that train together: Ray Train starts them, and starts them again when one dies."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lipforcing_core.base.errors import LipForcingError
from tasks.cluster import check_room, connect, is_local
from tasks.dispatch import run_job
from tasks.resources import Need, Work, needed

MAX_FAILURES = 2
"""How often the workers are started again, each time from the last state that they wrote."""


def run_workers(
    function: Callable[..., None],
    *args: Any,
    name: str,
    workers: int,
    scratch: Path,
    on_gpu: bool = False,
    watch: Callable[[], None] | None = None,
) -> None:
    """Run ``function(*args)`` on every one of ``workers`` workers, which find each other as those of ``torchrun`` do.

    The job must be resumable: where a worker dies, all of them start again. What the request says that training takes
    of a machine is shared by the workers, but for GPUs (``on_gpu``), of which each takes one. scratch: an existing
    folder that all machines see.
    """
    connect()
    each = Need(cpus=max(1.0, needed(Work.TRAIN).cpus / workers), gpus=1 if on_gpu else 0)
    check_room(each, Work.TRAIN, pieces=workers)
    launch = _Launch(function, args, os.getcwd(), is_local())
    run_job(_lead, launch, name, workers, each, scratch / "ray-train", name=name, num_cpus=0, watch=watch)


class _Launch:
    """What a worker runs, in the folder of the process that asked for it."""

    def __init__(
        self, function: Callable[..., None], args: tuple[Any, ...], folder: str, local: bool
    ) -> None:
        self._function, self._args, self._folder, self._local = function, args, folder, local

    def __call__(self) -> None:
        os.chdir(self._folder)
        if self._local:  # a Ray of this machine alone listens on loopback only, and so do its workers
            os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        self._function(*self._args)


def _lead(launch: _Launch, name: str, workers: int, each: Need, storage: Path) -> None:
    """Runs in a process of Ray, which waits for the workers; that of the command only watches."""
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer
    from ray.train.v2.api.exceptions import TrainingFailedError, WorkerGroupError

    shutil.rmtree(storage, ignore_errors=True)  # what Ray remembers of an earlier attempt
    trainer = TorchTrainer(
        lambda: launch(),
        torch_config=TorchConfig(backend="cpu:gloo,cuda:nccl" if each.gpus else "gloo"),
        scaling_config=ScalingConfig(
            num_workers=workers, use_gpu=each.gpus > 0, resources_per_worker=_resources(each)
        ),
        run_config=RunConfig(
            name=name,
            storage_path=str(storage.absolute()),
            failure_config=FailureConfig(max_failures=MAX_FAILURES),
        ),
    )
    try:
        trainer.fit()
    except TrainingFailedError as error:
        failures = error.worker_failures.values() if isinstance(error, WorkerGroupError) else []
        causes = [getattr(failure, "cause", failure) for failure in failures]
        raise next((cause for cause in causes if isinstance(cause, LipForcingError)), error) from None
    finally:
        shutil.rmtree(storage, ignore_errors=True)


def _resources(each: Need) -> dict[str, float]:
    return {"CPU": each.cpus, "GPU": each.gpus} if each.gpus else {"CPU": each.cpus}
