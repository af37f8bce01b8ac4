"""What a curation makes: a data set with a name, held against other ones and against its own earlier run."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.names import path_as_text
from lipforcing_core.base.packed_rows import PackedRows
from lipforcing_core.base.products import file_sha256, one_process, read_json, write_json
from lipforcing_core.curation.drift import EarlierRun
from lipforcing_core.curation.manifest import clips_in, decisions_in
from lipforcing_core.curation.prints import files_of_set, read_printed
from lipforcing_core.curation.settings import CurationSettings
from tasks.workspace import Workspace
from warehouse.inbox import check_name

NAMELESS = "curated"
MAX_REMEMBERED = 100
"""How many runs of a data set are remembered."""


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """What is to be made. against: manifests, fingerprints or folders of other data sets (``curation.prints``)."""

    name: str
    against: tuple[Path, ...] = ()

    @classmethod
    def of(
        cls, name: str | None, source: Path, against: Sequence[Path], settings: CurationSettings
    ) -> DataSet:
        """A data set that is called after its folder unless it has a name.

        Raises ``BadInputError`` for a name that can be no file name, where one of ``against`` cannot be read, and where
        the settings look for no near-duplicates: that is said here, before hours of work.
        """
        if name is not None:
            check_name("the name of the data set", name)
        if against and settings.near_duplicates == "off":
            raise BadInputError(
                f"against: {against[0]} would be compared with nothing, since near_duplicates is off in the settings; "
                "set it to mark or reject, or leave the other data set out"
            )
        others = tuple(Path(os.path.abspath(path)) for path in against)
        read_printed(others)
        return cls(name=default_name(source) if name is None else name, against=others)

    def identity(self) -> dict[str, Any]:
        """The part of a run's configuration that it is."""
        others = [
            {"path": path_as_text(path), "sha256": [file_sha256(file) for file in files_of_set(path)]}
            for path in self.against
        ]
        return {"name": self.name} | ({"against": others} if others else {})


def default_name(source: Path) -> str:
    """The name of a folder, or of the folder that a file lies in, with ``-`` for what a file name should not hold."""
    place = source.resolve()
    folder = place.parent if place.is_file() else place
    return re.sub(r"[^A-Za-z0-9._=@+-]+", "-", folder.name).strip("-._=@+") or NAMELESS


def earlier_run(workspace: Workspace, name: str, run_id: str) -> EarlierRun | None:
    """The last run of a data set whose contract held, other than this one; None where there is none (any more)."""
    for earlier in reversed(_remembered(workspace, name)):
        folder = workspace.runs / "curate" / earlier
        if earlier == run_id:
            continue
        try:
            return EarlierRun(
                run_id=earlier,
                clips=PackedRows(clips_in(folder / "manifest.parquet")),
                decisions=PackedRows(decisions_in(folder / "decisions.parquet")),
            )
        except (BadInputError, OSError):  # removed, or of a version that cannot be read
            continue
    return None


def remember_run(workspace: Workspace, name: str, run_id: str) -> None:
    """Make a run the one that the next run of its data set is compared with."""
    file = _file(workspace, name)
    with one_process(file.with_name(f".{file.name}.lock")):
        others = [known for known in _remembered(workspace, name) if known != run_id]
        write_json(file, {"runs": [*others, run_id][-MAX_REMEMBERED:]})


def _remembered(workspace: Workspace, name: str) -> list[str]:
    try:
        runs = read_json(_file(workspace, name))["runs"]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return [run for run in runs if isinstance(run, str)]


def _file(workspace: Workspace, name: str) -> Path:
    return workspace.state / "datasets" / f"{name}.json"
