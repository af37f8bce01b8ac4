"""What a run of curation leaves, put together from outcomes made by hand: files, books, report and page."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from lipforcing_core.base.products import StepStore, read_json
from lipforcing_core.curation.assemble import CurationReport, assemble_manifest, mark_duplicates
from lipforcing_core.curation.contract import Check, ContractResult
from lipforcing_core.curation.data_docs import DataDocs, write_data_docs
from lipforcing_core.curation.funnel import Balance, FunnelRow, ReasonCount
from lipforcing_core.curation.manifest import read_decisions, read_manifest
from lipforcing_core.curation.reasons import RejectReason
from lipforcing_core.curation.records import ClipRecord, SourceOutcome, StoredClip
from lipforcing_core.curation.settings import CurationSettings
from lipforcing_core.curation.sources import IgnoredFiles

from .test_outcomes import FAILED, SCORES, clip, decision, outcome

SETTINGS = CurationSettings(max_absent_frames=3)
IGNORED = (
    IgnoredFiles(kind=".txt", num_files=3, example="notes.txt"),
    IgnoredFiles(kind="hidden", num_files=1, example=".x"),
)
PROBLEMS = ("RD_crop_wh.txt, line 3, width: 'x' is no <number> of pixels",)
WARNINGS = ("sources.csv, line 2: names x.mp4, which is not there",)


def record(number: int, source: str, **changes: Any) -> ClipRecord:
    clip_id = f"{number:016x}"
    paths = {"clip_path": ".mp4", "audio_path": ".wav", "alignment_path": ".npz"}
    names = {name: f"clips/{clip_id}{suffix}" for name, suffix in paths.items()}
    return clip(clip_id=clip_id, source=source, **(names | changes))


def accepted(store: StepStore, number: int, source: str, **changes: Any) -> SourceOutcome:
    """A source with one clip, whose three products lie in the store; its sound lasts 3 frames less."""
    own = record(number, source)
    names = {}
    for name in ("clip", "audio", "alignment"):
        path = store.root / "step" / str(number) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{name} {number}")
        names[name] = path.relative_to(store.root).as_posix()
    stored = StoredClip(record=own, **names)
    row = decision(source, 0, 125, status="accepted", reason=None, clip_id=own.clip_id, scores=SCORES)
    rest = decision(source, 125, 225, reason="too_short", measured=4.0, threshold=5.0)
    sha256 = f"{number:02x}" * 32
    return outcome(source, row, rest, sha256=sha256, clips=(stored,), frames_trimmed=3, **changes)


@pytest.fixture
def outcomes(store: StepStore) -> list[SourceOutcome]:
    """Two sources with a clip, a copy of the first, and one on which the machine failed; not in order."""
    first = accepted(store, 1, "b.mp4")
    copy = accepted(store, 1, "copy of b.mp4")
    failed = outcome("z.mp4", decision("z.mp4", 0, 50, **FAILED), sha256="ee" * 32)
    return [failed, accepted(store, 2, "a.mp4"), copy, first]


def assembled(outcomes: list[SourceOutcome], out: Path, store: StepStore) -> CurationReport:
    return assemble_manifest(
        outcomes, out, SETTINGS, store=store, ignored=IGNORED, warnings=WARNINGS, problems=PROBLEMS
    )


def test_the_report_names_the_products_and_tells_their_books(
    outcomes: list[SourceOutcome], store: StepStore, tmp_path: Path
) -> None:
    out = tmp_path / "new" / "out"
    report = assembled(outcomes, out, store)
    assert {
        name: getattr(report, name)
        for name in ("manifest", "decisions", "funnel_json", "contract_json", "data_docs")
    } == {
        "manifest": out / "manifest.parquet",
        "decisions": out / "decisions.parquet",
        "funnel_json": out / "funnel.json",
        "contract_json": out / "contract.json",
        "data_docs": out / "data_docs.html",
    }
    assert report.balance == Balance(
        sources_in=4,
        sources_accepted=2,
        sources_rejected=1,
        sources_quarantined=1,
        frames_in=3 * 228 + 50,
        frames_accepted=250,
        frames_rejected=428,
        frames_quarantined=50,
        clips=2,
        sources_failed=1,
        frames_trimmed=6,
        files_ignored=4,
    )
    assert (report.failed, report.ignored, report.warnings) == (("z.mp4",), IGNORED, WARNINGS)
    assert report.problems == PROBLEMS
    assert "width: &#39;x&#39; is no &lt;number&gt; of pixels" in report.data_docs.read_text(encoding="utf-8")
    assert report.contract.success, report.contract.failures
    assert [(r.reason.value, r.seconds) for r in report.reasons] == [
        ("duplicate", 9.12),
        ("too_short", 8.0),
        ("failed_this_time", 2.0),
    ]
    assert [(row.stage, row.segments) for row in report.funnel][:3] == [
        ("found", 6),
        ("decode", 5),
        ("unique", 4),
    ]
    funnel = read_json(report.funnel_json)
    assert funnel == json.loads(
        json.dumps(
            {
                "name": None,
                "balance": asdict(report.balance),
                "stages": [asdict(row) for row in report.funnel],
                "reasons": [asdict(row) for row in report.reasons],
                "settings": SETTINGS.model_dump(mode="json"),
                "ignored": [
                    {"kind": ".txt", "num_files": 3, "example": "notes.txt"},
                    {"kind": "hidden", "num_files": 1, "example": ".x"},
                ],
                "warnings": list(WARNINGS),
                "problems": list(PROBLEMS),
            }
        )
    )
    contract = read_json(report.contract_json)
    assert (contract["success"], contract["num_checks"]) == (True, report.contract.num_checks)
    assert len(contract["checks"]) == contract["num_checks"]


def test_the_data_set_holds_what_the_store_holds(
    outcomes: list[SourceOutcome], store: StepStore, tmp_path: Path
) -> None:
    report = assembled(outcomes, tmp_path / "out", store)
    clips = read_manifest(report.manifest)
    assert [c.source for c in clips] == ["a.mp4", "b.mp4"]
    for record, number in zip(clips, (2, 1), strict=True):
        assert (tmp_path / "out" / record.clip_path).read_text() == f"clip {number}"
        assert (tmp_path / "out" / record.audio_path).read_text() == f"audio {number}"
        assert (tmp_path / "out" / record.alignment_path).read_text() == f"alignment {number}"
        assert (tmp_path / "out" / record.clip_path).stat().st_nlink == 2, "linked, not copied"
    assert [(d.source, d.start_frame, d.stop_frame, d.reason) for d in read_decisions(report.decisions)] == [
        ("a.mp4", 0, 125, None),
        ("a.mp4", 125, 225, "too_short"),
        ("b.mp4", 0, 125, None),
        ("b.mp4", 125, 225, "too_short"),
        ("copy of b.mp4", 0, 228, "duplicate"),
        ("z.mp4", 0, 50, "failed_this_time"),
    ]


def test_a_second_run_replaces_what_changed_and_leaves_what_is_no_clip(
    outcomes: list[SourceOutcome], store: StepStore, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    report = assembled(outcomes, out, store)
    first, second = (out / record.clip_path for record in read_manifest(report.manifest))
    same = first.stat().st_ino
    second.unlink()
    second.write_text("half")
    for name in ("stale.mp4", "stale.wav", "stale.npz", "notes.txt"):
        (out / "clips" / name).touch()
    assembled(outcomes, out, store)
    assert first.stat().st_ino == same
    assert second.read_text() == "clip 1"
    names = sorted(path.name for path in (out / "clips").iterdir())
    assert names == sorted(
        [f"{n:016x}{suffix}" for n in (1, 2) for suffix in (".mp4", ".wav", ".npz")] + ["notes.txt"]
    )


def test_a_duplicate_has_one_row_with_all_its_frames(store: StepStore) -> None:
    kept, repeated = mark_duplicates([accepted(store, 1, "bb.mp4"), accepted(store, 1, "a.mp4")])
    assert (kept.source, len(kept.clips)) == ("a.mp4", 1)
    (row,) = repeated.decisions
    found = row.model_dump()
    assert {found.pop(name) for name in asdict(SCORES)} == {None}
    assert found == {
        "source": "bb.mp4",
        "source_id": "01" * 8,
        "level": "source",
        "start_frame": 0,
        "stop_frame": 228,
        "seconds": 9.12,
        "status": "rejected",
        "reason": "duplicate",
        "measured": None,
        "threshold": None,
        "message": "same bytes as a.mp4",
        "clip_id": None,
        "duplicate_of": "a.mp4",
    }
    assert (repeated.clips, repeated.frames_trimmed, repeated.sha256) == ((), 0, "01" * 32)


def test_of_equally_long_names_the_first_is_kept() -> None:
    marked = mark_duplicates(outcome(name, decision(name)) for name in ("b.mp4", "c.mp4", "a.mp4"))
    assert [(o.source, o.decisions[0].message) for o in marked] == [
        ("a.mp4", ""),
        ("b.mp4", "same bytes as a.mp4"),
        ("c.mp4", "same bytes as a.mp4"),
    ]


class Tables(HTMLParser):
    """The rows of every table of a page, cell by cell, and all of its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tables: list[list[list[str]]] = []
        self.words = ""
        self._in_style = self._in_cell = False
        self.feed(page)
        self.tables = [[[" ".join(cell.split()) for cell in row] for row in table] for table in self.tables]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._in_style = tag == "style"
        self._in_cell = self._in_cell or tag in ("td", "th")
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        self._in_cell = self._in_cell and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        if self._in_style:
            return
        self.words += data
        if self._in_cell:
            self.tables[-1][-1][-1] += data


def docs(**changes: Any) -> DataDocs:
    counts = Balance(
        sources_in=4,
        sources_accepted=1,
        sources_rejected=1,
        sources_quarantined=2,
        frames_in=500,
        frames_accepted=125,
        frames_rejected=375,
        frames_quarantined=0,
        clips=1,
    )
    broken = Check(
        table="manifest",
        expectation="expect_column_values_to_be_between",
        column="quality",
        expected="max_value 3",
        success=False,
        num_unexpected=2,
        examples=("4", "5"),
    )
    held = replace(broken, success=True, column=None, num_unexpected=0, examples=())
    plain = DataDocs(
        clips=[],
        outcomes=[],
        counts=counts,
        funnel=[],
        reasons=[],
        contract=ContractResult(success=False, num_checks=2, num_failed=1, checks=(broken, held)),
    )
    return replace(plain, **changes)


def page_of(tmp_path: Path, **changes: Any) -> Tables:
    write_data_docs(tmp_path / "page.html", docs(**changes))
    return Tables((tmp_path / "page.html").read_bytes().decode("utf-8"))


def test_the_page_shows_every_row(tmp_path: Path) -> None:
    clips = [
        record(1, "b.mp4", start_frame=125),
        record(2, "a.mp4", start_frame=50),
        record(3, "a.mp4", scores=replace(SCORES, sync_backend="other-v2")),
    ]
    rejected = outcome(
        "ü.mp4", decision("ü.mp4", 25, 50, measured=0.12345, threshold=0.3, message="no <face>")
    )
    quiet = outcome("b.mp4", decision("b.mp4", 0, 25))
    found = page_of(
        tmp_path,
        clips=clips,
        outcomes=[rejected, quiet],
        funnel=[
            FunnelRow(stage="found", sources=4, segments=6, num_frames=500, seconds=20.0),
            FunnelRow(stage="decode", sources=3, segments=5, num_frames=125, seconds=5.0),
        ],
        reasons=[ReasonCount(reason=RejectReason.NO_FACE, sources=1, pieces=2, seconds=3.5)],
        ignored=IGNORED,
        warnings=WARNINGS,
    )
    funnel, reasons, sources, listed, contract = found.tables
    assert [row[:4] for row in funnel[1:]] == [["found", "4", "6", "20.00"], ["decode", "3", "5", "5.00"]]
    assert reasons[1:] == [["no_face", "no face was found, or in too few frames (share)", "1", "2", "3.50"]]
    assert sources[1:] == [
        ["b.mp4", "rejected", "0", "1.00", "no_face 0.00 to 1.00 s"],
        ["ü.mp4", "rejected", "0", "1.00", "no_face 1.00 to 2.00 s, measured 0.1235, limit 0.3: no <face>"],
    ]
    assert [row[:3] for row in listed[1:]] == [
        [f"{3:016x}", "a.mp4", "0.00"],
        [f"{2:016x}", "a.mp4", "2.00"],
        [f"{1:016x}", "b.mp4", "5.00"],
    ]
    assert listed[1][3:] == ["5.00", "train", "", "120", "5.00", "7.00", "3", "30.0"]
    assert contract[1:] == [
        ["broken", "manifest", "expect column values to be between", "quality", "max_value 3", "2: 4, 5"],
        ["holds", "manifest", "expect column values to be between", "", "max_value 3", ""],
    ]
    text = " ".join(found.words.split())
    assert "1 clips from 4 sources. The contract is broken in 1 of 2 checks." in text
    assert "Ignored: 3 .txt, 1 hidden (for example notes.txt, .x)." in text
    assert WARNINGS[0] in text
    assert (
        "Scores by Face detector: square-v1; Sync expert: blue-v1, other-v2; Picture quality: detail-v1."
        in text
    )
    widths = re.findall(r"width:([0-9.]+)%", (tmp_path / "page.html").read_text(encoding="utf-8"))
    assert widths == ["100.0", "25.0"]


def test_the_page_of_an_empty_run(tmp_path: Path) -> None:
    nothing = FunnelRow(stage="found", sources=0, segments=0, num_frames=0, seconds=0.0)
    found = page_of(tmp_path, funnel=[nothing])
    text = " ".join(found.words.split())
    assert "Scores by Face detector: none; Sync expert: none; Picture quality: none." in text
    assert "Ignored" not in text
    assert "Nothing was left out." in text
    assert "No clip was accepted." in text
    assert 'style="width:0.0%"' in (tmp_path / "page.html").read_text(encoding="utf-8")
    assert page_of(tmp_path).tables[0][1:] == []


def test_the_page_of_a_run_shows_that_run(
    outcomes: list[SourceOutcome], store: StepStore, tmp_path: Path
) -> None:
    report = assembled(outcomes, tmp_path / "out", store)
    found = Tables(report.data_docs.read_text(encoding="utf-8"))
    text = " ".join(found.words.split())
    assert "2 clips from 4 sources. The contract holds" in text
    assert "On 1 sources the machine failed." in text
    assert "6 frames at the ends of pictures" in text
    assert "3 .txt, 1 hidden" in text
    assert WARNINGS[0] in text
    funnel, reasons, sources, listed, contract = found.tables
    assert [row[0] for row in reasons[1:]] == ["duplicate", "too_short", "failed_this_time"]
    assert [row[0] for row in sources[1:]] == ["a.mp4", "b.mp4", "copy of b.mp4", "z.mp4"]
    assert [row[1] for row in listed[1:]] == ["a.mp4", "b.mp4"]
    assert (len(funnel), len(contract)) == (1 + 8, 1 + report.contract.num_checks)
