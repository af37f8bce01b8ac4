"""The facts of the card, counted by hand, and its text."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lipforcing_core.curation.manifest import read_manifest, write_manifest
from lipforcing_core.export.card import Card, make_card, shares
from lipforcing_core.export.card_text import card_text, count, length, plain, table
from lipforcing_core.export.curated import read_curated


@pytest.fixture
def card(curated_once: Path) -> Card:
    return make_card(read_curated(curated_once))


def row(share: Any) -> tuple[Any, ...]:
    return (share.value, share.num_clips, share.seconds, share.num_identities, share.commercial_ok)


def test_counts(card: Card) -> None:
    assert (card.num_clips, card.num_frames, card.seconds) == (5, 250, 10.0)
    assert card.hours == 10 / 3600
    assert (card.num_sources, card.num_identities, card.num_unnamed) == (5, 3, 1)
    assert card.leaking == ()
    assert [row(share)[:4] for share in card.splits] == [("train", 4, 8.0, 2), ("val", 1, 2.0, 1)]
    assert (card.num_checks, card.num_failed_checks) == (63, 0)


def test_licences_and_what_they_allow(card: Card) -> None:
    """The side file of ben's video claims commercial use, which its licence excludes."""
    assert [row(share) for share in card.licences] == [
        ("CC-BY-4.0", 2, 4.0, 1, True),
        ("CC BY-NC 4.0", 1, 2.0, 1, False),
        ("CC0-1.0", 1, 2.0, 0, True),
        (None, 1, 2.0, 1, None),
    ]
    assert card.commercial_ok is False


@pytest.mark.parametrize(("keep", "allowed"), [([0, 1, 4], True), ([0, 3], None), ([2, 3], False)])
def test_commercial_use_of_the_whole(keep: list[int], allowed: bool | None, manifest: Path) -> None:
    clips = read_manifest(manifest)
    write_manifest(manifest, [clips[index] for index in keep])
    assert make_card(read_curated(manifest)).commercial_ok is allowed


def test_an_identity_in_two_splits_is_told(manifest: Path) -> None:
    clips = read_manifest(manifest)
    write_manifest(manifest, [clips[0].model_copy(update={"split": "val"}), *clips[1:]])
    card = make_card(read_curated(manifest))
    assert card.leaking == ("anna",)
    text = card_text(card, name="x", usage="")
    assert "**1 identity appears in more than one split:** anna." in text
    assert "No named identity appears" not in text


def test_columns_appear_when_the_manifest_has_them(card: Card) -> None:
    """A column that clips do not have counts as not stated; one that they have is told by its values."""
    clips: Any = [
        SimpleNamespace(language=language, num_frames=25, identity="a", licence="MIT", commercial_ok=None)
        for language in ("en", "de", "en", None, "")
    ]
    assert [row(share)[:3] for share in shares(clips, "language")] == [
        ("en", 2, 2.0),
        ("de", 1, 1.0),
        (None, 2, 2.0),
    ]
    assert [row(share)[:3] for share in shares(clips, "no_such_column")] == [(None, 5, 5.0)]


def test_the_text_tells_the_facts(card: Card) -> None:
    text = card_text(card, name="My *talks*", usage="## How to read it\n\nOpen it.")
    assert text.startswith(
        "# My \\*talks\\*\n\n5 clips (10.0 s) of talking faces from 5 sources with 3 named people"
    )
    for line in (
        "| identities | 3 (and 1 clip without a name) |",
        "| CC BY-NC 4.0 | https://creativecommons.org/licenses/by-nc/4.0/ | no | 1 | 2.0 s |",
        "| not stated |  | not known | 1 | 2.0 s |",
        "The set as a whole may not be used commercially, since at least one clip may not.",
        "| found | 5 | 10 | 12.0 s |",
        "| sync | 5 | 5 | 10.0 s |",
        "| `too_short` | the shot is shorter than a clip may be (seconds) | 5 | 5 | 2.0 s |",
        "| `sync_confidence` | 4.00 | 6.00 | 8.00 |",
        "They were measured with `lbp@1`, `piqe@1`, `puppet@1`.",
        "The manifest was checked against a contract of 63 checks, and all of them hold.",
        "| `min_segment_s` | 2.0 |",
        "* 1 clip has no named identity, so the same person may appear in several splits.",
    ):
        assert line in text.splitlines() or line in text, line
    assert "Open it." in text


def test_no_folder_of_a_machine_is_told(card: Card) -> None:
    text = card_text(card, name="x", usage="")
    assert "| `detector_model` | own.onnx |" in text
    assert "somebody" not in text


def test_a_set_without_books_says_so(manifest: Path) -> None:
    for name in ("funnel.json", "contract.json", "decisions.parquet"):
        (manifest.parent / name).unlink()
    text = card_text(make_card(read_curated(manifest)), name="x", usage="")
    assert "No `funnel.json` stood beside the manifest" in text
    assert "contract of" not in text


def test_foreign_text_stays_in_its_place() -> None:
    assert plain("a|b\n<script> [x](y) `c`") == r"a\|b &lt;script> \[x\](y) \`c\`"
    assert plain("caf\udce9 \x1b[31m") == r"caf\\xe9 \\x1b\[31m"
    assert table(("a", "b"), [("1", "2")]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"


@pytest.mark.parametrize(
    ("seconds", "words"), [(59.94, "59.9 s"), (60, "1.0 min"), (3600, "1.0 h"), (4_500_000, "1,250.0 h")]
)
def test_lengths(seconds: float, words: str) -> None:
    assert length(seconds) == words


def test_counts_in_words() -> None:
    assert (count(1, "clip"), count(0, "clip"), count(2, "identity", "identities")) == (
        "1 clip",
        "0 clips",
        "2 identities",
    )
