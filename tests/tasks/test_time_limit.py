"""A limit ends a flow whatever it waits for, stuck workers included, and leaves what was finished for the next run."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from flows.catalogue import FLOWS, run_flow
from lipforcing_core.base.errors import LipForcingError
from lipforcing_core.media.encode import VideoWriter, mux, write_wav
from tasks import curation
from tasks.cluster import disconnect
from tasks.dispatch import fan_out, run_job
from tasks.recording import sentence_for
from tasks.resources import Need, Resources, using
from tasks.time_limit import TimeLimitError, time_limit
from tests.tasks.in_process import convey

SHORT = 0.5 / 3600
SENTENCE = (
    r"curate took longer than the \S+ h that `timeout_h` allows; finished steps are kept, run again to go on"
)


def swallow() -> None:
    """Waits, and takes every error for one of its own."""
    while True:
        try:
            time.sleep(60)
        except Exception:
            continue


def spin() -> None:
    while True:
        pass


@pytest.mark.parametrize("wait", [swallow, spin, lambda: time.sleep(600)])
def test_a_block_is_ended(wait: Callable[[], None]) -> None:
    cleaned = []
    with pytest.raises(TimeLimitError, match=SENTENCE), time_limit("curate", SHORT):
        try:
            wait()
        finally:
            cleaned.append(True)
    assert cleaned


def test_a_block_in_another_thread_is_ended() -> None:
    caught: list[BaseException] = []

    def flow() -> None:
        try:
            with time_limit("curate", SHORT):
                spin()
        except BaseException as error:
            caught.append(error)

    thread = threading.Thread(target=flow)
    thread.start()
    thread.join()
    assert isinstance(caught[0], TimeLimitError)


def test_a_block_that_ends_in_time_leaves_nothing_behind() -> None:
    handler, (delay, _) = signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL)
    for hours in (None, 1.0):
        with time_limit("curate", hours):
            assert (signal.getitimer(signal.ITIMER_REAL)[0] > 3000) == (hours is not None)
        left, _ = signal.getitimer(signal.ITIMER_REAL)
        assert (0 < left < delay) if delay else left == 0, "a timer of the test runner goes on"
        assert signal.getsignal(signal.SIGALRM) is handler
    with pytest.raises(ValueError, match="mine"), time_limit("curate", 1.0):
        raise ValueError("mine")


@pytest.mark.parametrize("name", FLOWS)
def test_every_flow_has_a_limit(name: str) -> None:
    assert FLOWS[name].load().fn.__wrapped__.__name__ == name
    assert FLOWS[name].request.model_fields["timeout_h"].default is None


def stuck(pid_file: Path) -> None:
    pid_file.with_suffix(".tmp").write_text(str(os.getpid()))
    pid_file.with_suffix(".tmp").rename(pid_file)
    os.kill(os.getpid(), signal.SIGSTOP)


def waiting_forever(pid_file: Path) -> None:
    pid_file.with_suffix(".tmp").write_text(str(os.getpid()))
    pid_file.with_suffix(".tmp").rename(pid_file)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    while True:
        time.sleep(60)


@pytest.mark.ray
@pytest.mark.parametrize(("work", "send"), [(stuck, "fan out"), (waiting_forever, "job")])
def test_a_stuck_worker_is_ended_with_the_flow(
    work: Callable[[Path], None], send: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit rings once the worker hangs, so that no start of Ray takes part in the measure.

    A job is ended while Ray goes on, as on a cluster; a process that is stopped, which hears nothing, with a local Ray.
    """
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    pid_file = tmp_path / "pid"

    def ring_when_stuck() -> None:
        while not pid_file.exists():
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGALRM)

    threading.Thread(target=ring_when_stuck, daemon=True).start()
    try:
        with (
            using(Resources(train=Need(cpus=1))),
            pytest.raises(TimeLimitError, match=SENTENCE),
            time_limit("curate", 1.0),
        ):
            if send == "job":
                run_job(work, pid_file, name="stuck")
            else:
                fan_out(work, [pid_file], name="stuck")
        if send == "job":
            wait_for_the_end_of(int(pid_file.read_text()))
    finally:
        disconnect()
    wait_for_the_end_of(int(pid_file.read_text()))


def wait_for_the_end_of(pid: int) -> None:
    """Until a process is gone, or has ended and nobody asked about it; the time-out of the test limits it."""
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.1)


def talk(path: Path, seed: int) -> None:
    """A video with a picture and a sound, without a face."""
    random = np.random.default_rng(seed)
    silent, sound = path.with_suffix(".silent.mp4"), path.with_suffix(".wav")
    with VideoWriter(silent, width=96, height=64) as writer:
        for _ in range(130):
            writer.write(random.integers(0, 255, (64, 96, 3), dtype=np.uint8))
    write_wav(sound, random.uniform(-0.5, 0.5, 16000 * 6).astype(np.float32))
    mux(silent, sound, path)
    silent.unlink()
    sound.unlink()


def test_the_next_run_takes_what_was_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sources are curated in this process; the second hangs until the limit ends the run."""
    videos = tmp_path / "videos"
    videos.mkdir()
    talk(videos / "a.mp4", 1)
    talk(videos / "b.mp4", 2)
    hangs = [True]

    def shard(sources: Any, stations: Any, *, is_final: Any, **_: Any) -> list[Any]:
        made = convey(sources[:1], stations, is_final=is_final)
        while hangs:
            time.sleep(60)
        return made + convey(sources[1:], stations, is_final=is_final)

    monkeypatch.setattr(curation, "convey", shard)
    request = {"workspace": str(tmp_path / "ws"), "source": str(videos), "timeout_h": 1}

    def ring_when_the_first_is_done() -> None:
        while len(done()) < 1:
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGALRM)

    def done() -> dict[Path, int]:
        results = (tmp_path / "ws" / "state" / "steps").glob("read/*/result.json")
        return {path: path.stat().st_mtime_ns for path in results}

    threading.Thread(target=ring_when_the_first_is_done, daemon=True).start()
    with pytest.raises(TimeLimitError, match="curate took longer than the 1 h that `timeout_h` allows"):
        run_flow("curate", request)
    first = done()
    assert len(first) == 1
    hangs.clear()
    summary: Any = run_flow("curate", request)
    assert (summary.sources_in, summary.sources_rejected) == (2, 2)
    assert {path: mtime for path, mtime in done().items() if path in first} == first
    assert len(done()) == 2
    assert (summary.folder / "run.log").read_text().count("failed curate 2 new sources") == 1


def test_the_page_of_a_run_tells_the_sentence() -> None:
    with pytest.raises(LipForcingError) as caught, time_limit("train_eval", SHORT):
        time.sleep(600)
    sentence = sentence_for("train_eval", caught.value, "Flow run encountered an exception")
    assert sentence.startswith("train_eval took longer than the ")
    assert "a defect" not in sentence
