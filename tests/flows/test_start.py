"""Start-up: an unchanged folder is answered from what is known, without reading it, and without Ray or torch."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from flows.catalogue import run_flow
from lipforcing_core.base import products
from lipforcing_core.curation.records import Decision, SourceOutcome, Status
from tasks import curation, digests, together
from tasks.curation import Source
from tasks.digests import source_digests
from tests.tasks.in_process import convey

JUNK = b"not a video"


def not_dispatched(*_args: Any, **_kwargs: Any) -> None:
    raise AssertionError("a worker was started")


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    folder = tmp_path / "videos"
    folder.mkdir()
    for name in ("a.mp4", "b.mp4"):
        (folder / name).write_bytes(JUNK + name.encode())
        age(folder / name)
    return folder


def age(path: Path) -> None:
    """Make a file look settled; the clock of its status cannot be set, so the test moves ours."""
    os.utime(path, (1_000_000_000, 1_000_000_000))


@pytest.fixture(autouse=True)
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    now = digests.time.time
    monkeypatch.setattr(digests.time, "time", lambda: now() + 60)


@pytest.fixture
def no_ray(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Curates in this process; remembers the names of every shard."""
    seen: list[list[str]] = []

    def shard(sources: Sequence[Source], *stations: Any, **options: Any) -> list[Any]:
        seen.append(sorted(source.path.name for source in sources))
        return convey(sources, *stations, **options)

    monkeypatch.setattr(curation, "convey", shard)
    return seen


def curate(tmp_path: Path, videos: Path, **settings: Any) -> Any:
    return run_flow(
        "curate", {"workspace": str(tmp_path / "ws"), "source": str(videos), "settings": settings}
    )


def test_an_unchanged_folder_starts_no_work(
    tmp_path: Path, videos: Path, no_ray: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = curate(tmp_path, videos)
    assert no_ray == [["a.mp4", "b.mp4"]]
    assert (first.sources_quarantined, first.sources_reused) == (2, 0)
    monkeypatch.setattr(together, "assemble_manifest", not_dispatched)
    monkeypatch.setattr(digests, "source_sha256", not_dispatched)
    second = curate(tmp_path, videos)
    assert len(no_ray) == 1
    assert second == first.model_copy(update={"sources_reused": 2})


def test_only_what_is_new_or_changed_is_worked_on(
    tmp_path: Path, videos: Path, no_ray: list[list[str]]
) -> None:
    curate(tmp_path, videos)
    (videos / "c.mp4").write_bytes(JUNK + b"c")
    (videos / "a.mp4").write_bytes(JUNK + b"changed")
    again = curate(tmp_path, videos)
    assert no_ray[1:] == [["a.mp4", "c.mp4"]]
    assert (again.sources_in, again.sources_reused) == (3, 1)


def test_other_settings_look_again_and_a_lost_product_is_made_again(
    tmp_path: Path, videos: Path, no_ray: list[list[str]]
) -> None:
    first = curate(tmp_path, videos)
    other = curate(tmp_path, videos, min_segment_s=3.0)
    assert len(no_ray) == 2
    assert other.run_id != first.run_id
    first.manifest.unlink()
    assert curate(tmp_path, videos).manifest.is_file()
    assert len(no_ray) == 2


def test_digests_are_remembered_only_of_files_that_stay_as_they_are(
    tmp_path: Path, videos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = sorted(videos.iterdir())
    state = tmp_path / "state"
    first = source_digests(paths, videos, state)
    assert first == [products.file_sha256(path) for path in paths]
    read: list[str] = []
    real = digests.source_sha256
    monkeypatch.setattr(
        digests, "source_sha256", lambda path, root: read.append(path.name) or real(path, root)
    )
    assert source_digests(paths, videos, state) == first
    assert read == []
    stat = paths[0].stat()
    paths[0].write_bytes(bytes(len(paths[0].read_bytes())))  # as long as before, and with the old time
    os.utime(paths[0], ns=(stat.st_atime_ns, stat.st_mtime_ns))
    changed = source_digests(paths, videos, state)
    assert read == ["a.mp4"]
    assert changed == [products.file_sha256(path) for path in paths]


def test_a_file_that_has_just_changed_is_read_again(
    tmp_path: Path, videos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths, state = sorted(videos.iterdir()), tmp_path / "state"
    monkeypatch.undo()
    for path in paths:  # ahead of the clock, so that a machine that stands still for a while changes nothing
        os.utime(path, (time.time() + 3600,) * 2)
    source_digests(paths, videos, state)
    read: list[str] = []
    real = digests.source_sha256
    monkeypatch.setattr(
        digests, "source_sha256", lambda path, root: read.append(path.name) or real(path, root)
    )
    source_digests(paths, videos, state)
    assert sorted(read) == ["a.mp4", "b.mp4"]


def test_a_verdict_of_the_circumstances_is_not_kept(tmp_path: Path) -> None:
    from lipforcing_core.base.products import StepStore
    from lipforcing_core.curation.reasons import RejectReason
    from tasks.outcomes import find_outcome, keep_outcome

    def outcome(reason: RejectReason) -> SourceOutcome:
        decision = Decision(
            source="a.mp4", source_id="0", level="source", start_frame=0, stop_frame=0, seconds=0.0,
            status=Status.QUARANTINED, reason=reason, message="",
        )  # fmt: skip
        return SourceOutcome(
            source="a.mp4", source_id="0", sha256="0", frames_in=0, decisions=(decision,), decoder_message=""
        )

    store = StepStore(tmp_path)
    keep_outcome(store, "k1", outcome(RejectReason.INACCESSIBLE))
    keep_outcome(store, "k2", outcome(RejectReason.UNREADABLE))
    assert find_outcome(store, "k1") is None
    assert find_outcome(store, "k2") == outcome(RejectReason.UNREADABLE)


@pytest.mark.parametrize("module", ["flows.curate", "flows.catalogue"])
def test_a_flow_is_imported_without_what_only_its_work_needs(module: str) -> None:
    heavy = {"torch", "ray", "great_expectations", "transformers", "pandas", "matplotlib"}
    code = f"import sys, {module}; print(sorted({heavy!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
