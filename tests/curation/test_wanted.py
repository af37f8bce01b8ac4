"""What a corpus wants of a source: frames of ranges, pixels of crops, and sound of another file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lipforcing_core.base.products import file_sha256
from lipforcing_core.curation.records import SourceFacts
from lipforcing_core.curation.wanted import CropOutsideError, Wanted


def wanted(**facts: Any) -> Wanted:
    return Wanted.of(SourceFacts.model_validate(facts), "corpus")


def test_all_of_a_file_counts_where_nothing_else_is_said() -> None:
    everything = wanted(identity="anna")
    assert [everything.range_of(frame) for frame in (0, 1, 10**6)] == [0, 0, 0]
    assert everything.box(5, (100, 50)) is None
    assert everything.identity() == []
    assert everything.sound is None
    assert everything.facts.identity == "anna"


@pytest.mark.parametrize(
    ("ranges", "frames"),
    [
        ("1-2", {0: None, 24: None, 25: 0, 49: 0, 50: None}),
        ("1.001-2.999", {25: None, 26: 0, 73: 0, 74: None}),
        ("0.96-1", {23: None, 24: 0, 25: None}),
        ("0.97-0.99", {23: None, 24: None, 25: None}),
        ("0-1; 1-2; 4-5", {0: 0, 24: 0, 25: 1, 49: 1, 50: None, 99: None, 100: 2, 124: 2, 125: None}),
    ],
)
def test_a_range_holds_its_whole_frames(ranges: str, frames: dict[int, int | None]) -> None:
    found = wanted(ranges=ranges)
    assert {frame: found.range_of(frame) for frame in frames} == frames


def test_a_range_has_its_own_crop_or_that_of_the_file() -> None:
    ranges = [{"start_s": 0, "stop_s": 1, "crop": "1 2 3 4"}, "2-3"]
    found = wanted(ranges=ranges, crop="10 20 30 40 @200")
    assert found.box(0, (100, 100)) == (1, 2, 4, 6)
    assert found.box(50, (100, 100)) == (5, 10, 20, 30), "half of the pixels of a picture twice as high"
    assert wanted(ranges=ranges).box(50, (100, 100)) is None
    with pytest.raises(CropOutsideError, match="outside the picture of 4 x 1 pixels"):
        found.box(0, (4, 1))


def test_sound_of_another_file_lies_in_the_corpus_and_counts_by_its_content(tmp_path: Path) -> None:
    (tmp_path / "a.m4a").write_text("sound")
    found = Wanted.of(SourceFacts(audio="a.m4a"), tmp_path)
    assert found.sound == tmp_path / "a.m4a"
    assert found.identity() == [None, None, file_sha256(tmp_path / "a.m4a")]
