"""The report: true to the rows, safe with any text, one file, readable by machines too."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from lipforcing_core.base.errors import BadInputError, WarehouseError
from warehouse.report.build import build_report, duration, number, render_report, signed
from warehouse.report.context import Command, EmbeddedNote, Question, ReportContext, SampleRow, SampleVideo
from warehouse.report.data import ReportData, read_report_data
from warehouse.report.tables import metric_tables, stage_times
from warehouse.report.verdict import Tone, blur_notes, judge, setbacks

QUESTION = Question(
    system="distilled",
    copied="source",
    unrelated="distilled_unrelated",
    metric="sync_c",
    independent_metric="aperture_corr",
    quality_metric="sync_c",
)
VOID = {"meta", "link", "img", "br", "path", "use", "rect"}


class Page(HTMLParser):
    """Collects tags and checks that they nest."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def all(self, name: str) -> list[dict[str, str | None]]:
        return [attrs for tag, attrs in self.tags if tag == name]


def _png() -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (4, 4), (200, 120, 90)).save(stream, "PNG")
    return stream.getvalue()


def _context(**changes: object) -> ReportContext:
    context = ReportContext(
        title="A <script>alert(1)</script> title",
        run_id="demo-0001",
        summary="What this is & what it is not.",
        question=QUESTION,
        stage_pairs=[("pretrained", "teacher"), ("distilled", "pretrained")],
        sample_images=[SampleRow(caption='clip "1"', images={"Source": _png(), "Distilled": _png()})],
        embedded_notes=[EmbeddedNote(part="Sync expert", embedded="SyncNet on puppets", full="SyncNet v2")],
        versions={"torch": "2.13"},
        commands=[Command(purpose="Again:", command="lipforcing demo --seed 0 && echo <done>")],
        links={"Data docs": "curation/data docs.html"},
    )
    return replace(context, **changes)


@pytest.fixture(scope="module")
def data(snapshot: Path) -> ReportData:
    return read_report_data(snapshot, "demo-0001")


@pytest.fixture(scope="module")
def page(data: ReportData) -> str:
    return render_report(data, _context())


def test_build_writes_one_file_and_the_same_again(snapshot: Path, tmp_path: Path, page: str) -> None:
    path = build_report(snapshot, _context(), tmp_path / "report.html")
    assert path.read_text(encoding="utf-8") == page
    assert [item.name for item in tmp_path.iterdir()] == ["report.html"]


def test_it_loads_nothing_from_outside(page: str) -> None:
    found = Page(page)
    assert not re.search(r"https?:|//[a-z]", page)
    assert not found.all("script")
    targets = [attrs.get("src") or attrs.get("href") or "" for _, attrs in found.tags]
    outside = [t for t in targets if t and not t.startswith(("#", "data:"))]
    assert outside == ["curation/data%20docs.html"]


def test_text_is_escaped(page: str) -> None:
    text = "".join(Page(page).text)
    assert "<script>alert(1)</script> title" in text
    assert "moov atom not found <br>" in text
    assert "echo <done>" in text
    assert not Page(page).all("br")


def test_ids_are_unique_and_links_lead_somewhere(page: str) -> None:
    found = Page(page)
    ids = [attrs["id"] for _, attrs in found.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    anchors = [a["href"] for a in found.all("a") if (a["href"] or "").startswith("#")]
    assert {anchor[1:] for anchor in anchors if anchor} <= set(ids)
    used = re.findall(r'(?:href="|url\()#([^")]+)', page)
    assert set(used) <= set(ids)


def test_it_is_accessible(page: str) -> None:
    found = Page(page)
    assert all(image["alt"] for image in found.all("img"))
    assert all(svg["role"] == "img" and svg["aria-label"] for svg in found.all("svg"))
    assert all(header["scope"] for header in found.all("th"))
    assert len(found.all("caption")) == len(found.all("table"))
    assert found.all("html")[0]["lang"] == "en"
    assert len(found.all("h1")) == 1
    assert "prefers-color-scheme: dark" in page


def test_plots_follow_the_theme(page: str) -> None:
    assert "#0102" not in page
    assert "var(--series-1)" in page


def test_the_verdict_needs_both_measures(data: ReportData) -> None:
    question = QUESTION
    verdict = judge(data, question)
    assert verdict.tone is Tone.GOOD
    assert [c.verdict for f in verdict.findings for c in f.comparisons] == ["better"] * 4

    def without(metric: str, **changes: object) -> ReportData:
        effects = [
            {**row, **changes}
            if row["metric"] == metric and row["system_b"] == "distilled_unrelated"
            else row
            for row in data.effects
        ]
        return replace(data, effects=effects)

    assert judge(without("aperture_corr", verdict="not separated"), question).tone is Tone.MIXED
    assert judge(without("sync_c", verdict="not separated"), question).tone is Tone.MIXED
    assert judge(replace(data, effects=[]), question).tone is Tone.UNKNOWN
    assert judge(replace(data, scores=[]), question).tone is Tone.UNKNOWN
    worse = [{**row, "verdict": "worse"} for row in data.effects]
    assert judge(replace(data, effects=worse), question).tone is Tone.BAD
    level = [{**row, "verdict": "not separated"} for row in data.effects]
    assert judge(replace(data, effects=level), question).tone is Tone.BAD
    no_check = judge(data, replace(question, independent_metric="absent"))
    assert no_check.tone is Tone.MIXED
    assert "no independent measure" in no_check.headline


def test_a_difference_stored_the_other_way_round_is_read_rightly(data: ReportData) -> None:
    stored = next(row for row in data.effects if row["system_b"] == "source" and row["metric"] == "sync_c")
    turned = {
        **stored,
        "system_a": "source",
        "system_b": "distilled",
        "difference": -stored["difference"],
        "ci_low": -stored["ci_high"],
        "ci_high": -stored["ci_low"],
        "verdict": "worse",
    }
    effects = [turned if row is stored else row for row in data.effects]
    for found in (judge(data, QUESTION), judge(replace(data, effects=effects), QUESTION)):
        (difference,) = (c.difference for f in found.findings[:1] for c in f.comparisons[:1])
        assert difference is not None
        assert difference["difference"] == pytest.approx(3.1)
        assert difference["ci_low"] == pytest.approx(2.6)
        assert difference["verdict"] == "better"


def test_setbacks_are_told(data: ReportData, page: str) -> None:
    worse = {
        (row["system_a"], row["metric"]) for row in setbacks(data.effects, [("distilled", "pretrained")])
    }
    assert worse == {("distilled", "fid")}
    assert "comparisons got measurably worse" in page
    fine = render_report(data, _context(stage_pairs=[("distilled", "source")], sample_images=[]))
    assert ("comparisons got measurably worse" in fine) == bool(
        setbacks(data.effects, [("distilled", "source")])
    )


def test_a_sharper_mouth_that_loses_in_ssim_is_explained() -> None:
    place = {"dataset_id": "d", "protocol_id": "p"}
    pair = {"system_a": "student", "system_b": "teacher", "label_a": "Student", "label_b": "Teacher"}
    effect = {
        **place, **pair, "metric": "mouth_ssim", "metric_label": "SSIM (mouth)", "difference": 0.04, "ci_low": 0.03,
        "ci_high": 0.05, "verdict": "better",
    }  # fmt: skip
    sharper = {
        **effect,
        "metric": "mouth_sharpness",
        "difference": -0.27,
        "ci_low": -0.3,
        "ci_high": -0.2,
        "verdict": None,
    }
    scores = [
        {**place, "system": system, "kind": system, "metric": "mouth_sharpness", "value": value}
        for system, value in (("student", 0.61), ("teacher", 0.88))
    ]
    pairs = [("student", "teacher")]
    assert blur_notes([effect, sharper], scores, pairs) == [
        "Teacher is behind Student in SSIM (mouth), and draws the mouth with 0.88 of the truth's sharpness where the "
        "other has 0.61: SSIM rewards blur."
    ]
    assert blur_notes([{**effect, "verdict": "worse"}, sharper], scores, pairs) == [], (
        "the blurred one is behind: no excuse"
    )
    assert blur_notes([{**effect, "verdict": "unclear"}, sharper], scores, pairs) == []
    assert blur_notes([{**effect, "metric": "fid"}, sharper], scores, pairs) == []
    assert blur_notes([effect, sharper], scores[:1], pairs) == []
    assert blur_notes([effect], scores, pairs) == [], "the difference in sharpness was not measured"
    for low, high in ((-0.3, 0.01), (0.2, 0.3), (None, None), (-0.3, 0.0)):
        assert blur_notes([effect, {**sharper, "ci_low": low, "ci_high": high}], scores, pairs) == []


@pytest.mark.parametrize("control", [0, 1])
def test_a_control_is_not_behind_for_its_sharpness(control: int) -> None:
    """What speaks other words is behind for the wrong mouth, whatever its sharpness."""
    rows = {"dataset_id": "d", "protocol_id": "p", "system_a": "other_speech", "system_b": "student", "label_a": "A",
            "label_b": "B", "metric_label": "SSIM (mouth)"}  # fmt: skip
    effects = [
        {
            **rows,
            "metric": "mouth_ssim",
            "difference": -0.05,
            "ci_low": -0.07,
            "ci_high": -0.04,
            "verdict": "worse",
        },
        {
            **rows,
            "metric": "mouth_sharpness",
            "difference": 0.1,
            "ci_low": 0.05,
            "ci_high": 0.2,
            "verdict": None,
        },
    ]
    kinds = ["student", "student"]
    scores = [
        {
            "dataset_id": "d",
            "protocol_id": "p",
            "system": system,
            "metric": "mouth_sharpness",
            "value": value,
            "kind": kind,
        }
        for system, value, kind in zip(("other_speech", "student"), (0.35, 0.25), kinds, strict=True)
    ]
    assert len(blur_notes(effects, scores, [])) == 1
    scores[control]["kind"] = "control"
    assert blur_notes(effects, scores, []) == []


def test_published_rows_stand_beside_and_apart(data: ReportData, page: str) -> None:
    (table,) = metric_tables(data)
    assert [column.label for column in table.columns] == ["SSIM", "Sync-C", "Sync-D", "FID", "FPS", "TTFF"]
    assert [column.metric for column in table.others] == ["aperture_corr"]
    wav2lip = next(row for row in table.published if row["method"] == "Wav2Lip")
    assert wav2lip["values"] == {
        "Sync-C": "8.56",
        "Sync-D": "6.70",
        "FID": "24.15",
        "SSIM": "0.911",
        "FPS": "479.60",
        "TTFF": "0.17",
    }
    assert not table.comparable_with_paper
    assert "Not comparable with the rows above" in page


def test_a_run_with_nothing_but_itself_says_so(data: ReportData) -> None:
    empty: dict[str, list] = {
        name: []
        for name in ("funnel", "losses", "decisions", "curves", "scores", "effects", "pareto", "timings")
    }
    html = render_report(replace(data, **empty, metrics=[], protocols=[]), _context(sample_images=[]))
    Page(html)
    for sentence in (
        "curated nothing",
        "trained nothing",
        "measured no scores",
        "measured no speed",
        "No timings",
    ):
        assert sentence in html


def test_stage_times_prefer_the_whole_stage() -> None:
    def row(stage: str, item: str, wall_s: float, reused: bool = False) -> dict:
        return {"stage": stage, "item": item, "wall_s": wall_s, "reused": reused}

    times = stage_times(
        [row("a", "1", 2.0), row("a", "all", 5.0, True), row("b", "1", 1.0), row("b", "2", 2.0)]
    )
    assert [(time.stage, time.wall_s, time.reused) for time in times] == [("a", 5.0, True), ("b", 3.0, False)]


def test_distances_from_few_samples_are_said_once(data: ReportData, page: str) -> None:
    assert "Few samples" not in page
    few = replace(data, scores=[row | {"num_vectors": 64} for row in data.scores])
    text = " ".join(Page(render_report(few, _context())).text)
    assert text.count("FID from 64 frames, no more than the 64 features of random-conv-v1@seed0") == 1
    assert text.count("Few samples") == 1
    enough = replace(data, scores=[row | {"num_vectors": 65} for row in data.scores])
    assert render_report(enough, _context()) == page


def test_bad_pictures_links_and_runs_are_refused(snapshot: Path, data: ReportData, tmp_path: Path) -> None:
    jpeg = SampleRow(caption="c", images={"Source": b"\xff\xd8\xff"})
    with pytest.raises(BadInputError, match="is not a PNG"):
        render_report(data, _context(sample_images=[jpeg]))
    for target in ("https://example.org", "javascript:alert(1)", "../secret", "/etc/passwd"):
        with pytest.raises(BadInputError, match="below the report's folder"):
            render_report(data, _context(links={"x": target}))
    with pytest.raises(WarehouseError, match="no run 'nope'"):
        build_report(snapshot, _context(run_id="nope"), tmp_path / "report.html")
    assert not list(tmp_path.iterdir())


def test_videos_are_embedded_with_their_columns(data: ReportData) -> None:
    mp4 = b"\0\0\0\x20ftypisom" + bytes(range(256))
    sample = SampleVideo(caption='clip "1" & sound', mp4=mp4, columns=["Source", "Student <b>"])
    alone = SampleVideo(caption="yours", mp4=mp4)
    found = Page(render_report(data, _context(sample_videos=[sample, alone])))
    videos = found.all("video")
    assert [video["aria-label"] for video in videos] == ['clip "1" & sound', "yours"]
    for video in videos:
        kind, encoded = (video["src"] or "").split(",")
        assert kind == "data:video/mp4;base64"
        assert base64.b64decode(encoded) == mp4
        assert "controls" in video
        assert "muted" not in video
    assert "Student <b>" in found.text
    assert not found.all("b")
    assert "#videos" in [a["href"] for a in found.all("a")]


def test_a_page_without_videos_does_not_speak_of_them(page: str) -> None:
    assert "#videos" not in page
    assert not Page(page).all("video")


def test_other_files_and_large_ones_are_no_sample_videos(data: ReportData) -> None:
    for mp4, problem in (
        (_png(), "is not an MP4"),
        (b"\0\0\0\x20ftyp" + bytes(3_000_000), "smaller or shorter"),
    ):
        with pytest.raises(BadInputError, match=problem):
            render_report(data, _context(sample_videos=[SampleVideo(caption="c", mp4=mp4)]))


def test_numbers_read_well() -> None:
    assert [number(v) for v in (None, 0.12345, 5.0, -213.72, 1234.5)] == [
        "-",
        "0.123",
        "5.00",
        "-213.7",
        "1234",
    ]
    assert number(0.5, like=1.2) == "0.50"
    assert [number(v) for v in (-0.0, -0.0004, -0.0006)] == ["0.000", "0.000", "-0.001"]
    assert number(-0.001, like=1.2) == "0.00"
    assert [signed(v) for v in (0.5, -0.5, 0.0)] == ["+0.500", "-0.500", "0.000"]
    assert [signed(v) for v in (0.0004, -0.0004)] == ["0.000", "0.000"]
    assert [duration(v) for v in (None, 4.04, 98.0, 3725.0)] == ["-", "4.0 s", "1 min 38 s", "1 h 2 min"]
