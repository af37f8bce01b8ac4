"""The page of the report, from rows made by hand: what stands where."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from datetime import datetime
from html.parser import HTMLParser
from typing import Any

import pytest

from lipforcing_core.base.errors import BadInputError
from warehouse.report import build, plots
from warehouse.report.build import render_report
from warehouse.report.context import ReportContext, SampleRow, SampleVideo
from warehouse.report.data import Series

from .test_report_words import QUESTION, data, effect, score

RUN = {
    "flow": "demo", "status": "completed", "preset": "nano", "seed": 0, "started_at": datetime(2026, 1, 2, 3, 4),
    "host": "a host", "device": "cpu",
}  # fmt: skip
PNG = b"\x89PNG\r\n\x1a\n and more"
VOID = {"meta", "link", "img", "br", "path", "use", "rect"}


class Sections(HTMLParser):
    """The words of every section of a page by its id, and its tables row by row."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.words: dict[str, str] = {}
        self.rows: dict[str, list[list[str]]] = {}
        self.widths: dict[str, list[str]] = {}
        self._section, self._in_cell = "head", False
        self.feed(page)
        self.words = {name: " ".join(text.split()) for name, text in self.words.items()}
        self.rows = {
            name: [[" ".join(cell.split()) for cell in row] for row in rows]
            for name, rows in self.rows.items()
        }

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "section":
            self._section = given["id"] or ""
        elif tag == "tr":
            self.rows.setdefault(self._section, []).append([])
        elif tag in ("td", "th"):
            self.rows[self._section][-1].append("")
            self._in_cell = True
        if width := re.search(r"width: ([0-9.]+)%", given.get("style") or ""):
            self.widths.setdefault(self._section, []).append(width[1])

    def handle_endtag(self, tag: str) -> None:
        self._in_cell = self._in_cell and tag not in ("td", "th")

    def handle_data(self, text: str) -> None:
        self.words[self._section] = self.words.get(self._section, "") + text
        if self._in_cell:
            self.rows[self._section][-1][-1] += text + " "


def page_of(context: dict[str, Any] | None = None, **rows: Any) -> Sections:
    return Sections(page_text(context, **rows))


def page_text(context: dict[str, Any] | None = None, **rows: Any) -> str:
    about = ReportContext(title="T", run_id="r", summary="S", question=QUESTION)
    return render_report(data(run=RUN, **rows), replace(about, **(context or {})))


def full(row: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A score or an effect with everything that a page asks for."""
    asked = {
        "n": 12, "num_identities": 4, "ci_low": 0.5, "ci_high": 1.5, "higher_is_better": True, "unit": None,
        "no_interval_because": None,
    }  # fmt: skip
    return asked | row | changes


def test_times_are_bars_of_the_longest() -> None:
    timings = [
        {"stage": "train_teacher", "item": "all", "wall_s": 90.0, "reused": False},
        {"stage": "curate", "item": "all", "wall_s": 30.0, "reused": True},
        {"stage": "wait", "item": "all", "wall_s": 0.0, "reused": False},
    ]
    found = page_of(timings=timings)
    assert found.widths["time"] == ["100.00", "33.33", "0.00"]
    assert "2 min 00 s of wall-clock time in all." in found.words["time"]
    assert "train teacher 1 min 30 s curate 30.0 s, reused wait 0.0 s" in found.words["time"]
    assert page_of(timings=timings[2:]).widths["time"] == ["0.00"]
    assert "No timings were stored." in page_of().words["time"]


def test_every_data_set_of_curation_is_told_once_and_in_order() -> None:
    names = ["d3", "d1", "d2", "d5", "d4", "d0"]
    decisions = [
        {"dataset_id": name, "decision": "accepted", "num": place, "seconds": 60.0 + place}
        for place, name in enumerate(names)
    ]
    funnel = [
        {
            "dataset_id": "d1",
            "stage": "a_b",
            "num_in": 8,
            "num_out": 4,
            "unit": "clips",
            "share_of_first_seconds": None,
        },
        {
            "dataset_id": "d1",
            "stage": "c",
            "num_in": 4,
            "num_out": 1,
            "unit": "clips",
            "share_of_first_seconds": None,
        },
        {
            "dataset_id": "d9",
            "stage": "c",
            "num_in": 4,
            "num_out": 1,
            "unit": "clips",
            "share_of_first_seconds": 0.4,
        },
    ]
    found = page_of(decisions=decisions, funnel=funnel)
    words = found.words["curation"]
    assert re.findall(r"\bd\d\b", words) == ["d0", "d1", "d2", "d3", "d4", "d5", "d9"]
    assert "d3 0 accepted (1 min 00 s)." in words
    assert "d1 1 accepted (1 min 01 s). a b 4 of 8 clips c 1 of 4 clips" in words
    assert found.widths["curation"] == ["50.00", "12.50", "40.00"]
    assert "This run curated nothing." in page_of().words["curation"]


def test_curves_stand_in_the_order_of_the_stages() -> None:
    def series(stage: str, name: str, *smoothed: float) -> Series:
        steps = list(range(10, 10 * len(smoothed) + 1, 10))
        return Series(stage=stage, name=name, steps=steps, values=smoothed, smoothed=smoothed)

    curves = [
        series("zoo", "loss", 1.0, 2.0),
        series("distill", "loss", 1.0, 2.0, 0.25),
        series("base", "loss", 3.0, 2.0),
        series("ant", "loss", 1.0, 2.0),
        series("lora", "big_loss", 1.0, 2.0),
        series("lora", "learning_rate", 2e-10, 3.092e-05),
        series("diffusion_forcing", "loss", 1.0, 2.0),
    ]
    stages = ["base", "lora", "diffusion_forcing", "distill"]
    words = page_of({"training_stages": stages}, curves=curves).words["training"]
    order = [
        "base: loss",
        "lora: big loss",
        "diffusion forcing: loss",
        "distill: loss",
        "ant: loss",
        "zoo: loss",
    ]
    places = [words.index(title) for title in order]
    assert places == sorted(places)
    assert "3.00 at the start, 2.00 after 20 steps." in words
    assert "1.00 at the start, 0.250 after 30 steps." in words
    assert "2.00e-10 at the start, 3.09e-05 after" in words
    assert "This run trained nothing." in page_of().words["training"]


def test_the_verdict_shows_both_baselines_and_a_plot_of_all_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Any] = []

    def plot(rows: Any, system: str, name: str) -> str:
        drawn.append(([row["system"] for row in rows], system, name))
        return f"<svg>{name}</svg>"

    monkeypatch.setattr(plots, "interval_plot", plot)
    scores = [
        full(score("ours", value=5.0), metric_label="Sync-C"),
        full(score("source", value=2.0)),
        full(score("other", value=6.0), ci_low=None),
        full(score("ours", "lips", value=0.5), backend="network-free"),
        full(score("source", "lips", value=0.25), backend="network-free"),
    ]
    effects = [
        full(effect("ours", "source", "better", difference=3.0, ci_low=2.0, ci_high=4.0)),
        full(
            effect("ours", "other", "not separated", difference=-1.0, ci_low=None),
            no_interval_because="two clips",
        ),
    ]
    page = page_text(scores=scores, effects=effects)
    words = Sections(page).words["verdict"]
    assert drawn == [
        (["other", "ours", "source"], "ours", "interval-0"),
        (["ours", "source"], "ours", "interval-1"),
    ]
    assert "<svg>interval-0</svg><figcaption><strong>Sync-C</strong>" in page
    assert "Backend: b." in words
    assert "Backend: network-free." in words
    assert "Sync-C by b, 12 clips, intervals resample 4 groups of them" in words
    assert "OURS, driving audio 5.00 [0.50, 1.50]" in words
    assert "Against SOURCE: difference +3.00, 95 % interval [2.00, 4.00] (12 paired clips)." in words
    assert "Against OTHER: difference -1.00, no interval: two clips (12 paired clips)." in words
    assert "Against SOURCE: no paired difference was stored." in words
    assert "Only part of the evidence" in words


def test_setbacks_are_told_in_the_pairs_that_were_named() -> None:
    effects = [
        full(effect("a", "b", "worse", difference=-0.5)),
        full(effect("b", "c", "better")),
        full(effect("x", "y", "worse")),
    ]
    named = page_of({"stage_pairs": [("a", "b"), ("b", "c")]}, effects=effects).words["stages"]
    assert "No. 1 of 2 comparisons got measurably worse" in named
    assert "A against B: SYNC_C -0.500 [0.250, 1.000], 12 clips." in named
    assert "All 2 paired differences" in named
    assert "2 of 3 comparisons" in page_of(effects=effects).words["stages"]
    assert "Nothing got measurably worse in 1 comparisons." in page_of(effects=effects[1:2]).words["stages"]
    assert "No paired differences" in page_of().words["stages"]
    worse = ("worse", "mouth_ssim"), ("no direction", "mouth_sharpness")
    blurred = [full(effect("a", "b", verdict, metric)) for verdict, metric in worse]
    sharp = [full(score(name, "mouth_sharpness", value)) for name, value in (("a", 0.9), ("b", 0.5))]
    assert "SSIM rewards blur." in page_of(effects=blurred, scores=sharp).words["stages"]
    assert "SSIM rewards blur." not in page_of(effects=effects, scores=sharp).words["stages"]


def measured(label: str, dataset: str, **changes: Any) -> dict[str, Any]:
    row = {
        "origin": "measured", "quality_metric": "ssim", "dataset_id": dataset, "protocol_id": "p",
        "quality_backend": f"q-{dataset}", "speed_protocol_id": "p", "speed_backend": "clock", "label": label,
        "fps": 10.0, "quality": 0.9, "on_frontier": True, "higher_is_better": True,
    }  # fmt: skip
    return row | changes


def test_speed_has_a_plot_for_each_ground_and_one_of_the_paper(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Any] = []

    def plot(points: Any, label: str, name: str) -> str:
        drawn.append(([p["label"] for p in points], label, name))
        return "<svg></svg>"

    monkeypatch.setattr(plots, "speed_quality", plot)
    pareto = [
        measured("1", "d1"),
        measured("2", "d1"),
        measured("3", "d2"),
        measured("4", "HDTF", origin="published", quality_metric="SSIM"),
        measured("5", "HDTF", origin="published", quality_metric="FID"),
        measured("6", "d1", quality_metric="fid"),
    ]
    known = {"metric": "ssim", "label": "Likeness", "definition": "D", "published_name": "SSIM"}
    found = page_of(metrics=[known], pareto=pareto)
    assert drawn == [
        (["1", "2"], "Likeness", "speed-measured-0"),
        (["3"], "Likeness", "speed-measured-1"),
        (["4"], "SSIM", "speed-published"),
    ]
    words = found.words["speed"]
    assert "Measured in this run. d1; quality by q-d1." in words
    assert "Measured in this run. d2; quality by q-d2." in words
    assert "Published (H100, HDTF), not comparable. HDTF; quality by the paper's networks." in words
    drawn.clear()
    page_of(metrics=[known | {"published_name": None}], pareto=pareto)
    assert [name for _, _, name in drawn] == ["speed-measured-0", "speed-measured-1"]
    assert "This run measured no speed." in page_of(metrics=[], pareto=pareto).words["speed"]


def test_scores_stand_in_their_cells() -> None:
    scores = [
        full(score("ours", "fps", value=30.0, published_name="FPS", unit="frames/s"), ci_low=None),
        full(score("ours", "fid", value=7.0, published_name="FID", higher_is_better=False)),
        full(score("source", "fid", value=2.0, published_name="FID", higher_is_better=False, kind="control")),
        full(score("source", "hue", value=0.25, higher_is_better=None, kind="control")),
    ]
    printed = {"method": "M", "variant": "14B", "num_steps": 2, "metric": "FID", "value_printed": "9.99"}
    found = page_of(scores=scores, published=[printed])
    assert found.rows["scores"] == [
        ["system", "FID ↓ b", "FPS (frames/s) ↑ b"],
        ["OURS student", "7.00 [0.50, 1.50] n = 12", "30.00 n = 12"],
        ["SOURCE control", "2.00 [0.50, 1.50] n = 12", "-"],
        ["Published (arXiv 2606.11180, Table 1): same protocol"],
        ["M 14B", "9.99", "-"],
        ["measure", "OURS student", "SOURCE control"],
        ["HUE b", "-", "0.250 [0.500, 1.500] n = 12"],
    ]
    other = page_of(scores=[row | {"paper_table": None} for row in scores], published=[printed])
    assert "Not comparable with the rows above" in other.words["scores"]


def test_samples_and_videos_are_embedded_as_they_are() -> None:
    mp4 = b"\0\0\0\x20ftypisom"
    page = page_text(
        {
            "sample_images": [SampleRow(caption="clip one", images={"Truth": PNG, "Ours": PNG + b"2"})],
            "sample_videos": [SampleVideo(caption="clip two", mp4=mp4, columns=("Left", "Right"))],
            "links": {"Data docs": "a b/c.html"},
        }
    )
    images = re.findall(r'<img src="data:image/png;base64,([^"]+)" alt="([^"]+)"', page)
    assert [(base64.b64decode(code), alt) for code, alt in images] == [
        (PNG, "Truth: clip one"),
        (PNG + b"2", "Ours: clip one"),
    ]
    (video,) = re.findall(r'src="data:video/mp4;base64,([^"]+)"', page)
    assert base64.b64decode(video) == mp4
    words = Sections(page).words
    assert "Left Right clip two" in words["videos"].replace("LeftRight", "Left Right")
    assert "clip one" in words["frames"]
    assert '<a href="a%20b/c.html">Data docs</a>' in page
    assert (build._FOLDER / "report.css").read_text(encoding="utf-8").strip() in page


@pytest.mark.parametrize(("size", "fits"), [(3_000_000, True), (3_000_001, False)])
def test_a_video_may_have_three_million_bytes(size: int, fits: bool) -> None:
    video = SampleVideo(caption="c", mp4=b"\0\0\0\x20ftyp" + bytes(size - 8))
    if fits:
        assert build._video(video)["caption"] == "c"
    else:
        with pytest.raises(BadInputError, match="has 3000001 bytes; at most 3000000 can be embedded"):
            build._video(video)


@pytest.mark.parametrize("mp4", [b"", b"\0\0\0\x20fty", b"ftypisom", b"\0\0\0\0\x20ftyp", b"\0\0\0ftypi"])
def test_a_file_without_the_mark_of_mp4_is_none(mp4: bytes) -> None:
    with pytest.raises(BadInputError, match="is not an MP4 file"):
        build._video(SampleVideo(caption="c", mp4=mp4))


@pytest.mark.parametrize(
    ("target", "link"),
    [
        ("a.html", "a.html"),
        ("sub/a b.html", "sub/a%20b.html"),
        ("ü#?.html", "%C3%BC%23%3F.html"),
        ("..a.html", "..a.html"),
        ("/a.html", None),
        ("\\a.html", None),
        ("../a.html", None),
        ("sub/../../a.html", None),
        ("mailto:x", None),
        ("C:/a.html", None),
    ],
)
def test_links_stay_below_the_folder_of_the_report(target: str, link: str | None) -> None:
    if link is None:
        with pytest.raises(BadInputError, match="must be a path below the report's folder"):
            build._relative_link(target)
    else:
        assert build._relative_link(target) == link


def test_the_head_tells_of_the_run() -> None:
    words = page_of().words["head"]
    assert (
        "Run r · demo · completed · preset nano · seed 0 · 2026-01-02 03:04 UTC · a host · models on cpu"
        in words
    )
    bare = dict.fromkeys(("preset", "seed", "started_at", "host", "device"))
    about = ReportContext(title="T", run_id="r", summary="S", question=QUESTION)
    text = Sections(render_report(data(run=RUN | bare), about)).words["head"]
    assert "Run r · demo · completed S" in text


def test_contexts_do_not_share_their_tables() -> None:
    first, second = (ReportContext(title="T", run_id="r", summary="S", question=QUESTION) for _ in range(2))
    assert (first.links, first.versions) == ({}, {})
    assert first.links is not second.links
