from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.products import StepStore, read_json
from lipforcing_core.curation.assemble import assemble_manifest
from lipforcing_core.curation.backends import CurationBackends
from lipforcing_core.curation.contract import check_contract
from lipforcing_core.curation.funnel import Balance, balance
from lipforcing_core.curation.manifest import read_decisions, read_manifest, write_manifest
from lipforcing_core.curation.pipeline import curate_source
from lipforcing_core.curation.records import SourceOutcome, Status
from lipforcing_core.curation.settings import CurationSettings
from lipforcing_core.curation.sources import find_sources
from lipforcing_core.media.decode import read_frames

Corpus = tuple[list[SourceOutcome], StepStore]
SETTINGS = CurationSettings(
    min_segment_s=2.0, max_segment_s=4.0, min_face_height_px=40, quality_threshold=2.0
)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory, reel: Callable[..., Path]) -> Corpus:
    from .conftest import BlueExpert, DetailQuality, EverySoundSpeaks, SquareDetector

    backends = CurationBackends(
        detector=SquareDetector(),
        sync_expert=BlueExpert(),
        quality=DetailQuality(),
        activity=EverySoundSpeaks(),
    )  # type: ignore[arg-type]
    folder = tmp_path_factory.mktemp("corpus")
    shutil.copy(reel("mixed", ["face", "grey", "flat", "face"], offset_frames=3), folder / "b.mp4")
    shutil.copy(folder / "b.mp4", folder / "copy of b.mp4")
    shutil.copy(reel("mute", ["face"], sound="none"), folder / "a.mp4")
    (folder / "junk <b>.mp4").write_bytes(b"junk" * 100)
    (folder / "a.mp4.meta.json").write_text('{"identity": "anna", "licence": "CC-BY-4.0"}')
    store = StepStore(folder / "store")
    outcomes = [
        curate_source(path, settings=SETTINGS, backends=backends, store=store, root=folder)
        for path in find_sources(folder).sources
        if "store" not in path.parts
    ]
    return outcomes, store


def test_the_data_set_is_complete_and_the_books_balance(corpus: Corpus, tmp_path: Path) -> None:
    outcomes, store = corpus
    report = assemble_manifest(outcomes, tmp_path, SETTINGS, store=store)
    assert report.contract.success, report.contract.failures
    assert report.balance == Balance(
        sources_in=4,
        sources_accepted=1,
        sources_rejected=2,
        sources_quarantined=1,
        frames_in=540,
        frames_accepted=120,
        frames_rejected=420,
        frames_quarantined=0,
        clips=2,
    )
    assert report.balance.holds
    clips = read_manifest(report.manifest)
    assert [(c.source, c.start_frame, c.shot) for c in clips] == [("b.mp4", 0, 0), ("b.mp4", 180, 3)]
    for clip in clips:
        assert read_frames(tmp_path / clip.clip_path, 0, 1).shape == (1, 512, 512, 3)
        assert (tmp_path / clip.audio_path).is_file()
        assert (tmp_path / clip.alignment_path).is_file()
    decisions = read_decisions(report.decisions)
    assert sum(d.num_frames for d in decisions) == 540
    by_source = {d.source: d for d in decisions if d.level == "source"}
    assert by_source["copy of b.mp4"].reason == "duplicate"
    assert by_source["copy of b.mp4"].message == "same bytes as b.mp4"
    assert by_source["junk <b>.mp4"].status is Status.QUARANTINED
    assert by_source["a.mp4"].reason == "no_audio"


def test_funnel_narrows_stage_by_stage(corpus: Corpus, tmp_path: Path) -> None:
    outcomes, store = corpus
    report = assemble_manifest(outcomes, tmp_path, SETTINGS, store=store)
    rows = {row.stage: (row.sources, row.num_frames) for row in report.funnel}
    assert rows == {
        "found": (4, 540),
        "decode": (3, 540),
        "unique": (2, 300),
        "sound": (1, 240),
        "length": (1, 240),
        "face": (1, 180),
        "quality": (1, 120),
        "sync": (1, 120),
    }
    reasons = {row.reason.value: row.seconds for row in report.reasons}
    assert reasons == {
        "duplicate": 9.6,
        "no_face": 2.4,
        "quality_low": 2.4,
        "no_audio": 2.4,
        "unreadable": 0.0,
    }
    assert read_json(report.funnel_json)["balance"]["clips"] == 2


def test_same_outcomes_in_any_order_give_the_same_bytes(corpus: Corpus, tmp_path: Path) -> None:
    outcomes, store = corpus
    assemble_manifest(outcomes, tmp_path / "a", SETTINGS, store=store)
    assemble_manifest(outcomes, tmp_path / "b", SETTINGS, store=store)
    assemble_manifest(outcomes[::-1], tmp_path / "b", SETTINGS, store=store)
    files = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*") if p.is_file())
    assert len(files) == 7 + 6
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


def test_clips_no_longer_accepted_disappear(corpus: Corpus, tmp_path: Path) -> None:
    outcomes, store = corpus
    assemble_manifest(outcomes, tmp_path, SETTINGS, store=store)
    report = assemble_manifest([o for o in outcomes if o.source == "a.mp4"], tmp_path, SETTINGS, store=store)
    assert list((tmp_path / "clips").iterdir()) == []
    assert read_manifest(report.manifest) == []
    assert report.contract.success  # an empty manifest breaks no promise


def test_a_clip_that_was_cut_off_in_the_data_set_is_placed_anew(corpus: Corpus, tmp_path: Path) -> None:
    outcomes, store = corpus
    report = assemble_manifest(outcomes, tmp_path, SETTINGS, store=store)
    clip = read_manifest(report.manifest)[0]
    placed = tmp_path / clip.clip_path
    whole = placed.read_bytes()
    placed.unlink()
    placed.write_bytes(whole[: len(whole) // 2])
    assemble_manifest(outcomes, tmp_path, SETTINGS, store=store)
    assert placed.read_bytes() == whole


def test_contract_catches_bad_rows_and_lost_frames(corpus: Corpus) -> None:
    outcomes, _ = corpus
    clips = [clip.record for o in outcomes[1:2] for clip in o.clips]
    decisions = [d for o in outcomes[1:2] for d in o.decisions]
    counts = balance(outcomes[1:2])
    assert check_contract(clips, decisions, counts, SETTINGS).success
    scores = replace(clips[0].scores, sync_confidence=0.5, av_offset_remaining=2)
    weak = clips[0].model_copy(update={"scores": scores})
    twice = [weak, clips[1], clips[1]]
    result = check_contract(twice, decisions[1:], counts, SETTINGS)
    broken = {(check.table, check.column) for check in result.failures}
    assert {("manifest", "sync_confidence"), ("manifest", "av_offset_remaining")} <= broken
    assert {("manifest", "clip_id"), ("balance", "frames_in, frames_out")} <= broken
    assert result.num_failed == len(result.failures)
    (low,) = (c for c in result.failures if c.column == "sync_confidence")
    assert low.num_unexpected == 1
    assert low.examples == ("0.5",)


def test_data_docs_are_one_file_and_escape_names(corpus: Corpus, tmp_path: Path) -> None:
    outcomes, store = corpus
    page = assemble_manifest(outcomes, tmp_path, SETTINGS, store=store).data_docs.read_text(encoding="utf-8")
    assert "junk &lt;b&gt;.mp4" in page
    assert "junk <b>" not in page
    assert "<script" not in page
    assert "http" not in page
    assert "square-v1" in page


def test_manifest_rejects_what_is_not_one(corpus: Corpus, tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"no")
    with pytest.raises(BadInputError, match="not a readable Parquet"):
        read_manifest(tmp_path / "a.parquet")
    with pytest.raises(BadInputError, match="no such file"):
        read_manifest(tmp_path / "b.parquet")
    clip = next(c.record for o in corpus[0] for c in o.clips)
    write_manifest(tmp_path / "c.parquet", [clip.model_copy(update={"clip_path": "../../etc/passwd"})])
    with pytest.raises(BadInputError, match="leaves the manifest's folder"):
        read_manifest(tmp_path / "c.parquet")
    table = pq.read_table(tmp_path / "c.parquet").drop_columns(["split"])
    pq.write_table(table, tmp_path / "d.parquet")
    with pytest.raises(BadInputError, match="split"):
        read_manifest(tmp_path / "d.parquet")
