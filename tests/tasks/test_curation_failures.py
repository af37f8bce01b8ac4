"""Workers that die at a source, and results that must not answer for the next run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from lipforcing_core.base.products import StepStore
from lipforcing_core.curation.assemble import assemble_manifest
from lipforcing_core.curation.pipeline import failed_source
from lipforcing_core.curation.reasons import RejectReason
from lipforcing_core.curation.records import Decision, SourceOutcome, Status
from lipforcing_core.curation.settings import CurationSettings
from lipforcing_core.curation.sources import lost_sha256
from tasks import curating, curation
from tasks.curating import Corpus, curate_corpus, discover
from tasks.curation import Judged, Source, curate_shard
from tasks.outcomes import find_outcome, keep_outcome
from tasks.workspace import Workspace

SETTINGS = CurationSettings()
SHA256 = "ab" * 32


def outcome(name: str, reason: str, sha256: str = SHA256) -> SourceOutcome:
    status = Status.REJECTED if reason == "no_audio" else Status.QUARANTINED
    decision = Decision(
        source=name,
        source_id=sha256[:16],
        level="source",
        start_frame=0,
        stop_frame=0,
        seconds=0.0,
        status=status,
        reason=RejectReason(reason),
    )
    return SourceOutcome(
        source=name, source_id=sha256[:16], sha256=sha256, frames_in=0, decisions=(decision,)
    )


@pytest.mark.parametrize("reason", ["failed_this_time", "inaccessible", "no_audio", "unreadable"])
def test_only_what_is_a_property_of_the_file_is_kept(reason: str, tmp_path: Path) -> None:
    store = StepStore(tmp_path)
    keep_outcome(store, "key", outcome("a.mp4", reason))
    kept = find_outcome(store, "key")
    assert (kept is not None) == (reason in ("no_audio", "unreadable"))


@pytest.mark.parametrize(
    ("made", "settled"),
    [
        (outcome("a.mp4", "no_audio"), True),
        (outcome("a.mp4", "failed_this_time"), False),
        (outcome("a.mp4", "inaccessible", lost_sha256("a.mp4")), False),
    ],
)
def test_a_run_with_a_failure_does_not_answer_for_the_next(
    made: SourceOutcome, settled: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(curating, "curate_shard", lambda *_, **__: [made])
    (tmp_path / "a.mp4").touch()
    (tmp_path / "b.txt").touch()
    (tmp_path / "sources.csv").write_text("path\nc.mp4\n")
    found = discover(tmp_path)
    corpus = Corpus(sources=tuple(found.sources), hashes=(SHA256,), keys=("key",))
    curated = curate_corpus(Workspace(tmp_path / "ws"), corpus, SETTINGS, tmp_path / "run", found)
    assert curated.is_settled is settled
    assert curated.report.ignored == found.ignored
    assert [entry.kind for entry in found.ignored] == [".txt"]
    assert len(curated.report.warnings) == 1
    assert curated.report.failed == (("a.mp4",) if made.failed_this_time else ())


def test_side_information_is_part_of_a_runs_identity(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    assert discover(tmp_path).identity() == {}
    (tmp_path / "sources.csv").write_text("path,licence\na.mp4,CC0\n")
    first = discover(tmp_path).identity()
    (tmp_path / "sources.csv").write_text("path,licence\na.mp4,CC-BY-4.0\n")
    assert first
    assert discover(tmp_path).identity() != first


@pytest.mark.parametrize("how", ["died", "raised", "fine"])
def test_what_a_dead_worker_was_writing_is_removed_at_once(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    swept = []
    monkeypatch.setattr(StepStore, "sweep", lambda self: swept.append(self.root))

    def convey(
        items: Sequence[Source], _stations: Any, *, lost: Callable[[Source, str], Judged], **_: Any
    ) -> list[Judged]:
        if how == "raised":
            raise KeyboardInterrupt
        if how == "died":
            return [lost(items[0], "the worker died")]
        return [Judged(outcome=outcome("a.mp4", "no_audio"), costs={})]

    monkeypatch.setattr(curation, "convey", convey)
    source = Source(path=tmp_path / "a.mp4", root=tmp_path)
    if how == "raised":
        with pytest.raises(KeyboardInterrupt):
            curate_shard.fn([source], SETTINGS, StepStore(tmp_path))
    else:
        (made,) = curate_shard.fn([source], SETTINGS, StepStore(tmp_path))
        assert made.failed_this_time is (how == "died")
        assert how == "fine" or made == failed_source(source.path, source.root, "the worker died")
    assert swept == ([] if how == "fine" else [tmp_path])


def test_failures_and_ignored_files_are_on_the_page(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a.mp4", "b.txt", "c.txt", "._d.mp4"):
        (tmp_path / "in" / name).touch()
    found = discover(tmp_path / "in")
    report = assemble_manifest(
        [outcome("a.mp4", "failed_this_time")],
        tmp_path / "out",
        SETTINGS,
        store=StepStore(tmp_path / "store"),
        ignored=found.ignored,
        warnings=("sources.csv, line 2: names x.mp4, which is not there",),
    )
    page = report.data_docs.read_text(encoding="utf-8")
    for words in ("Ignored: 2 .txt, 1 hidden", "On 1 sources the machine failed.", "line 2: names x.mp4"):
        assert words in page
    assert (report.balance.files_ignored, report.balance.sources_failed) == (3, 1)
    assert report.contract.success
