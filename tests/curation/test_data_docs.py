"""The page of a run: charts, chosen pieces, players, and a size that no corpus exceeds."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from lipforcing_core.curation.contract import ContractResult
from lipforcing_core.curation.data_docs import DataDocs, score_charts, short, write_data_docs
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
    docs = DataDocs(
        clips=[clip.record for o in outcomes for clip in o.clips],
        outcomes=outcomes,
        counts=balance(outcomes),
        funnel=funnel_rows(outcomes),
        reasons=reason_counts(outcomes),
        contract=ContractResult(success=True, num_checks=0, num_failed=0, checks=()),
        settings=SETTINGS,
        **changes,
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
