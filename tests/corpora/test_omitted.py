"""Every media file of a corpus is a source or is left out with a reason and words; none is lost between the two."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lipforcing_core.corpora.catalogue import read_corpus
from lipforcing_core.corpora.protocol import CorpusListing
from lipforcing_core.curation.sources import find_sources

from . import test_hdtf as hdtf
from . import test_speakervid5m as speakervid
from . import test_talkvid as talkvid
from . import test_voxceleb2 as voxceleb2
from .conftest import Tree
from .listing import facts

NO_ROW = ("left_out_by_corpus", "no usable row of the annotations names it")
CUT = ("left_out_by_corpus", "its clips lie beside it as files of their own")


def omitted(listing: CorpusListing) -> dict[str, tuple[str, str]]:
    """Reason and words by the path below the root, of a listing in which every video of the folder has one place."""
    found = {
        path.relative_to(listing.root).as_posix(): (why.reason.value, why.message)
        for path, why in listing.omitted.items()
    }
    assert not found.keys() & facts(listing).keys()
    videos = {path.relative_to(listing.root).as_posix() for path in find_sources(listing.root).sources}
    assert found.keys() | facts(listing).keys() == videos
    return found


def in_test(identity: str) -> tuple[str, str]:
    return "held_out_person", f"{identity} is in the official test split, whose list does not name this file"


def names_of(tmp_path: Path, *names: str) -> Path:
    path = tmp_path / "list.txt"
    path.write_text("".join(f"{name}\n" for name in names))
    return path


def test_a_folder(tree: Tree) -> None:
    tree.touch("a.mp4", "b.mp4", "c.mp4", "d.mp4")
    tree.put("sources.csv", 'path,split\na.mp4,test\nb.mp4,dev\nc.mp4,"val\n')
    tree.put("d.mp4.meta.json", '{"licence": 3}')
    unclosed = "a quote is opened and not closed, so the row is taken to end with its line"
    assert omitted(read_corpus("folder", tree.root)) == {
        "b.mp4": (
            "annotation_unusable",
            "sources.csv, line 3, split: should be 'train', 'val' or 'test' (got 'dev')",
        ),
        "c.mp4": ("annotation_unusable", f"sources.csv, line 4, row: {unclosed}"),
        "d.mp4": ("annotation_unusable", "d.mp4.meta.json, licence: should be a text (got 3)"),
    }


def test_a_manifest_is_about_the_files_that_its_rows_name(tree: Tree, tmp_path: Path) -> None:
    tree.touch("a.mp4", "b.mp4", "c.mp4")
    (tmp_path / "x.mp4").touch()
    rows = 'path,split\na.mp4,test\nb.mp4,dev\ngone.mp4,dev\n../x.mp4,val\nc.mp4,"val\n'
    assert omitted(read_corpus("manifest", tree.put("m.csv", rows))) == {
        "b.mp4": ("annotation_unusable", "m.csv, line 3, split: should be 'train', 'val' or 'test' (got 'dev')"),
        "c.mp4": (
            "annotation_unusable",
            "m.csv, line 6, row: a quote is opened and not closed, so the row is taken to end with its line",
        ),
    }  # fmt: skip


def test_hdtf(tree: Tree, tmp_path: Path) -> None:
    hdtf.annotate(
        tree,
        RD_crop_wh="Radio3_0.mp4 483 390 0 abc\nRadio11_0.mp4 412 599 0 599\nRadio11_1.mp4 557 478 12 478\n",
        WRA_annotion_time="MaryDoe0.mp4 00:05-02:55\nMaryDoe1.mp4 01:00:05-01:01:10\nJo-AnnRoe.mp4 00:10-00:05",
    )
    tree.touch("Radio3.mp4", "Radio11.mp4", "Radio11_0.mp4", "Radio11_1.mp4", "extra.mp4")
    tree.touch("MaryDoe0_0.mp4", "MaryDoe1.mp4", "Jo-AnnRoe.mp4")
    listing = read_corpus("hdtf", tree.root, names_of(tmp_path, "MaryDoe0_0"))
    assert list(facts(listing)) == ["MaryDoe0_0.mp4", "Radio11_0.mp4", "Radio11_1.mp4"]
    assert omitted(listing) == {
        "extra.mp4": NO_ROW,
        "Radio11.mp4": CUT,
        "MaryDoe1.mp4": in_test("hdtf:MaryDoe"),
        "Radio3.mp4": (
            "annotation_unusable",
            "HDTF_dataset/RD_crop_wh.txt, line 1, height: 'abc' is no number of pixels",
        ),
        "Jo-AnnRoe.mp4": (
            "annotation_unusable",
            "HDTF_dataset/WRA_annotion_time.txt, line 3, clip 0: '00:10-00:05' ends before it starts",
        ),
    }


def test_voxceleb2(tree: Tree) -> None:
    tree.put("vox2_meta.csv", voxceleb2.META)
    other = "dev/mp4/id00901/AAAAAAAAAAA/00002.mp4"
    tree.touch(f"test/mp4/{voxceleb2.CLIP}.mp4", other, "dev/mp4/x.mp4")
    listing = read_corpus("voxceleb2", tree.root)
    assert list(facts(listing)) == [other]
    assert omitted(listing) == {
        f"test/mp4/{voxceleb2.CLIP}.mp4": (
            "annotation_unusable",
            f"test/mp4/{voxceleb2.CLIP}.mp4, set: lies in test, but vox2_meta.csv says that id00901 belongs to dev",
        ),
        "dev/mp4/x.mp4": ("left_out_by_corpus", "it lies outside the folders of people"),
    }


def test_hallo3(tree: Tree) -> None:
    tree.touch("videos/0001.mp4", "caption/0001.txt", "0009.mp4")
    assert omitted(read_corpus("hallo3", tree.root)) == {
        "0009.mp4": ("left_out_by_corpus", "it lies outside the folder videos/")
    }


def test_talkvid(tree: Tree, tmp_path: Path) -> None:
    third = talkvid.entry("videovideoCCCCCCCCCCC-scene1-scene1", "CCCCCCCCCCC", 1, 4, person="12")
    wrong = talkvid.entry("videovideoDDDDDDDDDDD-scene1-scene1", "DDDDDDDDDDD", 5, 4, person="13")
    talkvid.annotate(tree, talkvid.FIRST, talkvid.OTHER, third, wrong)
    downloaded = "DDDDDDDDDDD_001_1.000_2.000.mp4"
    tree.touch(
        "AAAAAAAA-_A.mp4", "BBBBBBBBBBB.mp4", "CCCCCCCCCCC.mp4", "DDDDDDDDDDD.mp4", downloaded, "x.mp4"
    )
    listing = read_corpus("talkvid", tree.root, names_of(tmp_path, talkvid.OTHER["id"]))
    assert list(facts(listing)) == ["AAAAAAAA-_A.mp4", "BBBBBBBBBBB.mp4"]
    line = 2 + sum(len(json.dumps(e, indent=4).split("\n")) for e in (talkvid.FIRST, talkvid.OTHER, third))
    words = f"filtered_video_clips.json, line {line}, end-time: 4 is not after start-time 5"
    assert omitted(listing) == {
        "x.mp4": NO_ROW,
        "CCCCCCCCCCC.mp4": in_test("talkvid:12"),
        "DDDDDDDDDDD.mp4": ("annotation_unusable", words),
        downloaded: ("annotation_unusable", words),
    }


@pytest.mark.parametrize("cut", [False, True])
def test_speakervid5m(cut: bool, tree: Tree) -> None:
    first, listener, wrong = (f"{video}_0_1" for video in (speakervid.A, speakervid.B, "CCCCCCCCCCC"))
    speakervid.annotate(
        tree,
        {
            first: speakervid.clip(speakervid.A),
            listener: speakervid.clip(speakervid.B, is_talking=0),
            wrong: speakervid.clip("CCCCCCCCCCC", start_seconds="x"),
        },
    )
    names = [f"{name if cut else name[:11]}.mp4" for name in (first, listener, wrong)]
    tree.touch(*names, "x.mp4")
    listing = read_corpus("speakervid5m", tree.root)
    assert list(facts(listing)) == names[:1]
    assert omitted(listing) == {
        "x.mp4": NO_ROW,
        names[1]: ("left_out_by_corpus", "the person seen does not talk"),
        names[2]: (
            "annotation_unusable",
            f"merged_anno/{wrong}.json, start_seconds: must be a number, at least 0, and is 'x'",
        ),
    }
