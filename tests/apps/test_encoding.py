"""Names outside ASCII on a command line whose locale knows only ASCII."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ASCII = {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.mark.parametrize("name", ["größe", "日本"])
def test_arguments_and_messages_outside_ascii_in_a_c_locale(tmp_path: Path, name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "apps.cli.main", "-w", str(tmp_path / name), "sql", "select 1"],
        env=os.environ | ASCII,
        capture_output=True,
        check=False,
        timeout=110,
    )
    assert done.returncode == 2, done.stderr
    message = done.stderr.decode("utf-8")
    assert f"there is no warehouse at {tmp_path / name}" in message
    assert "Traceback" not in message


def test_a_name_that_is_no_text_is_printed_escaped(tmp_path: Path) -> None:
    workspace = os.fsencode(tmp_path) + b"/caf\xe9"
    command = [sys.executable.encode(), b"-m", b"apps.cli.main", b"-w", workspace, b"sql", b"select 1"]
    done = subprocess.run(command, capture_output=True, check=False, timeout=110)
    assert done.returncode == 2, done.stderr
    assert b"caf\\xe9 is not UTF-8" in done.stderr
    assert b"Traceback" not in done.stderr
