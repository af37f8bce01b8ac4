"""Run folders: two processes with the same run take turns."""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path

import pytest

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.products import mark_of_process
from tasks.workspace import Workspace, latest_link, one_run


def test_a_second_run_waits_for_the_first_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    order: list[str] = []
    logging.getLogger("lipforcing").addHandler(caplog.handler)

    def second() -> None:
        with one_run(tmp_path):
            order.append("second")

    thread = threading.Thread(target=second)
    with one_run(tmp_path):
        thread.start()
        thread.join(timeout=0.3)
        order.append("first")
    thread.join(timeout=10)
    assert order == ["first", "second"]
    assert f"another process is at work in {tmp_path}" in caplog.text


def test_a_workspace_whose_path_is_not_utf8_is_refused() -> None:
    with pytest.raises(BadInputError, match=r"the workspace /tmp/caf\\xe9 is not UTF-8"):
        Workspace(Path(os.fsdecode(b"/tmp/caf\xe9")))
    assert Workspace(Path("/tmp/caf\u00e9")).root.name == "caf\u00e9"


def test_the_latest_run_is_named_whatever_a_killed_or_another_run_left(tmp_path: Path) -> None:
    """A run that is at the same place at the same time has a link of its own in the making."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    other = tmp_path / f".latest.{mark_of_process(1)}.tmp"
    killed = tmp_path / f".latest.{mark_of_process(os.getpid()).replace('-', '-9', 1)}.tmp"
    for path in (killed, other):
        path.symlink_to("a")
    latest_link(tmp_path / "a")
    latest_link(tmp_path / "b")
    assert os.readlink(tmp_path / "latest") == "b"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([other.name, "a", "b", "latest"])
