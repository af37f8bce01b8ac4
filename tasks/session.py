"""What surrounds the work of a flow: its folder held alone, its log, the needs of its work, room on the disk."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile

from lipforcing_core.base.errors import LipForcingError
from lipforcing_core.base.products import write_json
from lipforcing_core.curation.reasons import Step
from tasks.environment import configure
from tasks.progress import run_log
from tasks.resources import Resources, using
from tasks.scratch import claim_scratch
from tasks.warehousing import RunInfo
from tasks.workspace import Workspace, one_run

MIN_FREE_BYTES = 32 * 10**6
UNFINISHED_READ_S = 7 * 86_400.0
"""A source that was half read and has not come again for a week has changed, or is gone. Unfinished training is kept
for ever, since it is dear and small."""


@contextmanager
def orchestration(
    workspace: Workspace, resources: Resources | None = None, *, output: Path | None = None
) -> Iterator[None]:
    """Run the work of a flow inside this: it clears away what killed runs left, and leaves Ray afterwards.

    ``output``: where a flow writes that writes nothing into its workspace, which may then be read-only.
    Raises ``LipForcingError`` where the disk is full or takes no files, at the start or when anything fails for it:
    Ray, codecs and databases each have words of their own for that.
    """
    from tasks.cluster import disconnect

    configure(workspace.root)
    place = workspace.root if output is None else output.parent
    require_space(place)
    claim_scratch()
    if output is None:
        workspace.store.sweep()
        workspace.store.sweep_unfinished(Step.READ, unused_s=UNFINISHED_READ_S)
    try:
        with using(resources or Resources()):
            yield
    except LipForcingError:
        raise
    except Exception:
        require_space(place)
        raise
    finally:
        disconnect()


@contextmanager
def run_folder(workspace: Workspace, run: RunInfo) -> Iterator[Path]:
    """``runs/<flow>/<run_id>/`` with its ``config.json``, held alone while the block runs, with a log of it."""
    folder = workspace.run_folder(run.flow, run.run_id)
    write_json(folder / "config.json", run.config)
    with one_run(folder), run_log(folder / "run.log"):
        yield folder


def require_space(place: Path) -> None:
    """Raise ``LipForcingError`` if nothing, or next to nothing, can be written into a folder (any more).

    A file system that takes no files at all (read-only media, /proc) has no free space either, and is no full disk.
    """
    root = place.absolute()
    there = next(folder for folder in (root, *root.parents) if folder.exists())
    free = shutil.disk_usage(there).free
    if free >= MIN_FREE_BYTES:
        return
    try:
        with TemporaryFile(dir=there):
            pass
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise LipForcingError(
                f"nothing can be written into {root} ({error.strerror}): choose a folder on another disk"
            ) from error
    raise LipForcingError(
        f"the disk of {root} is full ({free / 1e6:.1f} MB free); finished steps are kept, and nothing "
        f"half-written counts: make more than {MIN_FREE_BYTES / 1e6:.0f} MB of room, and run the command again to go on"
    )
