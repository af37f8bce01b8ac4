"""What fails around a source is no property of the source: it is tried again, told, and never stored."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import imageio_ffmpeg
import pytest

from lipforcing_core.base import products
from lipforcing_core.base.products import StepStore
from lipforcing_core.curation import sources, steps
from lipforcing_core.curation.backends import CurationBackends
from lipforcing_core.curation.pipeline import curate_source, failed_source
from lipforcing_core.curation.reasons import RejectReason
from lipforcing_core.curation.records import SourceOutcome, Status
from lipforcing_core.curation.settings import CurationSettings
from lipforcing_core.curation.sources import identify_source, source_sha256

Reel = Callable[..., Path]
Curate = Callable[..., SourceOutcome]


@pytest.fixture
def curate(settings: CurationSettings, backends: CurationBackends, store: StepStore) -> Curate:
    def run(path: Path, **changes: object) -> SourceOutcome:
        changed = settings.model_copy(update=changes)
        return curate_source(path, settings=changed, backends=backends, store=store, root=path.parent)

    return run


@pytest.fixture
def mute(reel: Reel, tmp_path: Path) -> Path:
    """A source that is soon done with: it has no sound."""
    return Path(shutil.copy(reel("mute short", ["grey"], sound="none", shot_frames=12), tmp_path / "a.mp4"))


@pytest.fixture
def broken_ffmpeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Put a shell script in the place of ffmpeg; returns the file in which it counts its calls."""

    def replace(script: str) -> Path:
        program, calls = tmp_path / "ffmpeg", tmp_path / "calls"
        output = 'for word; do case "$word" in */*) output="$word" ;; esac; done'
        program.write_text(f'#!/bin/sh\necho called >> "{calls}"\n{output}\n{script}\n')
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", lambda: str(program))
        return calls

    return replace


def only(outcome: SourceOutcome) -> tuple[Status, RejectReason | None, str]:
    (decision,) = outcome.decisions
    return decision.status, decision.reason, decision.message


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("kill -9 $$", "ended from outside by signal 9"),
        ("kill -15 $$", "ended from outside by signal 15"),
        ("echo 'Exiting normally, received signal 15.' >&2; exit 255", "told from outside to end"),
        ('echo half > "$output"; echo "av_write: No space left on device" >&2; exit 228', "the disk is full"),
        ('echo half > "$output"; echo "a.mp4: Cannot allocate memory" >&2; exit 244', "not enough memory"),
    ],
)
def test_a_killed_or_starved_ffmpeg_is_tried_again_and_leaves_nothing(
    script: str,
    words: str,
    mute: Path,
    curate: Curate,
    store: StepStore,
    broken_ffmpeg: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = broken_ffmpeg(script)
    outcome = curate(mute)
    status, reason, message = only(outcome)
    assert (status, reason) == (Status.QUARANTINED, RejectReason.FAILED_THIS_TIME)
    assert words in message
    assert outcome.failed_this_time
    assert not outcome.is_final
    assert calls.read_text().split() == ["called"] * 2
    assert not list((store.root / "normalise").rglob("*"))
    monkeypatch.undo()
    assert only(curate(mute))[1] is RejectReason.NO_AUDIO


def test_an_ffmpeg_that_crashes_tells_of_the_file(
    mute: Path, curate: Curate, broken_ffmpeg: Callable[[str], Path]
) -> None:
    calls = broken_ffmpeg("kill -11 $$")
    status, reason, message = only(curate(mute))
    assert (status, reason) == (Status.QUARANTINED, RejectReason.UNREADABLE)
    assert "SIGSEGV" in message
    curate(mute)
    assert calls.read_text().split() == ["called"]


def test_an_ffmpeg_that_is_not_there_is_a_failure_of_the_machine(
    mute: Path, curate: Curate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", lambda: "/nowhere/ffmpeg")
    assert only(curate(mute))[1:] == (
        RejectReason.FAILED_THIS_TIME,
        "ffmpeg cannot be started: No such file or directory",
    )


@pytest.mark.parametrize(
    "words", ["no message", "Exiting normally, received signal 15.", "x: No space left on device"]
)
def test_a_verdict_that_an_earlier_version_stored_for_a_killed_child_is_not_believed(
    words: str, mute: Path, curate: Curate, store: StepStore
) -> None:
    key = steps.normalise_key(source_sha256(mute, mute.parent))
    error = {"problem": "cannot be processed", "decoder_message": words}
    store.run("normalise", key, lambda folder: {"error": error, "declared_s": "12/25"})
    assert only(curate(mute))[1] is RejectReason.NO_AUDIO
    found = store.find("normalise", key)
    assert found is not None
    assert found.result["num_frames"] == 12, "the new verdict stands in the place of the old one"


class OutOfMemoryError(RuntimeError):
    """As torch calls it."""


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "the disk is full"),
        (MemoryError(), "there is not enough memory"),
        (OutOfMemoryError("CUDA out of memory"), "there is not enough memory"),
        (OSError(errno.ESTALE, "Stale file handle"), "[Errno 116] Stale file handle"),
    ],
)
def test_a_machine_that_fails_late_leaves_no_large_file(
    error: Exception,
    words: str,
    reel: Reel,
    curate: Curate,
    store: StepStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = []

    def fails(*_: object, **__: object) -> None:
        calls.append(1)
        raise error

    monkeypatch.setattr(steps, "detect_shots", fails)
    path = reel("one", ["face"])
    outcome = curate(path)
    assert only(outcome) == (Status.QUARANTINED, RejectReason.FAILED_THIS_TIME, words)
    assert outcome.frames_in == 60
    assert len(calls) == 2
    assert sorted(p.name for p in (store.root / "normalise").rglob("*.*")) == ["audio.wav", "result.json"]
    curate(path, keep_normalised=True)
    assert list(store.root.glob("normalise/*/video.mp4"))


@pytest.mark.parametrize("error", [ValueError("a bug"), RuntimeError("a bug"), KeyError("a bug")])
def test_a_mistake_of_the_program_is_not_hidden(
    error: Exception, reel: Reel, curate: Curate, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(steps, "detect_shots", fails)
    with pytest.raises(type(error), match="a bug"):
        curate(reel("one", ["face"]))


def test_a_failure_that_passes_costs_only_a_second_attempt(
    reel: Reel, curate: Curate, monkeypatch: pytest.MonkeyPatch
) -> None:
    detect, failures = steps.detect_shots, [MemoryError()]

    def fails_once(*args: Any, **options: Any) -> list[tuple[int, int]]:
        if failures:
            raise failures.pop()
        return detect(*args, **options)

    monkeypatch.setattr(steps, "detect_shots", fails_once)
    assert only(curate(reel("grey one", ["grey"])))[1] is RejectReason.NO_FACE


def test_a_finished_product_that_was_damaged_is_made_again(
    reel: Reel, curate: Curate, store: StepStore
) -> None:
    path = reel("one", ["face"])
    curate(path, keep_normalised=True)
    (video,) = store.root.glob("normalise/*/video.mp4")
    video.write_bytes(b"half")
    outcome = curate(path, shot_threshold=9.0)
    assert outcome.status is Status.ACCEPTED
    assert not outcome.failed_this_time


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
    assert not (store.root / "normalise").exists()


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


def test_a_file_that_vanishes_at_work_is_quarantined(
    mute: Path, curate: Curate, store: StepStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    probe = steps.probe

    def vanishing(path: Path) -> Any:
        path.unlink()
        return probe(path)

    monkeypatch.setattr(steps, "probe", vanishing)
    assert only(curate(mute))[1:] == (RejectReason.INACCESSIBLE, "it is no longer there")
    assert list((store.root / "normalise").rglob("*")) == []


@pytest.mark.parametrize("times", [1, 99])
def test_a_file_that_changes_at_work_is_read_again(
    times: int, mute: Path, curate: Curate, monkeypatch: pytest.MonkeyPatch
) -> None:
    normalise, changes = steps.normalise, []

    def changing(path: Path, *args: Any) -> Any:
        info = normalise(path, *args)
        if len(changes) < times:
            changes.append(1)
            with open(path, "ab") as stream:
                stream.write(b"\0\0\0\x08free")
        return info

    monkeypatch.setattr(steps, "normalise", changing)
    outcome = curate(mute)
    if times == 1:
        assert only(outcome)[1] is RejectReason.NO_AUDIO
        assert outcome.sha256 == products.file_sha256(mute)
    else:
        assert only(outcome)[1:] == (RejectReason.INACCESSIBLE, "it changed while it was being read")
        assert len(changes) == 2


def test_the_picture_is_never_made_again_from_other_bytes(mute: Path, store: StepStore) -> None:
    source = steps.normalised(identify_source(mute, mute.parent), store)
    steps.clear_video(store, source.file.sha256)
    with open(mute, "ab") as stream:
        stream.write(b"\0\0\0\x08free")
    with pytest.raises(sources.SourceChangedError):
        source.video()
    assert store.find("normalise", source.key) is None


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
