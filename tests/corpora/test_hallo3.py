"""Hallo3's training data as it comes out of its archives."""

from __future__ import annotations

from pathlib import Path

import pytest

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.corpora.catalogue import read_corpus

from .conftest import Tree
from .listing import facts, left_out


def test_videos_are_english_and_not_for_commercial_use(tree: Tree) -> None:
    tree.touch("videos/0001.mp4", "videos/0002.mp4", "caption/0001.txt", "caption/0003.txt", "0009.mp4")
    listing = read_corpus("hallo3", tree.root)
    found = facts(listing)
    assert list(found) == ["videos/0001.mp4", "videos/0002.mp4"]
    known = found["videos/0001.mp4"]
    assert (known.identity, known.language, known.split) == (None, "en", None)
    assert (known.dataset, known.licence, known.commercial_ok) == ("hallo3", "CC BY-NC-ND 4.0", False)
    assert left_out(listing) == {
        "captions whose video is not on disk": (1, "0003"),
        "videos outside the folder videos/": (1, "0009.mp4"),
    }
    assert listing.ignored == ()
    assert "(10, 30 or 40) are not published" in listing.warnings[0]


def test_a_table_of_the_user_has_no_effect_and_that_is_said(tree: Tree) -> None:
    tree.touch("videos/0001.mp4", "caption/0001.txt")
    tree.put("sources.csv", "path,consent\nvideos/0001.mp4,yes\n")
    listing = read_corpus("hallo3", tree.root)
    assert listing.warnings[1].endswith(
        "sources.csv: has no effect, since the facts of hallo3 are its annotations"
    )
    assert facts(listing)["videos/0001.mp4"].consent is None
    tree.touch(
        "videos/0002.mp4", "caption/0002.txt", "videos/0001.mp4.meta.json", "videos/0002.mp4.meta.json"
    )
    assert [line.removeprefix(f"{tree.root}/") for line in read_corpus("hallo3", tree.root).warnings[2:]] == [
        "videos/0001.mp4.meta.json and 1 more like it: has no effect, since the facts of hallo3 are its annotations"
    ]


@pytest.mark.parametrize(("size", "fits"), [(9, False), (10, True), (30, True), (40, True), (41, False)])
def test_the_official_lists_have_ten_and_thirty_clips(
    size: int, fits: bool, tree: Tree, tmp_path: Path
) -> None:
    tree.touch("videos/0001.mp4", "videos/0099.mp4", "caption/0001.txt")
    names = tmp_path / "list.txt"
    names.write_text("".join(f"{i:04d}.mp4\n" for i in range(1, size + 1)))
    listing = read_corpus("hallo3", tree.root, names)
    assert {name: known.split for name, known in facts(listing).items()} == {
        "videos/0001.mp4": "test",
        "videos/0099.mp4": None,
    }
    assert (listing.warnings == ()) is fits


@pytest.mark.parametrize("missing", ["videos", "caption"])
def test_a_missing_folder_is_refused_and_an_archive_named(missing: str, tree: Tree) -> None:
    tree.touch("videos/0001.mp4", "caption/0001.txt", "0.mp4")
    for file in (tree.root / missing).iterdir():
        file.unlink()
    (tree.root / missing).rmdir()
    with pytest.raises(
        BadInputError, match=rf"the folder {missing}/ is missing; Hallo3 needs its unpacked archives"
    ):
        read_corpus("hallo3", tree.root)
    tree.touch(f"{missing}.tgz")
    with pytest.raises(BadInputError, match=rf"\({missing}\.tgz is here and must be unpacked\)"):
        read_corpus("hallo3", tree.root)
