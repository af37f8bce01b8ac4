"""What surrounds a flow: a full disk ends it in one sentence, whichever library notices first."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest

from lipforcing_core.base.errors import BadInputError, LipForcingError
from tasks import session
from tasks.session import orchestration, require_space
from tasks.workspace import Workspace

Usage = namedtuple("Usage", "total used free")


def test_a_full_disk_is_said_before_anything_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: Usage(10**9, 10**9, 3_100_000))
    with (
        pytest.raises(LipForcingError, match=r"is full \(3\.1 MB free\).* more than 32 MB"),
        orchestration(Workspace(tmp_path)),
    ):
        pytest.fail("the flow must not start")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="this system has no /proc")
@pytest.mark.parametrize("place", ["/proc", "/proc/lipforcing"])
def test_a_file_system_that_takes_no_files_is_no_full_disk(place: str) -> None:
    with pytest.raises(
        LipForcingError, match=rf"^nothing can be written into {place} \(.+\): choose a folder"
    ):
        require_space(Path(place))


@pytest.mark.parametrize(
    ("number", "words"), [(errno.EROFS, "nothing can be written"), (errno.ENOSPC, "is full")]
)
def test_a_read_only_disk_without_space_is_no_full_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, words: str
) -> None:
    def refused(**_options: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(shutil, "disk_usage", lambda _path: Usage(10**9, 10**9, 0))
    monkeypatch.setattr(session, "TemporaryFile", refused)
    with pytest.raises(LipForcingError, match=words):
        require_space(tmp_path)


def test_a_disk_that_fills_up_is_blamed_and_not_the_library_that_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(LipForcingError, match="is full"), orchestration(Workspace(tmp_path)):
        monkeypatch.setattr(shutil, "disk_usage", lambda _path: Usage(10**9, 10**9, 0))
        raise RuntimeError("database or disk is full")


@pytest.mark.parametrize("error", [RuntimeError("a defect"), BadInputError("a mistake")])
def test_other_errors_stay_what_they_are(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(type(error), match=str(error)), orchestration(Workspace(tmp_path)):
        raise error


@pytest.mark.parametrize(
    ("number", "word", "code"), [(signal.SIGINT, "interrupted", 130), (signal.SIGTERM, "terminated", 143)]
)
def test_a_signal_ends_a_command_at_once_in_one_sentence(
    tmp_path: Path, number: int, word: str, code: int
) -> None:
    """Without waiting for libraries, and with nothing left in the folder for temporary files."""
    script = (
        "import os, sys, tempfile, time\n"
        "from pathlib import Path\n"
        "from tasks.environment import configure, end_on_signals\n"
        "end_on_signals(); configure(Path(sys.argv[1]))\n"
        "Path(tempfile.gettempdir(), 'half-made').touch()\n"
        "os.kill(os.getpid(), int(sys.argv[2])); time.sleep(60)\n"
    )
    place = tmp_path / "tmp"
    place.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path), str(int(number))],
        env=os.environ | {"TMPDIR": str(place)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == code
    assert done.stderr.strip() == f"error: {word}; start the same command again to continue"
    assert [path for path in place.rglob("*") if path.is_file()] == []
