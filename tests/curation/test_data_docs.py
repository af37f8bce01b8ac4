"""The page of a run: charts, chosen pieces, players, and a size that no corpus exceeds."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from lipforcing_core.curation.contract import Check, ContractResult
from lipforcing_core.curation.data_docs import DataDocs, offset_charts, score_charts, short, write_data_docs
from lipforcing_core.curation.drift import Drift, DriftRow
from lipforcing_core.curation.funnel import balance, funnel_rows, reason_counts
from lipforcing_core.curation.gallery import gallery
from lipforcing_core.curation.histogram import histogram, histogram_svg, strip_svg
from lipforcing_core.curation.limits import Direction
from lipforcing_core.curation.records import Decision, SourceOutcome, StoredClip
from lipforcing_core.curation.thumbnails import three_frames, thumbnails
from lipforcing_core.media.encode import VideoWriter

from .runs import SETTINGS, piece, record, sha

PICTURE = "data:image/jpeg;base64," + "A" * 6000


def outcome(decision: Decision, number: int) -> SourceOutcome:
    clips = ()
    if decision.clip_id is not None:
        clips = (StoredClip(record=record(decision, number), clip="c", audio="a", alignment="n"),)
    return SourceOutcome(
        source=decision.source,
        source_id=decision.source_id,
        sha256=sha(number),
        frames_in=decision.num_frames,
        decisions=(decision,),
        clips=clips,
    )


def page_of(tmp_path: Path, outcomes: list[SourceOutcome], **changes: Any) -> str:
    values = {
        "clips": [clip.record for o in outcomes for clip in o.clips],
        "contract": ContractResult(success=True, num_checks=0, num_failed=0, checks=()),
    } | changes
    docs = DataDocs(
        outcomes=outcomes,
        counts=balance(outcomes),
        funnel=funnel_rows(outcomes),
        reasons=reason_counts(outcomes),
        **({"settings": SETTINGS} | values),
    )
    write_data_docs(tmp_path / "page.html", docs)
    return (tmp_path / "page.html").read_text(encoding="utf-8")


def test_a_histogram_counts_every_value_once() -> None:
    found = histogram([0.0, 1.0, 4.0], [2.0], [3.0], bins=4)
    assert found is not None
    assert (found.low, found.high, found.accepted, found.rejected) == (0.0, 4.0, (1, 1, 0, 1), (0, 0, 1, 0))
    assert found.tallest == 1
    alone = histogram([5.0], [], [5.0], bins=2)
    assert alone is not None
    assert (alone.low, alone.high, alone.accepted) == (4.5, 5.5, (0, 1))
    outside = histogram([5.0], [], [9.0])
    assert outside is not None
    assert (outside.low, outside.high) == (5.0, 9.0)
    assert histogram([], [], [1.0]) is None


def test_the_limit_is_drawn_where_it_lies() -> None:
    shape = histogram([0.0], [10.0], [2.5], bins=2)
    assert shape is not None
    svg = histogram_svg(shape)
    assert 'class="limit" x1="60.00" x2="60.00"' in svg  # a quarter of 240
    assert '<rect class="in" x="0.00" y="0.00" width="119.00" height="64.00"/>' in svg
    assert '<rect class="out" x="120.00"' in svg
    assert 'class="mark" x="117.00"' in strip_svg(5.0, [0.0, 20.0], 0.0, 10.0)  # 120 less half its width
    assert 'x1="240.00"' in strip_svg(5.0, [20.0], 0.0, 10.0)


def test_a_chart_counts_what_missed_and_says_which_way_is_better() -> None:
    decisions = [
        piece("a.mp4", 1, quality=30.0),
        piece("b.mp4", 2, quality=90.0, reason="quality_low"),
        piece("c.mp4", 3, av_offset_measured=-7, reason="av_offset_too_large"),
    ]
    charts = {chart.label: chart for chart in score_charts(decisions, SETTINGS)}
    quality, offset = charts["picture quality"], charts["offset measured"]
    assert (quality.direction, quality.num_missed, quality.asked) == (
        Direction.LOWER,
        1,
        "at most 85 (quality_threshold)",
    )
    assert (quality.low, quality.high) == (30.0, 90.0)
    assert (offset.num_missed, offset.low, offset.high, offset.svg.count("<line")) == (1, -7.0, 6.0, 2)
    assert "turn of the head" not in charts


def test_the_pieces_shown_are_bounded_and_stay_the_same() -> None:
    pieces = [piece(f"{k}.mp4", 1, reason="no_face", message="") for k in range(40)]
    pieces += [piece("kept.mp4", 2), piece("dup.mp4", 3, level="source", reason="duplicate")]
    seen: list[Path] = []

    def pictures(clip: Path) -> list[str]:
        seen.append(clip)
        return ["x" * 100]

    def clip_of(decision: Decision) -> Path | None:
        return None if decision.reason == "duplicate" else Path(decision.source)

    found = gallery(pieces, clip_of, pictures, per_kind=5, picture_bytes=350)
    assert [(kind.name, kind.num_pieces, len(kind.shown)) for kind in found] == [
        ("accepted", 1, 1),
        ("duplicate", 1, 1),
        ("no_face", 40, 5),
    ]
    assert sum(shown.picture is not None for kind in found for shown in kind.shown) == 3  # 350 bytes
    again = gallery(pieces[::-1], clip_of, pictures, per_kind=5, picture_bytes=350)
    assert again == found


def test_the_page_is_bounded_whatever_the_corpus(tmp_path: Path) -> None:
    name = "&" * 2000
    reasons = ["no_face", "face_lost", "quality_low", "sync_confidence_low", "several_faces"]
    outcomes = [outcome(piece(f"{k:05d}{name}.mp4", k % 200), k % 200) for k in range(1500)]
    outcomes += [
        outcome(piece(f"r{k:05d}{name}.mp4", 1, reason=reasons[k % 5], message="<" * 5000), 1)
        for k in range(1500)
    ]
    page = page_of(
        tmp_path,
        outcomes,
        clip_of=lambda decision: tmp_path,
        pictures=lambda clip: [PICTURE],
        warnings=("w" * 9000,) * 5000,
    )
    assert len(page.encode()) < 4_000_000
    assert "2600 more are not shown here" in page  # of 3000 sources
    assert "1100 more are not shown here" in page  # of 1500 clips
    assert "4900 more are not shown here" in page
    assert PICTURE in page


def test_nothing_is_run_or_fetched_and_names_are_escaped(tmp_path: Path) -> None:
    bad = "\"><script>alert(1)</script>&'.mp4"
    kept, lost = piece(bad, 1), piece(f"x{bad}", 2, reason="no_face", message="<img src=x>")
    page = page_of(tmp_path, [outcome(kept, 1), outcome(lost, 2)])
    assert "<script" not in page
    assert "<img src=x" not in page
    assert "http" not in page
    assert set(re.findall(r'src="([^"]*)"', page)) == {
        f"clips/{kept.clip_id}.mp4",
        f"clips/{kept.clip_id}.wav",
    }
    assert page.count('<video controls preload="none"') == 1
    assert 'id="kind-no_face"' in page
    assert '<section class="of-accepted">' in page


def test_long_text_keeps_both_ends() -> None:
    assert short("a" * 240) == "a" * 240
    assert short("ab" + "x" * 400 + "yz", 9) == "abx...xyz"


@pytest.mark.parametrize(("frames", "numbers"), [(1, [0]), (2, [0, 1]), (125, [0, 62, 124])])
def test_three_frames(frames: int, numbers: list[int]) -> None:
    assert three_frames(frames) == numbers


def test_thumbnails_are_the_frames_asked_for(tmp_path: Path) -> None:
    import base64
    import io

    import numpy as np
    from PIL import Image

    path = tmp_path / "clip.mp4"
    with VideoWriter(path, width=256, height=256, crf=4) as writer:
        for level in (20, 120, 220):
            writer.write(np.full((256, 256, 3), level, np.uint8))
    uris = thumbnails(path, [0, 2, 9])
    pictures = [Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))) for uri in uris]
    assert [picture.size for picture in pictures] == [(112, 112)] * 2
    assert [round(float(np.asarray(picture).mean()), -1) for picture in pictures] == [20, 220]
    path.write_bytes(b"junk")
    assert thumbnails(path, [0]) == []
    assert thumbnails(tmp_path / "gone.mp4", [0]) == []


class _Page(HTMLParser):
    """The structure of a page: tags that are never closed properly, ids, and the texts of headings and figures."""

    VOID = frozenset({"meta", "input", "img", "rect", "line"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.texts.setdefault(tag, []).append("")
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)

    def handle_data(self, data: str) -> None:
        for tag in set(self.open):
            self.texts[tag][-1] += f" {data}"

    def words(self, tag: str) -> list[str]:
        return [" ".join(text.split()) for text in self.texts[tag]]

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def _full_page(tmp_path: Path) -> str:
    pieces = [
        piece("h1.mp4", 1, av_offset_measured=2),
        piece("h2.mp4", 2, av_offset_measured=-9, reason="av_offset_too_large"),
        piece("h3.mp4", 3, av_offset_measured=0),
        piece("t.mp4", 4, av_offset_measured=5),
        piece("own.mp4", 5, reason="no_face"),
    ]
    outcomes = [outcome(decision, number) for number, decision in enumerate(pieces, start=1)]
    row = DriftRow(what="clips", statistic="relative change", before="9", now="3", value=0.667, limit=0.5)
    lost = replace(row, what="quality", value=None, note="measured by a then and by b now")
    warned = Check(
        table="drift", expectation="expect_x", column="clips", expected="max_value 0.5", success=False,
        num_unexpected=1, examples=("0.667",), only_warns=True,
    )  # fmt: skip
    drift = Drift(compared_with="curate-aa", rows=(row, lost))
    contract = ContractResult(
        success=True, num_checks=7, num_failed=0, checks=(warned,), num_warnings=1, drift=drift
    )
    origins = {f"h{number}.mp4": "HDTF <b>" for number in (1, 2, 3)} | {"t.mp4": "talkvid"}
    return page_of(tmp_path, outcomes, contract=contract, name="talks & more", origins=origins)


def test_the_page_is_whole_and_has_a_chart_of_offsets_for_every_corpus(tmp_path: Path) -> None:
    page = _Page(_full_page(tmp_path))
    assert (page.open, page.wrong) == ([], [])
    assert page.words("h1") == ["talks & more: curation data docs"]
    assert page.words("h2") == [
        "Funnel", "Against the run before", "Why video was left out", "Scores", "Offsets by corpus", "Pieces",
        "Sample clips", "Sources", "Clips", "Contract",
    ]  # fmt: skip
    figures = page.words("figure")
    assert "HDTF <b> -15 0 15 3 measured; limit missed by 1" in figures
    assert "talkvid -15 0 15 1 measured" in figures
    ids = {str(attributes["id"]) for attributes in page.of("input")}
    assert ids == {"kind-all", "kind-accepted", "kind-av_offset_too_large", "kind-no_face"}
    assert {attributes["for"] for attributes in page.of("label")} == ids
    sections = {attributes["class"] for attributes in page.of("section")}
    assert sections == {"of-accepted", "of-av_offset_too_large", "of-no_face"}
    assert len(page.of("video")) == len(page.of("audio")) == 3


def test_the_page_says_that_sound_was_moved_only_where_it_was(tmp_path: Path) -> None:
    outcomes = [outcome(piece("a.mp4", 1, av_offset_measured=2), 1)]
    moved = page_of(tmp_path, outcomes)
    assert "the sound was moved by it" in moved
    assert "moved to where the lips are" in moved
    left = page_of(tmp_path, outcomes, settings=SETTINGS | {"sync_filter": False})
    assert "the sound was not moved, since sync_filter is off" in left
    assert "moved by it" not in left
    assert "moved to where" not in left


def test_the_page_tells_the_drift_and_the_references(tmp_path: Path) -> None:
    (text,) = _Page(_full_page(tmp_path)).words("main")
    assert "The contract holds in all 7 checks. 1 comparison with the run before is beyond its limit." in text
    assert "1 of 2 comparisons with curate-aa is beyond its limit." in text
    assert "clips 9 3 relative change 0.667 0.500" in text
    assert "quality 9 3 measured by a then and by b now not compared 0.500" in text
    assert "warns drift expect x clips max_value 0.5 1: 0.667" in text
    assert "Reference for training windows of 81 frames" not in text
    kept = outcome(piece("a.mp4", 1), 1)
    clips = [record(kept.decisions[0], 1).model_copy(update={"reference_81": "partial"})]
    told = " ".join(page_of(tmp_path, [kept], clips=clips).split())
    assert "Reference for training windows of 81 frames: partial 1." in told
    assert '<td class="narrow-off">partial</td>' in told


def test_offsets_are_drawn_one_bar_a_frame() -> None:
    """Frame -15 is the first of 31 bars of 240 / 31 each, frame 15 the last; what lies beyond is drawn at the ends."""
    found = offset_charts(
        [
            piece("a.mp4", 1, av_offset_measured=-15),
            piece("a.mp4", 1, 125, 250, av_offset_measured=15),
            piece("a.mp4", 1, 250, 375, av_offset_measured=22),
            piece("a.mp4", 1, 375, 500, av_offset_measured=0, reason="quality_low"),
            piece("a.mp4", 1, 500, 625, av_offset_measured=None, reason="no_face"),
            piece("b.mp4", 2, av_offset_measured=6),
        ],
        {"a.mp4": "hdtf"},
        SETTINGS,
    )
    assert [(c.origin, c.num_pieces, c.num_missed) for c in found] == [("hdtf", 4, 3), ("", 1, 0)]
    bars = re.findall(
        r'<rect class="(in|out)" x="([\d.]+)" y="[\d.]+" width="[\d.]+" height="([\d.]+)"', found[0].svg
    )
    step = 240 / 31
    assert bars == [
        ("in", "0.00", "32.00"),
        ("out", f"{15 * step:.2f}", "32.00"),
        ("in", f"{30 * step:.2f}", "64.00"),
    ]
    limits = re.findall(r'x1="([\d.]+)"', found[0].svg)
    assert limits == [f"{(-6 + 15.5) * step:.2f}", f"{(6 + 15.5) * step:.2f}"]
