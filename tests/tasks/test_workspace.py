"""Run folders: two processes with the same run take turns."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

import pytest

from tasks.workspace import one_run


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
