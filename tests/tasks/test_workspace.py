"""Run folders: two processes with the same run take turns."""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path

import pytest

from lipforcing_core.base.errors import BadInputError
from tasks.workspace import Workspace, one_run


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
