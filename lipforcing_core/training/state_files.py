"""The folders that the states of a training stage are kept in: ``step-<n>`` with ``state.json`` and safetensors files.

Tensors are written by ``torch.distributed.checkpoint``: every worker writes what it holds, and reads what it needs from
what any number of workers wrote. The writing goes on beside the training; a folder gets its name when it is complete.
"""

from __future__ import annotations

import functools
import os
import shutil
import warnings
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from safetensors import SafetensorError
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader, HuggingFaceStorageWriter

from lipforcing_core.base.errors import IncompatibleCheckpointError, LipForcingError
from lipforcing_core.base.products import read_json, write_json
from lipforcing_core.training.strategies.workers import Workers

STATES_KEPT = 2
STATE_FILE = "state.json"
_UNFINISHED = ".partial"

warnings.filterwarnings("ignore", message="torch.distributed is disabled, unavailable or uninitialized")


def saved_states(folder: Path) -> list[Path]:
    """The complete states in a folder, oldest first."""
    return sorted(path.parent for path in folder.glob(f"step-*[0-9]/{STATE_FILE}"))


@dataclass
class StateWriter:
    """Writes the states of a run, one after the other, each while the training goes on."""

    folder: Path
    workers: Workers
    _complete: Future[None] | None = field(default=None, init=False)
    _group: Any = field(default=None, init=False)

    def write(self, step: int, plain: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Start to write the state of a step; its tensors may change as soon as this returns.

        Of the states before it, all but the newest are removed when it is complete.
        """
        self.wait()
        final = self.folder / f"step-{step:08d}"
        partial = final.with_name(final.name + _UNFINISHED)
        if self.workers.rank == 0:
            for left in (*self.folder.glob(f"step-*{_UNFINISHED}"), final):
                shutil.rmtree(left, ignore_errors=True)
            partial.mkdir(parents=True)
            write_json(partial / STATE_FILE, plain)
        self.workers.wait()
        writing = dcp.async_save(
            _nested(tensors),
            storage_writer=HuggingFaceStorageWriter(str(partial), save_distributed=True),
            process_group=self._own_group(),
            no_dist=self.workers.count == 1,
        )
        assert isinstance(writing, Future)
        self._complete = Future()
        writing.add_done_callback(functools.partial(self._finish, self._complete, partial, final))

    def wait(self) -> None:
        """Return once what is being written is complete; raises ``LipForcingError`` where it could not be written."""
        complete, self._complete = self._complete, None
        if complete is not None:
            complete.result()

    def _finish(self, complete: Future[None], partial: Path, final: Path, writing: Future[Any]) -> None:
        """Give the folder its name, when all workers have written: worker 0 is not done before."""
        try:
            if error := writing.exception():
                failures = error.failures if isinstance(error, CheckpointException) else {0: (error, None)}
                raise next(cause for cause, _ in failures.values())
            if self.workers.rank == 0:
                os.replace(partial, final)
                for old in saved_states(self.folder)[:-STATES_KEPT]:
                    shutil.rmtree(old)
        except BaseException as error:  # whoever waits has to be told, whatever it is
            advice = "; make room, or choose another place" if isinstance(error, OSError) else ""
            problem = LipForcingError(f"{final}: the state cannot be written ({error}){advice}")
            problem.__cause__ = error
            complete.set_exception(problem)
        else:
            complete.set_result(None)

    def _own_group(self) -> Any:
        """A group of processes for the writing alone: calls of two threads in one group wait for each other."""
        if self.workers.count > 1 and self._group is None:
            self._group = dist.new_group(backend="gloo")
        return self._group


def _nested(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """By their first name: torch looks at, and logs, every entry of the outermost dictionary."""
    nested: dict[str, Any] = {}
    for name, tensor in tensors.items():
        outer, _, inner = name.partition(".")
        nested.setdefault(outer, {})[inner] = tensor
    return nested


def read_plain(state: Path) -> dict[str, Any]:
    """What ``state.json`` holds; raises ``IncompatibleCheckpointError`` where it is damaged."""
    with _told(state):
        values: dict[str, Any] = read_json(state / STATE_FILE)
        return values


@contextmanager
def _told(state: Path) -> Iterator[None]:
    """Turn what a damaged file of a state makes libraries say into one sentence."""
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, SafetensorError, CheckpointException) as error:
        raise IncompatibleCheckpointError(
            f"{state}: is damaged ({error}); remove this folder, and the run goes on from the state before it"
        ) from error


@dataclass(frozen=True)
class StoredShape:
    """What is known of a tensor before it is read."""

    shape: tuple[int, ...]


def stored_shapes(state: Path) -> dict[str, StoredShape]:
    """Names and shapes of the tensors of a state, put together from the parts that its workers wrote."""
    with _told(state):
        stored = HuggingFaceStorageReader(str(state)).read_metadata().state_dict_metadata
        return {name: StoredShape(tuple(facts.size)) for name, facts in stored.items()}  # type: ignore[union-attr]


def read_tensors(state: Path, into: Mapping[str, Tensor], workers: Workers) -> None:
    """Fill tensors from a state; of those that are spread over workers, each reads the part that it holds."""
    if into:
        reader = HuggingFaceStorageReader(str(state))
        with _told(state):
            dcp.load(_nested(into), storage_reader=reader, no_dist=workers.count == 1)
