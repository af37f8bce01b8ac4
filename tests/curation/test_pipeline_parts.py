"""One source with steps that say what the tests want: how its outcome is decided, and what stands in its row."""

from __future__ import annotations

import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from lipforcing_core.base.errors import MediaError, SurroundingsError
from lipforcing_core.base.products import StepStore
from lipforcing_core.curation import pipeline, steps
from lipforcing_core.curation.backends import CurationBackends
from lipforcing_core.curation.pieces import Curated
from lipforcing_core.curation.pipeline import curate_source, failed_source
from lipforcing_core.curation.records import SCORE_NAMES, Decision, SourceFacts, SourceOutcome
from lipforcing_core.curation.results import Reading, Undecodable
from lipforcing_core.curation.settings import CurationSettings
from lipforcing_core.curation.sources import SourceChangedError, identify_source, lost_sha256
from lipforcing_core.curation.wanted import Wanted
from lipforcing_core.media.decode import NO_VIDEO

from .readings import plain_reading

SETTINGS = CurationSettings()
BACKENDS = CurationBackends(detector="detector", sync_expert=None, quality=None, activity=None)  # type: ignore[arg-type]
FACTS = SourceFacts(identity="anna")


def whole(num_frames: int = 250, **changes: Any) -> Reading:
    """A source of ten seconds with sound and nothing in it."""
    return plain_reading(num_frames, **changes)


Curate = Callable[..., SourceOutcome]


@pytest.fixture
def video(tmp_path: Path) -> Path:
    folder = tmp_path / "corpus" / "sub"
    folder.mkdir(parents=True)
    (folder / "a.mp4").write_bytes(b"some bytes")
    (folder / "a.mp4.meta.json").write_text('{"identity": "anna"}')
    return folder / "a.mp4"


@pytest.fixture
def curate(video: Path, store: StepStore, monkeypatch: pytest.MonkeyPatch) -> Curate:
    """Curate the source where the step ``read`` gives the result, or raises the errors one after the other."""

    def run(
        result: Reading | Undecodable, *errors: Exception, facts: SourceFacts | None = None, **changes: object
    ) -> SourceOutcome:
        left, settings, root = list(errors), SETTINGS.model_copy(update=changes), video.parent.parent

        def read_source(file: Any, *given: Any) -> steps.ReadSource:
            assert given == (Wanted.of(facts or FACTS, root), settings, "detector", store)
            if left:
                raise left.pop(0)
            return steps.ReadSource(file=file, store=store, key="re" * 8, result=result)

        monkeypatch.setattr(steps, "read_source", read_source)
        return curate_source(video, settings=settings, backends=BACKENDS, store=store, root=root, facts=facts)

    return run


def row(outcome: SourceOutcome) -> dict[str, Any]:
    """The one decision, without scores that nobody measured."""
    (decision,) = outcome.decisions
    found = decision.model_dump()
    assert {found.pop(name) for name in SCORE_NAMES} == {None}
    return found


def whole_row(video: Path, num_frames: int, status: str, reason: str, **changes: Any) -> dict[str, Any]:
    file = identify_source(video, video.parent.parent)
    return {
        "source": "sub/a.mp4",
        "source_id": file.source_id,
        "level": "source",
        "start_frame": 0,
        "stop_frame": num_frames,
        "seconds": num_frames / 25,
        "status": status,
        "reason": reason,
        "measured": None,
        "threshold": None,
        "message": "",
        "clip_id": None,
        "duplicate_of": None,
    } | changes


@pytest.mark.parametrize(
    ("declared_s", "num_frames", "message", "truncated"),
    [
        (Fraction(8), 187, "complaint", True),
        (Fraction(8), 188, "complaint", False),
        (Fraction(8), 187, "", False),
        (Fraction(20), 474, "complaint", True),
        (Fraction(20), 475, "complaint", False),
        (Fraction(20), 487, "complaint", False),
        (Fraction(20), 600, "complaint", False),
    ],
)
def test_a_source_is_truncated_where_half_a_second_and_a_twentieth_are_missing(
    declared_s: Fraction, num_frames: int, message: str, truncated: bool, curate: Curate, video: Path
) -> None:
    """8 s: half a second is more. 20 s: a twentieth, one second, is more."""
    result = whole(declared_s=declared_s, num_frames=num_frames, complaint=message, num_samples=0)
    outcome = curate(result)
    if truncated:
        measured = {"measured": num_frames / 25, "threshold": float(declared_s), "message": message}
        assert row(outcome) == whole_row(
            video, round(declared_s * 25), "quarantined", "truncated", **measured
        )
    else:
        assert row(outcome) == whole_row(video, num_frames, "rejected", "no_audio", message=message)
    assert outcome.frames_in == (round(declared_s * 25) if truncated else num_frames)
    file = identify_source(video, video.parent.parent)
    assert (outcome.source, outcome.source_id, outcome.sha256) == ("sub/a.mp4", file.source_id, file.sha256)
    assert outcome.decoder_message == message


@pytest.mark.parametrize("num_samples", [0, 1])
def test_a_source_with_a_single_sample_has_sound(
    num_samples: int, curate: Curate, video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Any] = []

    def pieces(*arguments: Any) -> Curated:
        given.append(arguments[1:])
        decision = Decision.model_validate(
            whole_row(video, 247, "rejected", "no_face") | {"level": "segment"}
        )
        return Curated(decisions=[decision], frames_trimmed=3)

    monkeypatch.setattr(pipeline, "curate_pieces", pieces)
    result = whole(num_samples=num_samples, complaint="an\x1bo")
    outcome = curate(result)
    if num_samples == 0:
        assert given == []
        assert row(outcome)["reason"] == "no_audio"
    else:
        assert given == [(result, FACTS, SETTINGS, BACKENDS)]
        assert (outcome.frames_in, outcome.frames_trimmed, outcome.clips) == (250, 3, ())
        assert outcome.decisions[0].level == "segment"
        assert (outcome.source, len(outcome.source_id), len(outcome.sha256)) == ("sub/a.mp4", 16, 64)
    assert outcome.decoder_message == r"an\x1bo"


@pytest.mark.parametrize(
    ("problem", "words", "declared_s", "status", "reason", "message", "num_frames"),
    [
        (NO_VIDEO, "", None, "rejected", "no_video", NO_VIDEO, 0),
        (NO_VIDEO, "audio only", Fraction(2), "rejected", "no_video", f"{NO_VIDEO}: audio only", 50),
        ("is empty", "x\x1b", Fraction(1, 10), "quarantined", "unreadable", r"is empty: x\x1b", 2),
        ("is empty", "", None, "quarantined", "unreadable", "is empty", 0),
    ],
)
def test_a_source_that_gives_no_picture(
    problem: str,
    words: str,
    declared_s: Fraction | None,
    status: str,
    reason: str,
    message: str,
    num_frames: int,
    curate: Curate,
    video: Path,
) -> None:
    outcome = curate(Undecodable(problem=problem, decoder_message=words, declared_s=declared_s))
    assert row(outcome) == whole_row(video, num_frames, status, reason, message=message)
    assert (outcome.frames_in, outcome.decoder_message) == (num_frames, message)


def test_a_refused_source_that_ends_within_a_box_is_truncated(curate: Curate, video: Path) -> None:
    video.write_bytes(box(b"ftyp", 8) + box(b"moov", 100)[:50])
    outcome = curate(Undecodable(problem="is empty", decoder_message="", declared_s=None))
    assert row(outcome) == whole_row(video, 0, "quarantined", "truncated", message="is empty")


def box(kind: bytes, length: int, *, size: int | None = None) -> bytes:
    """A box of an MP4 file with that many bytes of content; ``size``: what its head says instead."""
    return struct.pack(">I4s", 8 + length if size is None else size, kind) + bytes(length)


def large_box(length: int, size: int) -> bytes:
    """A box with a size of 64 bits behind its type."""
    return struct.pack(">I4sQ", 1, b"mdat", size) + bytes(length)


FTYP = box(b"ftyp", 16)


@pytest.mark.parametrize(
    ("content", "cut_off"),
    [
        (FTYP + box(b"moov", 100), False),
        (FTYP + box(b"moov", 100)[:-1], True),
        (FTYP + box(b"moov", 100) + b"tail", False),
        (FTYP + box(b"moov", 100) + b"7 bytes", False),
        (FTYP + box(b"moov", 0), False),
        (FTYP + box(b"free", 0) + box(b"mdat", 90)[:20], True),
        (FTYP + box(b"mdat", 100, size=0), False),
        (FTYP + box(b"mdat", 100, size=7), False),
        (FTYP + box(b"mdat", 1, size=7)[:8], False),
        (FTYP + large_box(100, 116), False),
        (FTYP + large_box(100, 117), True),
        (FTYP + large_box(100, 115) + b"x" * 3, False),
        (FTYP + large_box(100, 2**40), True),
        (FTYP + large_box(100, 116) + box(b"moov", 40)[:30], True),
        (FTYP + box(b"free", 8, size=2) + bytes(40), False),
        (box(b"free", 16) + box(b"moov", 100)[:50], False),
        (box(b"moov", 100)[:50], False),
        (FTYP[:20], True),
        (FTYP[:8], True),
        (FTYP[:7], False),
        (b"", False),
        (b"\0\0\0\x30", False),
        (FTYP + box(b"moov", 256) + box(b"mdat", 70_000), False),
        (FTYP + box(b"moov", 256) + box(b"mdat", 70_000)[:-1], True),
    ],
)
def test_a_file_is_cut_off_where_it_ends_inside_a_box(content: bytes, cut_off: bool, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(content)
    assert pipeline._is_cut_off(tmp_path / "a.mp4") is cut_off


@pytest.mark.parametrize("errors", [1, 2])
@pytest.mark.parametrize(
    ("error", "reason", "message"),
    [
        (SurroundingsError("killed \x1b"), "failed_this_time", r"killed \x1b"),
        (MemoryError(), "failed_this_time", "there is not enough memory"),
        (OSError(5, "Input/output\x1berror"), "failed_this_time", r"[Errno 5] Input/output\x1berror"),
        (SourceChangedError("sub/a.mp4", "it changed"), "inaccessible", "it changed"),
    ],
)
def test_what_fails_around_a_source_is_tried_twice(
    error: Exception, reason: str, message: str, errors: int, curate: Curate, video: Path, store: StepStore
) -> None:
    outcome = curate(whole(num_samples=0), *[error] * errors)
    if errors == 1:
        assert row(outcome)["reason"] == "no_audio"
        return
    expected = whole_row(video, 0, "quarantined", reason, message=message)
    if reason == "inaccessible":
        expected["source_id"] = lost_sha256("sub/a.mp4")[:16]
        assert outcome.sha256 == lost_sha256("sub/a.mp4")
    else:
        assert outcome.sha256 == identify_source(video, video.parent.parent).sha256
    assert row(outcome) == expected


def test_a_product_that_was_damaged_is_forgotten_and_the_source_tried_again(
    curate: Curate, store: StepStore
) -> None:
    product = store.run("read", "key", lambda folder: {}).folder / "000000-000060" / "0.mp4"
    outcome = curate(whole(num_samples=0), MediaError(product, "stops"))
    assert row(outcome)["reason"] == "no_audio"
    assert store.find("read", "key") is None
    with pytest.raises(MediaError, match="elsewhere"):
        curate(whole(), MediaError(Path("/elsewhere.mp4"), "stops"))


@pytest.mark.parametrize("error", [RuntimeError("a bug"), MediaError(Path("/elsewhere.mp4"), "stops")])
def test_a_mistake_of_the_program_ends_the_run(error: Exception, curate: Curate) -> None:
    with pytest.raises(type(error)):
        curate(whole(), error)


def test_what_a_corpus_says_wins_over_what_lies_beside_the_file(curate: Curate) -> None:
    """The fixture sees to it that the step is asked for what is wanted of the source."""
    facts = SourceFacts(identity="ben", ranges="1-2", crop="0 0 9 9", audio="a.m4a")  # type: ignore[arg-type]
    assert row(curate(whole(num_samples=0), facts=facts))["reason"] == "no_audio"


def test_the_lock_of_the_content_is_held_at_work(
    curate: Curate, store: StepStore, video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked: list[Any] = []
    hold = steps.one_at_a_time

    def holding(given: StepStore, sha256: str) -> Any:
        locked.append((given, sha256))
        return hold(given, sha256)

    monkeypatch.setattr(steps, "one_at_a_time", holding)
    curate(whole(num_samples=0))
    assert locked == [(store, identify_source(video, video.parent.parent).sha256)]


def test_a_source_that_nobody_can_read_or_whose_worker_died(
    video: Path, store: StepStore, curate: Curate
) -> None:
    video.unlink()
    lost = lost_sha256("sub/a.mp4")
    for outcome, reason, message in (
        (curate(whole()), "inaccessible", "it is no longer there"),
        (failed_source(video, video.parent.parent, "died \x1b"), "failed_this_time", r"died \x1b"),
    ):
        video.touch()
        expected = whole_row(video, 0, "quarantined", reason, message=message) | {"source_id": lost[:16]}
        assert row(outcome) == expected
        assert (outcome.source, outcome.sha256, outcome.frames_in) == ("sub/a.mp4", lost, 0)
        assert outcome.decoder_message == message
