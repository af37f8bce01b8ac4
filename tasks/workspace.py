"""Where a run leaves things: one folder with runs, finished steps, the warehouse and downloaded weights."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.names import shown_name
from lipforcing_core.base.products import StepStore, is_abandoned, mark_of_process
from lipforcing_core.faces.detectors.catalogue import DETECTORS
from lipforcing_core.weights.chosen import registered_file
from tasks.progress import note


@dataclass(frozen=True)
class Workspace:
    """A working folder.

    Steps and weights can be deleted and are made or fetched again; the inbox below ``state/`` is the record of all
    runs, which only running them again brings back.

    Raises ``BadInputError`` for a path that is not UTF-8, which DuckDB cannot hold.
    """

    root: Path

    def __post_init__(self) -> None:
        place = str(self.root.absolute())
        try:
            place.encode()
        except UnicodeEncodeError as error:
            raise BadInputError(
                f"the workspace {shown_name(place)} is not UTF-8, as its databases need: name another with -w"
            ) from error

    @property
    def runs(self) -> Path:
        """Run folders: ``runs/<flow>/<run_id>/``."""
        return self.root / "runs"

    @property
    def state(self) -> Path:
        """Finished steps, the warehouse and the state of Prefect."""
        return self.root / "state"

    @property
    def store(self) -> StepStore:
        """The finished steps, by content key."""
        return StepStore(self.state / "steps")

    @property
    def inbox(self) -> Path:
        """Parquet files waiting for, or already merged by, the warehouse loader."""
        return self.state / "warehouse" / "inbox"

    @property
    def warehouse(self) -> Path:
        """The published, read-only DuckDB snapshot."""
        return self.state / "warehouse" / "warehouse.duckdb"

    @property
    def weights(self) -> Path:
        """Downloaded checkpoints, laid out as in ``lipforcing weights list``."""
        return self.root / "weights"

    def detector_model(self, detector: str, given: Path | None) -> Path | None:
        """The model file of a face detector: the one given, else the one among the weights where it needs one.

        Raises ``BadInputError`` for an unknown detector, and ``MissingWeightsError`` saying how to get a file that is
        needed and nowhere.
        """
        return registered_file(DETECTORS[detector], given, self.weights)

    def run_folder(self, flow: str, run_id: str) -> Path:
        """The folder of one flow run, created."""
        folder = self.runs / flow / run_id
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BadInputError(f"cannot write to {folder}: {error.strerror}") from error
        return folder


@contextmanager
def one_run(folder: Path) -> Iterator[None]:
    """Hold a run folder alone: a second process with the same run waits for the first and then finds its work done."""
    with open(folder / ".lock", "w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            note(f"another process is at work in {folder}; waiting for it to end")
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def latest_link(folder: Path) -> None:
    """Point ``latest`` beside a run folder at it."""
    link = folder.parent / "latest"
    for left in folder.parent.glob(".latest.*tmp"):
        if is_abandoned(left, unused_s=86_400):
            left.unlink(missing_ok=True)
    temporary = folder.parent / f".latest.{mark_of_process(os.getpid())}.tmp"
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(folder.name, target_is_directory=True)
    temporary.replace(link)
