"""What fails around a source is no property of the source: it is tried again, told, and never stored."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import pytest

from lipforcing_core.base import products
from lipforcing_core.base.products import StepStore
from lipforcing_core.curation import reading, sources, steps
from lipforcing_core.curation.backends import CurationBackends
from lipforcing_core.curation.pipeline import failed_source
from lipforcing_core.curation.reasons import RejectReason
from lipforcing_core.curation.records import SourceOutcome, Status
from lipforcing_core.curation.sources import source_sha256
from lipforcing_core.media import source_stream

from .conftest import Curate

Reel = Callable[..., Path]


@pytest.fixture
def mute(reel: Reel, tmp_path: Path) -> Path:
    """A source that is soon done with: it has no sound."""
    return Path(shutil.copy(reel("mute short", ["grey"], sound="none", shot_frames=12), tmp_path / "a.mp4"))


def only(outcome: SourceOutcome) -> tuple[Status, RejectReason | None, str]:
    (decision,) = outcome.decisions
    return decision.status, decision.reason, decision.message


class OutOfMemoryError(RuntimeError):
    """As torch calls it."""


MACHINE: list[tuple[BaseException, str]] = [
    (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "the disk is full"),
    (MemoryError(), "there is not enough memory"),
    (OutOfMemoryError("CUDA out of memory"), "there is not enough memory"),
    (OSError(errno.ESTALE, "Stale file handle"), "[Errno 116] Stale file handle"),
]


class Failing:
    """Raises an error so many times, and then does what is to be done."""

    def __init__(self, error: BaseException, work: Callable[..., Any], times: int = 99) -> None:
        self.calls = 0
        self._error, self._work, self._times = error, work, times

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        self.calls += 1
        if self.calls <= self._times:
            raise self._error
        return self._work(*arguments, **options)


@pytest.mark.parametrize(
    ("place", "error", "words"),
    [(place, *MACHINE[0]) for place in ("detect", "write_track", "write_flac", "score")]
    + [("read", *machine) for machine in MACHINE],
)
def test_a_machine_that_fails_is_tried_again_and_told_and_nothing_is_stored(
    place: str,
    error: BaseException,
    words: str,
    reel: Reel,
    curate: Curate,
    backends: CurationBackends,
    store: StepStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    owner = {
        "read": steps, "detect": backends.detector, "write_track": reading, "write_flac": reading,
        "score": backends.sync_expert,
    }[place]  # fmt: skip
    failing = Failing(error, getattr(owner, place))
    monkeypatch.setattr(owner, place, failing)
    path = reel("one", ["face"])
    outcome = curate(path)
    assert only(outcome) == (Status.QUARANTINED, RejectReason.FAILED_THIS_TIME, words)
    assert (outcome.failed_this_time, outcome.is_final, failing.calls) == (True, False, 2)
    finished = {result.parent.parent.name for result in store.root.rglob("result.json")}
    assert finished == ({"quality", "read", "speech"} if place == "score" else set())
    assert not list(store.root.rglob("*.tmp*"))
    monkeypatch.undo()
    if place == "score":
        assert curate(path).status is Status.ACCEPTED


@pytest.mark.parametrize("error", [ValueError("a bug"), RuntimeError("a bug"), KeyError("a bug")])
def test_a_mistake_of_the_program_is_not_hidden(
    error: Exception, reel: Reel, curate: Curate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "write_track", Failing(error, reading.write_track))
    with pytest.raises(type(error), match="a bug"):
        curate(reel("one", ["face"]))


def test_a_failure_that_passes_costs_only_a_second_attempt(
    reel: Reel, curate: Curate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "hear", Failing(MemoryError(), reading.hear, times=1))
    assert only(curate(reel("grey one", ["grey"])))[1] is RejectReason.NO_FACE


@pytest.mark.parametrize(
    ("name", "words"), [("ENOSPC", "the disk is full"), ("ENOMEM", "there is not enough memory")]
)
def test_a_starved_decoder_tells_of_the_machine(
    name: str, words: str, mute: Path, curate: Curate, store: StepStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = OSError(getattr(errno, name), os.strerror(getattr(errno, name)))

    def starved(*_: Any) -> Any:
        raise error
        yield

    opened = source_stream.open_video

    class Container:
        def __init__(self, container: Any) -> None:
            self._container = container

        def __getattr__(self, attribute: str) -> Any:
            return starved if attribute == "demux" else getattr(self._container, attribute)

    def opened_starved(path: Path) -> tuple[Any, Any]:
        container, stream = opened(path)
        return Container(container), stream

    monkeypatch.setattr(source_stream, "open_video", opened_starved)
    status, reason, message = only(curate(mute))
    assert (status, reason) == (Status.QUARANTINED, RejectReason.FAILED_THIS_TIME)
    assert words in message
    assert not list(store.root.rglob("result.json"))
    monkeypatch.undo()
    assert only(curate(mute))[1] is RejectReason.NO_AUDIO


@pytest.mark.parametrize("product", ["0.mp4", "sound.flac"])
def test_a_finished_product_that_was_damaged_is_made_again(
    product: str, reel: Reel, curate: Curate, store: StepStore
) -> None:
    path = reel("one", ["face"])
    first = curate(path)
    (damaged,) = store.root.glob(f"read/*/*/{product}")
    whole = damaged.read_bytes()
    damaged.write_bytes(b"half")
    shutil.rmtree(store.root / "sync")
    outcome = curate(path)
    assert outcome == first
    assert damaged.read_bytes() == whole


def test_a_file_that_opens_and_cannot_be_read_is_quarantined(curate: Curate, tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).symlink_to("/proc/self/mem")  # reading at its start fails with EIO
        assert only(curate(tmp_path / name)) == (
            Status.QUARANTINED,
            RejectReason.INACCESSIBLE,
            "Input/output error",
        )
    assert source_sha256(tmp_path / "a.mp4", tmp_path) != source_sha256(tmp_path / "b.mp4", tmp_path)


class BadSector:
    """A file that can be read up to a place, and not beyond."""

    def __init__(self, path: str, good_bytes: int, number: int) -> None:
        self._stream, self._left, self._number = open(path, "rb"), good_bytes, number  # noqa: SIM115

    def read(self, size: int) -> bytes:
        if self._left <= 0:
            raise OSError(self._number, os.strerror(self._number))
        data = self._stream.read(min(size, self._left))
        self._left -= len(data)
        return data

    def fileno(self) -> int:
        return self._stream.fileno()

    def __enter__(self) -> BadSector:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()


@pytest.mark.parametrize(
    ("number", "words"), [(errno.EIO, "Input/output error"), (errno.ESTALE, "Stale file handle")]
)
def test_a_bad_sector_or_a_stale_mount_is_quarantined(
    number: int, words: str, mute: Path, curate: Curate, store: StepStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opened(path: Path, mode: str) -> Any:
        return BadSector(str(path), 1000, number) if path.suffix == ".mp4" else open(path, mode)

    monkeypatch.setattr(products, "open", opened, raising=False)
    outcome = curate(mute)
    assert only(outcome) == (Status.QUARANTINED, RejectReason.INACCESSIBLE, words)
    assert not outcome.is_final
    assert not (store.root / "read").exists()


def test_a_decoders_complaint_about_a_failing_disk_is_no_verdict(
    tmp_path: Path, curate: Curate, store: StepStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bytes could be read when the file was hashed, and no longer when the decoder refused it."""
    path = tmp_path / "a.mp4"
    path.write_bytes(b"junk" * 1000)
    hashed = steps.check_unchanged

    def fails(path: Path, *_: object) -> str:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    def check(*args: Any, **options: Any) -> None:
        monkeypatch.setattr(sources, "file_sha256", fails)
        hashed(*args, **options)

    monkeypatch.setattr(steps, "check_unchanged", check)
    assert only(curate(path))[1:] == (RejectReason.INACCESSIBLE, "Input/output error")
    monkeypatch.undo()
    assert only(curate(path))[1] is RejectReason.UNREADABLE


class Stream(source_stream.SourceStream):
    """A stream that does something to its file when it has been read."""

    then: Callable[[Path], None]

    def pictures(self) -> Any:
        yield from super().pictures()
        type(self).then(self.path)


def test_a_file_that_vanishes_at_work_is_quarantined(
    mute: Path, curate: Curate, store: StepStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Stream, "then", staticmethod(Path.unlink), raising=False)
    monkeypatch.setattr(steps, "SourceStream", Stream)
    assert only(curate(mute))[1:] == (RejectReason.INACCESSIBLE, "it is no longer there")
    assert not [
        path for path in (store.root / "read").rglob("*") if path.is_file() and path.suffix != ".lock"
    ]


@pytest.mark.parametrize("times", [1, 99])
def test_a_file_that_changes_at_work_is_read_again(
    times: int, reel: Reel, tmp_path: Path, curate: Curate, store: StepStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path(shutil.copy(reel("one", ["face"]), tmp_path / "a.mp4"))
    changes = []

    def changing(path: Path) -> None:
        if len(changes) < times:
            changes.append(1)
            with open(path, "ab") as stream:
                stream.write(b"\0\0\0\x08free")

    monkeypatch.setattr(Stream, "then", staticmethod(changing), raising=False)
    monkeypatch.setattr(steps, "SourceStream", Stream)
    outcome = curate(path)
    if times == 1:
        assert outcome.status is Status.ACCEPTED
        assert outcome.sha256 == products.file_sha256(path)
    else:
        assert only(outcome)[1:] == (RejectReason.INACCESSIBLE, "it changed while it was being read")
        assert len(changes) == 2
    clips = list(store.root.rglob("0.mp4"))
    assert len(clips) == (1 if times == 1 else 0), "pieces of bytes that are gone are not kept"


def test_a_source_whose_worker_died_has_a_row(tmp_path: Path) -> None:
    outcome = failed_source(tmp_path / "a.mp4", tmp_path, "the worker died")
    assert only(outcome) == (Status.QUARANTINED, RejectReason.FAILED_THIS_TIME, "the worker died")
    assert (outcome.source, outcome.frames_in, outcome.failed_this_time) == ("a.mp4", 0, True)


def test_why_inaccessible_reads_a_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.mp4").write_bytes(b"1")

    def opened(path: Path, mode: str) -> IO[bytes] | BadSector:
        return BadSector(str(path), 0, errno.EIO)

    monkeypatch.setattr(sources, "open", opened, raising=False)
    assert sources.why_inaccessible(tmp_path / "a.mp4") == "Input/output error"
