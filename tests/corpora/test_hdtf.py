"""HDTF in its published format: four text files a group, names of clips with and without group."""

from __future__ import annotations

from pathlib import Path

import pytest

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.corpora.catalogue import read_corpus

from .conftest import Tree
from .listing import facts, left_out, times, told

RD = {
    "video_url": "Radio3 https://www.youtube.com/watch?v=AAAAAAAAAA3\n"
    "Radio11 https://www.youtube.com/watch?v=BBBBBBBBB11&t=6s\n",
    "annotion_time": "Radio3.mp4 00:20-01:35\nRadio11.mp4 00:30-01:00 01:30-02:30 \n",
    "crop_wh": "Radio3_0.mp4 483 390 0 390\nRadio11_0.mp4 412 599 0 599\nRadio11_1.mp4 557 478 12 478\n",
    "resolution": "Radio3.mp4 720\nRadio11.mp4 1080\n",
    "crop_ratio": "Radio3_0.mp4 1.0\nRadio11_0.mp4 1.2\nRadio11_1.mp4 1.2\n",
}
WRA = {  # a byte-order mark, a hyphen, an hour, and no newline at the end are all in the published files or may be
    "video_url": "\ufeffMaryDoe0 https://www.youtube.com/watch?v=CCCCCCCCCC0\n"
    "MaryDoe1 https://www.youtube.com/watch?v=CCCCCCCCCC1\nJo-AnnRoe https://www.youtube.com/watch?v=DDDDDDDDDDD\n",
    "annotion_time": "MaryDoe0.mp4 00:05-02:55\nMaryDoe1.mp4 01:00:05-01:01:10\nJo-AnnRoe.mp4 00:10-02:05",
    "crop_wh": "MaryDoe0_0.mp4 306 480 41 480\nMaryDoe1_0.mp4 319 492 11 492\nJo-AnnRoe_0.mp4 1 2 3 2\n",
    "resolution": "MaryDoe0.mp4 720\nMaryDoe1.mp4 720\nJo-AnnRoe.mp4 720\n",
}

ADVICE = "correct or remove one of the two rows"


def annotate(tree: Tree, folder: str = "HDTF_dataset/", **changed: str) -> None:
    """Write the annotation files, some of them changed (``RD_crop_wh="..."``)."""
    for group, files in (("RD", RD), ("WRA", WRA)):
        for kind, text in files.items():
            tree.put(f"{folder}{group}_{kind}.txt", changed.get(f"{group}_{kind}", text))


def test_whole_videos_have_official_ranges_and_crops(tree: Tree) -> None:
    annotate(tree)
    tree.touch("Radio11.mp4", "_videos_raw/WRA_MaryDoe0.mp4", "CCCCCCCCCC1.mp4")
    listing = read_corpus("hdtf", tree.root)
    found = facts(listing)
    assert list(found) == ["CCCCCCCCCC1.mp4", "Radio11.mp4", "_videos_raw/WRA_MaryDoe0.mp4"]
    assert times(found["Radio11.mp4"]) == [
        ("30", "60", ("412", "0", "599", "599", 1080)),
        ("90", "150", ("557", "12", "478", "478", 1080)),
    ]
    assert times(found["CCCCCCCCCC1.mp4"]) == [("3605", "3670", ("319", "11", "492", "492", 720))]
    assert [found[name].identity for name in found] == ["hdtf:MaryDoe", "hdtf:Radio11", "hdtf:MaryDoe"]
    known = found["Radio11.mp4"]
    assert (known.dataset, known.split, known.language, known.consent) == ("hdtf", None, None, None)
    assert known.licence == "CC BY 4.0 (annotations); YouTube videos of their owners"
    assert known.commercial_ok is None, "the annotations may be used, of the videos nobody knows"
    assert known.origin
    assert known.origin.address == "https://www.youtube.com/watch?v=BBBBBBBBB11&t=6s"
    assert told(listing) == []
    assert left_out(listing) == {"clips of the annotations that are not on disk": (2, "RD_Radio3_000")}
    assert listing.ignored == ()


def test_cut_clips_have_an_origin_and_no_ranges(tree: Tree) -> None:
    annotate(tree, folder="")
    tree.touch(
        "clips/Radio11_1.mp4", "clips/RD_Radio11_000_cfr25.mp4", "clips/WRA_Jo-AnnRoe_000.mp4", "holiday.mp4"
    )
    listing = read_corpus("hdtf", tree.root)
    found = facts(listing)
    assert list(found) == [
        "clips/RD_Radio11_000_cfr25.mp4", "clips/Radio11_1.mp4", "clips/WRA_Jo-AnnRoe_000.mp4"
    ]  # fmt: skip
    known = found["clips/Radio11_1.mp4"]
    assert (known.ranges, known.crop) == (None, None)
    assert known.origin
    assert (known.origin.start_s, known.origin.stop_s) == ("90", "150")
    assert known.origin.crop
    assert (known.origin.crop.x, known.origin.crop.y, known.origin.crop.frame_height) == ("557", "12", 1080)
    assert found["clips/WRA_Jo-AnnRoe_000.mp4"].identity == "hdtf:Jo-AnnRoe"
    assert left_out(listing)["videos that no usable row of the annotations names"] == (1, "holiday.mp4")


def test_a_clip_counts_once_where_its_whole_video_lies_beside_it(tree: Tree) -> None:
    annotate(tree)
    tree.touch("Radio11.mp4", "RD_Radio11_000.mp4", "Radio3.mp4", "RD_Radio3_000.mp4")
    listing = read_corpus("hdtf", tree.root)
    assert times(facts(listing)["Radio11.mp4"]) == [("90", "150", ("557", "12", "478", "478", 1080))]
    assert "Radio3.mp4" not in facts(listing)
    assert left_out(listing)["whole videos whose clips lie beside them as files of their own"] == (
        1,
        "Radio3.mp4",
    )


def test_the_common_script_numbers_only_clips_with_a_crop(tree: Tree) -> None:
    annotate(tree, RD_crop_wh="Radio3_0.mp4 483 390 0 390\nRadio11_1.mp4 557 478 12 478\n")
    tree.touch("RD_Radio11_000.mp4", "Radio11_0.mp4")
    found = facts(read_corpus("hdtf", tree.root))
    assert found["RD_Radio11_000.mp4"].origin
    assert found["RD_Radio11_000.mp4"].origin.start_s == "90"
    assert found["Radio11_0.mp4"].origin
    assert (found["Radio11_0.mp4"].origin.start_s, found["Radio11_0.mp4"].origin.crop) == ("30", None)


@pytest.mark.parametrize(
    ("changed", "problem", "kept"),
    [
        (
            {"RD_annotion_time": "Radio3.mp4 00:20-01:35\nRadio11.mp4 00:30 01:30-02:30\n"},
            "RD_annotion_time.txt, line 2, clip 0: '00:30' is no range START-STOP",
            ["90"],
        ),
        (
            {"RD_annotion_time": "Radio11.mp4 00:30-01:00 01:30-01:20\n"},
            "RD_annotion_time.txt, line 1, clip 1: '01:30-01:20' ends before it starts",
            ["30"],
        ),
        (
            {"RD_annotion_time": "# by hand\n\nRadio11.mp4 00:61-01:00\n"},
            "RD_annotion_time.txt, line 3, clip 0: '00:61' is no time (MM:SS or HH:MM:SS)",
            [],
        ),
        (
            {"RD_annotion_time": "Radio11.mp4\n"},
            "RD_annotion_time.txt, line 1, video name: a row is 'NAME.mp4 00:30-01:00 ...', and this is 'Radio11.mp4'",
            [],
        ),
        (
            {"RD_annotion_time": "Radio11.mp4 00:30-01:00\nRadio11.mp4 00:30-01:00 01:30-02:30\n"},
            "RD_annotion_time.txt, line 2, times: '00:30-01:00 01:30-02:30' for Radio11, and line 1 says "
            f"'00:30-01:00'; {ADVICE}",
            [],
        ),
        (
            {"RD_video_url": "Radio11 https://youtu.be/BBBBBBBBB11\nRadio11 https://youtu.be/BBBBBBBBB12\n"},
            "RD_video_url.txt, line 2, video youtube url: 'https://youtu.be/BBBBBBBBB12' for Radio11, and line 1 says "
            f"'https://youtu.be/BBBBBBBBB11'; {ADVICE}",
            [],
        ),
        (
            {
                "RD_crop_wh": "Radio11_0.mp4 412 599 0 599\nRadio11_1.mp4 557 478 12 478\nRadio11_0.mp4 412 599 1 599\n"
            },
            f"RD_crop_wh.txt, line 3, min_height: '1' for Radio11_0, and line 1 says '0'; {ADVICE}",
            ["90"],
        ),
        (
            {"RD_resolution": "Radio3.mp4 720\nRadio11.mp4 1080\nRadio11.mp4 720\n"},
            f"RD_resolution.txt, line 3, resolution: 720 for Radio11, and line 2 says 1080; {ADVICE}",
            [],
        ),
        (
            {"RD_resolution": "Radio3.mp4 720\n", "RD_crop_wh": "Radio11_1.mp4 557 478 12 478\n"},
            "RD_crop_wh.txt, line 1, video name: 'Radio11' has no row in RD_resolution.txt, which says how high the "
            "picture of a crop is",
            ["30"],
        ),
        (
            {"RD_crop_wh": "Radio11_0.mp4 412 5x9 0 599\nRadio11_1.mp4 557 478 12 478\n"},
            "RD_crop_wh.txt, line 1, width: '5x9' is no number of pixels",
            ["90"],
        ),
        (
            {"RD_crop_wh": "Radio11_0.mp4 412 599 0 599\nRadio11_1.mp4 557 478 12\n"},
            "RD_crop_wh.txt, line 2, crop: a row is 'NAME_0.mp4 min_width width min_height height', and this is "
            "'Radio11_1.mp4 557 478 12'",
            ["30"],
        ),
        (
            # as in line 76 of the published WRA_resolution.txt
            {"RD_resolution": "Radio3.mp4 720\nRadio11.mp4 0\n"},
            "RD_resolution.txt, line 2, resolution: a row is 'NAME.mp4 HEIGHT', in pixels, and this is 'Radio11.mp4 0'",
            [],
        ),
        (
            {"RD_video_url": "Radio11 youtube\n"},
            "RD_video_url.txt, line 1, video youtube url: a row is 'NAME URL', and this is 'Radio11 youtube'",
            ["30", "90"],
        ),
        (
            {"RD_video_url": "Radio11 http://[x\n"},
            "RD_video_url.txt, line 1, video youtube url: a row is 'NAME URL', and this is 'Radio11 http://[x'",
            ["30", "90"],
        ),
    ],
)
def test_a_malformed_row_costs_what_it_is_about(
    changed: dict[str, str], problem: str, kept: list[str], tree: Tree
) -> None:
    annotate(tree, **changed)
    tree.touch("Radio11.mp4", "WRA_MaryDoe0.mp4")
    listing = read_corpus("hdtf", tree.root)
    assert told(listing) == [f"HDTF_dataset/{problem}"]
    found = facts(listing)
    assert "WRA_MaryDoe0.mp4" in found
    assert (
        [start for start, *_ in times(found["Radio11.mp4"])] == kept if kept else "Radio11.mp4" not in found
    )
    assert "videos that no usable row of the annotations names" not in left_out(listing)


def test_rows_that_say_the_same_again_are_told_and_count_once(tree: Tree) -> None:
    annotate(tree, **{f"RD_{kind}": RD[kind] + RD[kind] for kind in RD})
    tree.touch("Radio11.mp4")
    listing = read_corpus("hdtf", tree.root)
    assert told(listing) == []
    assert times(facts(listing)["Radio11.mp4"]) == [
        ("30", "60", ("412", "0", "599", "599", 1080)),
        ("90", "150", ("557", "12", "478", "478", 1080)),
    ]
    again = "has the same row again in line"
    assert [line for line in listing.warnings if again in line] == [
        f"HDTF_dataset/RD_video_url.txt, line 1: Radio3 {again} 3; it counts once",
        f"HDTF_dataset/RD_video_url.txt, line 2: Radio11 {again} 4; it counts once",
        f"HDTF_dataset/RD_resolution.txt, line 1: Radio3 {again} 3; it counts once",
        f"HDTF_dataset/RD_resolution.txt, line 2: Radio11 {again} 4; it counts once",
        f"HDTF_dataset/RD_crop_wh.txt, line 1: Radio3_0 {again} 4; it counts once",
        f"HDTF_dataset/RD_crop_wh.txt, line 2: Radio11_0 {again} 5; it counts once",
        f"HDTF_dataset/RD_crop_wh.txt, line 3: Radio11_1 {again} 6; it counts once",
        f"HDTF_dataset/RD_annotion_time.txt, line 1: Radio3 {again} 3; it counts once",
        f"HDTF_dataset/RD_annotion_time.txt, line 2: Radio11 {again} 4; it counts once",
    ]


@pytest.mark.parametrize("file", ["Radio11.mp4", "RD_Radio11_001.mp4", "BBBBBBBBB11.mp4", "BBBBBBBBB12.mp4"])
def test_two_addresses_of_one_video_leave_out_every_file_of_it(file: str, tree: Tree) -> None:
    address = "https://www.youtube.com/watch?v=BBBBBBBBB"
    annotate(tree, RD_video_url=f"Radio11 {address}11\nRadio3 {address}33\nRadio11 {address}12\n")
    tree.touch(file, "Radio3.mp4")
    listing = read_corpus("hdtf", tree.root)
    assert list(facts(listing)) == ["Radio3.mp4"]
    ((path, why),) = listing.omitted.items()
    assert (path.name, why.reason.value) == (file, "annotation_unusable")
    assert why.message.startswith("HDTF_dataset/RD_video_url.txt, line 3, video youtube url: ")


def test_a_malformed_crop_does_not_renumber_the_clips_behind_it(tree: Tree) -> None:
    annotate(tree, RD_crop_wh="Radio11_0.mp4 412 ? 0 599\nRadio11_1.mp4 557 478 12 478\n")
    tree.touch("RD_Radio11_000.mp4", "RD_Radio11_001.mp4")
    listing = read_corpus("hdtf", tree.root)
    assert [known.origin and known.origin.start_s for known in facts(listing).values()] == ["90"]
    assert list(facts(listing)) == ["RD_Radio11_001.mp4"]


@pytest.mark.parametrize("kind", ["video_url", "annotion_time", "crop_wh", "resolution"])
def test_a_missing_file_is_refused_with_the_layout(kind: str, tree: Tree) -> None:
    annotate(tree)
    tree.touch("Radio11.mp4")
    (tree.root / f"HDTF_dataset/RD_{kind}.txt").unlink()
    with pytest.raises(BadInputError, match=rf"RD_{kind}\.txt: this annotation file is missing; HDTF needs"):
        read_corpus("hdtf", tree.root)


def test_other_folders_are_refused_with_the_layout(tree: Tree, tmp_path: Path) -> None:
    tree.touch("Radio11.mp4")
    with pytest.raises(
        BadInputError, match="no annotation files of HDTF here; HDTF needs its annotation files"
    ):
        read_corpus("hdtf", tree.root)
    with pytest.raises(BadInputError, match="is a file; HDTF needs"):
        read_corpus("hdtf", tree.root / "Radio11.mp4")
    annotate(tree)
    (tree.root / "Radio11.mp4").unlink()
    with pytest.raises(BadInputError, match=r"no videos here .* HDTF needs"):
        read_corpus("hdtf", tree.root)


def test_the_official_test_split_is_exactly_the_list_and_nobody_is_on_both_sides(
    tree: Tree, tmp_path: Path
) -> None:
    annotate(tree)
    tree.touch("Radio11.mp4", "WRA_MaryDoe0_000.mp4", "WRA_MaryDoe1_000.mp4", "WRA_Jo-AnnRoe_000.mp4")
    names = tmp_path / "test.txt"
    names.write_text(
        "# the clips of the paper\nRD_Radio11_001_cfr25.mp4\tother.wav\nvideos/WRA_MaryDoe0_000.mp4\nWRA_Gone_000\n"
    )
    listing = read_corpus("hdtf", tree.root, names)
    found = facts(listing)
    assert {name: known.split for name, known in found.items()} == {
        "Radio11.mp4": "test",
        "WRA_MaryDoe0_000.mp4": "test",
        "WRA_Jo-AnnRoe_000.mp4": None,
    }
    assert [start for start, *_ in times(found["Radio11.mp4"])] == ["90"]
    mates = (
        "clips of people in the official test split that are not in it themselves, left out of every split"
    )
    assert left_out(listing)[mates] == (2, "RD_Radio11_000")
    assert left_out(listing)["clips of the official test list that are not on disk"] == (1, "WRA_Gone_000")
    assert listing.warnings == (f"{names}: lists 3 of the clips, and the official test split of hdtf has 33",)
    names.write_text("".join(f"WRA_X{i}_000\n" for i in range(33)))
    assert read_corpus("hdtf", tree.root, names).warnings == ()


def test_without_a_list_it_is_said_that_nothing_is_held_out(tree: Tree) -> None:
    annotate(tree)
    tree.touch("Radio11.mp4")
    (warning,) = read_corpus("hdtf", tree.root).warnings
    assert warning.startswith(
        "hdtf: the clips of the official test split (33) are not published with the corpus"
    )
    assert "--test-list FILE" in warning
