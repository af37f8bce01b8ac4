"""Scratch folders: one a command, removed at its end, swept after a kill, short enough for sockets."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

HOLD = (
    "import sys, tempfile, time\n"
    "from pathlib import Path\n"
    "from tasks.scratch import claim_scratch, socket_folder\n"
    "folder = claim_scratch()\n"
    "(folder / 'big.bin').write_bytes(b'x' * 1000)\n"
    "assert Path(tempfile.mkdtemp()).parent == folder\n"
    "print(folder, socket_folder(), flush=True)\n"
    "sys.stdin.read()\n"
)


def start(place: Path) -> tuple[subprocess.Popen[str], Path, Path]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD],
        env=os.environ | {"TMPDIR": str(place)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    scratch, sockets = process.stdout.readline().split()
    return process, Path(scratch), Path(sockets)


def finish(process: subprocess.Popen[str]) -> None:
    process.communicate(timeout=100)


def test_a_command_clears_its_own_folder_at_the_end(tmp_path: Path) -> None:
    process, scratch, _ = start(tmp_path)
    assert scratch.is_dir()
    finish(process)
    assert not scratch.exists()


def test_the_next_command_sweeps_what_a_killed_one_left_and_nothing_else(tmp_path: Path) -> None:
    killed, left, _ = start(tmp_path)
    alive, kept, _ = start(tmp_path)
    killed.send_signal(signal.SIGKILL)
    finish(killed)
    assert (left / "big.bin").is_file()
    following, _, _ = start(tmp_path)
    assert not left.exists()
    assert (kept / "big.bin").is_file()
    finish(alive)
    finish(following)


def test_a_folder_that_is_being_made_is_left_alone_for_a_while(tmp_path: Path) -> None:
    root = tmp_path / f"lipforcing-{os.getuid()}"
    young, old = root / ".new-young", root / ".new-old"
    young.mkdir(parents=True)
    old.mkdir()
    long_ago = time.time() - 3600
    os.utime(old, (long_ago, long_ago))
    finish(start(tmp_path)[0])
    assert young.is_dir()
    assert not old.exists()


def test_a_long_temporary_folder_gives_a_short_one_to_sockets(tmp_path: Path) -> None:
    place = tmp_path / ("long" * 25)
    place.mkdir()
    process, scratch, sockets = start(place)
    assert scratch.is_relative_to(place)
    assert not sockets.is_relative_to(place)
    socket = sockets / "session_2026-01-01_00-00-00_000000_1234567" / "sockets" / "plasma_store"
    assert len(os.fsencode(socket)) <= 107
    finish(process)
    assert not sockets.parent.exists()


def test_a_child_shares_the_folder_of_its_command(tmp_path: Path) -> None:
    script = (
        "import subprocess, sys\n"
        "from tasks.scratch import claim_scratch\n"
        "mine = claim_scratch()\n"
        "child = 'from tasks.scratch import claim_scratch; print(claim_scratch())'\n"
        "done = subprocess.run([sys.executable, '-c', child], capture_output=True, text=True, check=True)\n"
        "assert done.stdout.strip() == str(mine), done.stdout\n"
        "assert mine.is_dir()\n"
    )
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", script], env=environment, check=True, timeout=100)


def test_nowhere_to_put_sockets_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lipforcing_core.base.errors import LipForcingError
    from tasks import scratch

    monkeypatch.setattr(scratch, "SHORT_PLACES", (Path("/proc/none"),))
    monkeypatch.setattr(scratch, "claim_scratch", lambda: tmp_path / ("long" * 25))
    with pytest.raises(LipForcingError, match="set TMPDIR to a folder with a short path"):
        scratch.socket_folder()
