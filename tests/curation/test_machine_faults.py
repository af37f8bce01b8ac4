"""Disks that fill up or fail for a moment, files that are replaced, and two runs at one source."""

from __future__ import annotations

import errno
import multiprocessing
import os
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from lipforcing_core.base.products import StepStore, file_sha256
from lipforcing_core.curation import steps
from lipforcing_core.curation.backends import CurationBackends
from lipforcing_core.curation.pipeline import curate_source
from lipforcing_core.curation.reasons import RejectReason
from lipforcing_core.curation.records import SourceOutcome, Status
from lipforcing_core.curation.settings import CurationSettings
from lipforcing_core.faces.detectors.protocol import Face
from lipforcing_core.media import source_stream

from .conftest import BlueExpert, Curate, DetailQuality, EverySoundSpeaks, SquareDetector

Reel = Callable[..., Path]


def half_done(store: StepStore) -> list[str]:
    """What is neither a finished step nor what the next attempt goes on from."""
    return [str(path.relative_to(store.root)) for path in store.root.rglob("*") if ".tmp" in path.name]


def contents(store: StepStore) -> dict[str, str]:
    return {
        str(path.relative_to(store.root)): file_sha256(path)
        for path in store.root.rglob("*")
        if path.is_file() and path.suffix != ".lock"
    }


@contextmanager
def no_file_beyond(num_bytes: int) -> Iterator[None]:
    """The system refuses to write more than so many bytes into a file, as it refuses all on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("num_bytes", [100, 10_000, 100_000], ids=["alignment", "clip", "sound"])
def test_a_file_that_cannot_be_written_to_its_end_is_no_product(
    num_bytes: int, reel: Reel, curate: Curate, store: StepStore, tmp_path: Path
) -> None:
    """The alignment has 5 kB, the clip more than 20, and the sound with what is around it 115."""
    path = reel("one", ["face"])
    calm = StepStore(tmp_path / "calm")
    expected = curate(path, calm)
    with no_file_beyond(num_bytes):
        outcome = curate(path)
    assert outcome.failed_this_time
    assert outcome.decoder_message.startswith("a file became larger than this process may write")
    assert not list(store.root.rglob("result.json"))
    assert half_done(store) == []
    assert curate(path) == expected
    assert contents(store) == contents(calm)


class MomentaryFault:
    """A container that fails to read so many times after its tenth packet."""

    times = 0

    def __init__(self, container: Any) -> None:
        self._container = container

    def __getattr__(self, attribute: str) -> Any:
        return getattr(self._container, attribute)

    def demux(self, *streams: Any) -> Iterator[Any]:
        for number, packet in enumerate(self._container.demux(*streams)):
            if number == 10 and type(self).times:
                type(self).times -= 1
                raise av.error.OSError(errno.EIO, os.strerror(errno.EIO), "a.mp4")
            yield packet


@pytest.mark.parametrize("times", [1, 2])
def test_a_disk_that_fails_for_a_moment_leaves_no_verdict(
    times: int, reel: Reel, curate: Curate, store: StepStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """libav meets an error, and right afterwards every byte can be read: the file is decoded once more."""
    path = reel("one", ["face"])
    calm = StepStore(tmp_path / "calm")
    expected = curate(path, calm)
    opened = source_stream.open_video

    def opened_at_fault(path: Path) -> tuple[Any, Any]:
        container, stream = opened(path)
        return MomentaryFault(container), stream

    monkeypatch.setattr(source_stream, "open_video", opened_at_fault)
    monkeypatch.setattr(MomentaryFault, "times", times)
    outcome = curate(path)
    if times == 1:
        assert outcome == expected
        assert contents(store) == contents(calm)
    else:
        (decision,) = outcome.decisions
        assert (decision.reason, decision.message) == (RejectReason.TRUNCATED, "Input/output error")


def test_a_file_that_is_replaced_while_it_is_read_is_read_again(
    reel: Reel, curate: Curate, store: StepStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was cut out of the first file is not kept under the name of the second."""
    path = Path(shutil.copy(reel("one", ["face"]), tmp_path / "a.mp4"))
    other = Path(shutil.copy(reel("grey one", ["grey"]), tmp_path / "b.mp4"))
    sha256 = file_sha256(other)

    class Stream(source_stream.SourceStream):
        def pictures(self) -> Any:
            for number, shown in enumerate(super().pictures()):
                if number == 20 and other.exists():
                    os.replace(other, path)
                yield shown

    monkeypatch.setattr(steps, "SourceStream", Stream)
    outcome = curate(path)
    assert outcome.sha256 == sha256
    assert [decision.reason for decision in outcome.decisions] == [RejectReason.NO_FACE]
    assert list(store.root.rglob("*.mp4")) == []
    assert len(list(store.root.glob("read/[!.]*"))) == 1


@pytest.mark.parametrize("limit", [{"max_source_hours": 4 / 3600}, {"max_megapixels": 0.05}])
def test_a_refused_source_leaves_nothing_behind(
    limit: dict[str, float], reel: Reel, curate: Curate, store: StepStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the header promised less, so that pieces had been cut out before the limit was met."""
    monkeypatch.setattr(source_stream.SourceStream, "declared_s", 1)
    brief = {"min_segment_s": 0.4, "max_segment_s": 0.4, "max_gap_frames": 5}
    outcome = curate(reel("long", ["face"], shot_frames=120), **brief, **limit)
    assert [decision.reason for decision in outcome.decisions] == [RejectReason.OVER_LIMITS]
    assert contents(store) == {}
    assert not list(store.root.rglob("*.partial"))


class Noted(SquareDetector):
    """Writes down which process looks at a picture."""

    def __init__(self, note: Path) -> None:
        self._note = note

    def detect(self, frame: np.ndarray) -> list[Face]:
        with open(self._note, "a", encoding="utf-8") as stream:
            stream.write(f"{os.getpid()}\n")
        return super().detect(frame)


def _curate_at_once(
    path: Path, root: Path, store: StepStore, settings: CurationSettings, note: Path, start: Any, answers: Any
) -> None:
    backends = CurationBackends(
        detector=Noted(note),
        sync_expert=BlueExpert(),  # type: ignore[arg-type]
        quality=DetailQuality(),  # type: ignore[arg-type]
        activity=EverySoundSpeaks(),
    )
    start.wait()
    outcome = curate_source(path, settings=settings, backends=backends, store=store, root=root)
    answers.put(outcome.model_dump_json())


def test_two_processes_at_one_source_do_the_work_once(
    reel: Reel, store: StepStore, settings: CurationSettings, tmp_path: Path
) -> None:
    """One of them reads it, and both come to the same."""
    path, note = reel("one", ["face"]), tmp_path / "note"
    context = multiprocessing.get_context("fork")
    start, answers = context.Barrier(3), context.Queue()
    arguments = (path, path.parent, store, settings, note, start, answers)
    children = [context.Process(target=_curate_at_once, args=arguments) for _ in range(3)]
    for child in children:
        child.start()
    outcomes = [SourceOutcome.model_validate_json(answers.get(timeout=60)) for _ in children]
    for child in children:
        child.join(60)
    assert outcomes[0] == outcomes[1] == outcomes[2]
    assert outcomes[0].status is Status.ACCEPTED
    assert len(set(note.read_text(encoding="utf-8").split())) == 1
    assert half_done(store) == []
