"""Official ranges, crops and rights: how they are written, kept exact, and refused."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.products import as_json, content_key
from lipforcing_core.curation.assemble import _clip_with_facts
from lipforcing_core.curation.facts import read_facts
from lipforcing_core.curation.manifest import read_manifest, write_manifest
from lipforcing_core.curation.official import CropBox, TimeRange
from lipforcing_core.curation.pieces import split_of
from lipforcing_core.curation.records import SourceFacts
from lipforcing_core.curation.settings import CurationSettings

from .test_outcomes import clip


def test_facts_that_were_known_before_keep_their_content_key() -> None:
    """A key that changes repeats the work of every corpus that was ever curated, so it changes only on purpose."""
    assert as_json(SourceFacts()) == '{"commercial_ok":null,"identity":null,"licence":null}'
    known = SourceFacts(identity="anna", licence="CC0", commercial_ok=True)
    assert as_json(known) == '{"commercial_ok":true,"identity":"anna","licence":"CC0"}'
    assert content_key("outcome", "a.mp4", "ab" * 32, known, "s", "c") == content_key(
        "outcome",
        "a.mp4",
        "ab" * 32,
        {"identity": "anna", "licence": "CC0", "commercial_ok": True},
        "s",
        "c",
    )
    for name, value in [("language", "en"), ("ranges", "1-2"), ("crop", "0 0 9 9"), ("audio", "a.m4a")]:
        told = SourceFacts.model_validate({"identity": "anna", name: value})
        assert as_json(told) != as_json(SourceFacts(identity="anna")), name


def test_times_are_exact_and_in_order() -> None:
    facts = SourceFacts.model_validate({"ranges": "30-45.25; 12.1-20;"})
    assert facts.ranges is not None
    assert [(r.start, r.stop) for r in facts.ranges] == [
        (Fraction(121, 10), Fraction(20)),
        (Fraction(30), Fraction(181, 4)),
    ]
    dumped = facts.model_dump(mode="json")
    assert [(r["start_s"], r["stop_s"]) for r in dumped["ranges"]] == [("121/10", "20"), ("30", "181/4")]
    assert SourceFacts.model_validate(dumped) == facts
    assert TimeRange.model_validate([5.141666666666667, "6"]).start == Fraction("5.141666666666667")
    touching = SourceFacts.model_validate({"ranges": [["0", "5"], [5, 6]]})
    assert touching.ranges is not None
    assert len(touching.ranges) == 2


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"ranges": "20-20"}, "must end after it starts"),
        ({"ranges": "0-5;4.9-6"}, "0-5 and 49/10-6 overlap"),
        ({"ranges": " ; "}, "there is no range"),
        ({"ranges": "1:30-2:00"}, "written start-stop"),
        ({"ranges": [[-1, 2]]}, "at least 0"),
        ({"ranges": [[float("nan"), 2]]}, "must be a number"),
        ({"ranges": [["9" * 50, 2]]}, "must be a number"),
        ({"crop": "1 2 3"}, "x y width height"),
        ({"crop": "1 2 0 4"}, "more than 0"),
        ({"crop": "1 2 3 4 @0"}, "greater than or equal to 1"),
        ({"split": "dev"}, "'train', 'val' or 'test'"),
        ({"colour": "red"}, "Extra inputs"),
    ],
)
def test_what_cannot_be_meant_is_refused(facts: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        SourceFacts.model_validate(facts)


@pytest.mark.parametrize(
    ("box", "size", "edges"),
    [
        ("412 0 599 599 @720", (1280, 720), (412, 0, 1011, 599)),
        ("412 0 599 599 @720", (1920, 1080), (618, 0, 1517, 899)),  # 1.5 times: 1516.5 and 898.5 are taken in
        ("412 0 599 599 @720", (640, 360), (206, 0, 506, 300)),
        ("10 20 30 40", (1920, 1080), (10, 20, 40, 60)),
        ("10.5 20 30 40", (36, 50), (10, 20, 36, 50)),
    ],
)
def test_a_crop_fits_a_file_of_any_scale(
    box: str, size: tuple[int, int], edges: tuple[int, int, int, int]
) -> None:
    assert CropBox.model_validate(box).pixels(*size) == edges


def test_a_crop_outside_the_picture_is_refused() -> None:
    with pytest.raises(ValueError, match="outside the picture of 100 x 50 pixels"):
        CropBox.model_validate("100 0 5 5").pixels(100, 50)


def test_side_information_may_say_all_of_it(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    (tmp_path / "sources.csv").write_text(
        "path,language,split,consent,dataset,audio,ranges,crop\na.mp4,de,test,signed 2024,mine,a.m4a,1-2,0 0 9 9\n"
    )
    facts = read_facts(tmp_path / "a.mp4", tmp_path)
    assert (facts.language, facts.split, facts.consent, facts.dataset) == (
        "de",
        "test",
        "signed 2024",
        "mine",
    )
    assert (facts.audio, facts.ranges and facts.ranges[0].stop_s) == ("a.m4a", "2")
    (tmp_path / "a.mp4.meta.json").write_text('{"consent": true, "ranges": [[1, 2.5]]}')
    facts = read_facts(tmp_path / "a.mp4", tmp_path)
    assert (facts.consent, facts.ranges and facts.ranges[0].stop_s) == ("yes", "5/2")
    for bad in ("../a.m4a", "/a.m4a"):
        (tmp_path / "a.mp4.meta.json").write_text(f'{{"audio": "{bad}"}}')
        with pytest.raises(BadInputError, match=r"meta\.json: audio: path .* leaves the folder"):
            read_facts(tmp_path / "a.mp4", tmp_path)


def test_a_licence_wins_over_a_claim() -> None:
    assert clip(licence="CC-BY-NC-4.0", commercial_ok=True).commercial_ok is False
    assert clip(licence="CC-BY-4.0", commercial_ok=None).commercial_ok is True
    assert clip(licence="CC-BY-4.0", commercial_ok=False).commercial_ok is False
    assert clip(licence=None, commercial_ok=None).commercial_ok is None


def test_a_manifest_from_before_these_columns_is_read(tmp_path: Path) -> None:
    write_manifest(tmp_path / "m.parquet", [clip(language="en", consent="yes", dataset="mine")])
    (found,) = read_manifest(tmp_path / "m.parquet")
    assert (found.language, found.consent, found.dataset) == ("en", "yes", "mine")
    table = pq.read_table(tmp_path / "m.parquet").drop_columns(["language", "consent", "dataset"])
    pq.write_table(table, tmp_path / "old.parquet")
    (old,) = read_manifest(tmp_path / "old.parquet")
    assert old == clip()
    assert (old.language, old.consent, old.dataset) == (None, None, None)


def test_an_official_split_wins() -> None:
    by_hash = split_of("anna", "ab", 1.0)
    assert by_hash == "val"
    assert split_of("anna", "ab", 1.0, "train") == "train"
    assert split_of(None, "ab", 0.0, "test") == "test"


def test_clips_follow_the_facts_of_their_source() -> None:
    settings = CurationSettings(val_fraction=0.999999)
    facts = SourceFacts(
        identity="eve",
        licence="CC BY-NC 4.0",
        commercial_ok=True,
        language="de",
        consent="yes",
        dataset="mine",
    )
    made = _clip_with_facts(clip(), facts, settings)
    assert (made.identity, made.licence, made.commercial_ok) == ("eve", "CC BY-NC 4.0", False)
    assert (made.language, made.consent, made.dataset, made.split) == ("de", "yes", "mine", "val")
    assert _clip_with_facts(clip(), facts.model_copy(update={"split": "test"}), settings).split == "test"
    assert made.model_copy(update={}).scores == clip().scores
    assert _clip_with_facts(clip(), SourceFacts(), settings).licence is None
