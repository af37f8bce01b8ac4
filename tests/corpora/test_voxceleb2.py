"""VoxCeleb2 in its published format: folders by person and video, sound and boxes in parallel folders, blanks in the
CSV."""

from __future__ import annotations

import pytest

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.corpora.catalogue import read_corpus

from .conftest import Tree
from .listing import facts, left_out, told

META = "VoxCeleb2 ID ,VGGFace2 ID ,Gender ,Set \nid00901 ,n000901 ,m ,dev \nid00902 ,n000902 ,f ,test \n"
TABS = "Name \tVoxCeleb2 ID \tVGGFace2 ID \tGender \tSet \nMary_Doe \tid00901 \tn000901 \tf \tdev \n"
TXT = (
    "Identity  : \tid00901\nReference : \tAAAAAAAAAAA\nOffset    : \t2\nFV Conf   : \t20.230\t(1)\nASD Conf  : "
    "\t2.765\n\nFRAME \tX \tY \tW \tH \n000250 \t0.300 \t0.100 \t0.400 \t0.750 \n000251 \t0.325 \t-0.010 \t0.400 "
    "\t0.750 \n000252 \t0.310 \t0.100 \t0.400 \t0.900 \n"
)
CLIP = "id00901/AAAAAAAAAAA/00001"


def test_the_published_folders(tree: Tree) -> None:
    tree.put("vox2_meta.csv", META)
    tree.touch(f"dev/mp4/{CLIP}.mp4", f"dev/aac/{CLIP}.m4a", "test/mp4/id00902/BBBBBBBBBBB/00007.mp4")
    tree.put(f"dev/txt/{CLIP}.txt", TXT)
    listing = read_corpus("voxceleb2", tree.root)
    found = facts(listing)
    dev, test = found[f"dev/mp4/{CLIP}.mp4"], found["test/mp4/id00902/BBBBBBBBBBB/00007.mp4"]
    assert (dev.identity, dev.split, dev.audio) == ("voxceleb2:id00901", None, f"dev/aac/{CLIP}.m4a")
    assert (test.identity, test.split, test.audio) == ("voxceleb2:id00902", "test", None)
    assert (dev.ranges, dev.crop) == (None, None), "the clip is cut and cropped already"
    assert dev.origin
    assert dev.origin.address == "https://www.youtube.com/watch?v=AAAAAAAAAAA"
    assert (dev.origin.start_s, dev.origin.stop_s) == ("10", "253/25")  # frames 250 to 252 at 25 fps
    assert dev.origin.face_shares == ("3/10", "0", "17/40", "1")  # 0.3 to 0.725, 0 to 1.0
    assert test.origin
    assert test.origin.address == "https://www.youtube.com/watch?v=BBBBBBBBBBB"
    assert (dev.dataset, dev.commercial_ok) == ("voxceleb2", False)
    assert (listing.problems, listing.ignored, listing.warnings, left_out(listing)) == ((), (), (), {})


@pytest.mark.parametrize("sound", [f"aac/{CLIP}.m4a", f"mp4/{CLIP}.m4a", f"mp4/{CLIP}.wav"])
@pytest.mark.parametrize("meta", [META, TABS])
def test_other_places_of_the_same_files(meta: str, sound: str, tree: Tree) -> None:
    tree.put("meta/vox2_meta.csv", meta)
    tree.touch(f"mp4/{CLIP}.mp4", sound)
    found = facts(read_corpus("voxceleb2", tree.root))
    assert found[f"mp4/{CLIP}.mp4"].audio == sound
    assert found[f"mp4/{CLIP}.mp4"].split is None


ALL = ("10", "253/25", ("3/10", "0", "17/40", "1"))
LAST_TWO = ("251/25", "253/25", ("31/100", "0", "83/200", "1"))
OUTER = ("10", "253/25", ("3/10", "1/10", "41/100", "9/10"))
FIRST_TWO = ("10", "252/25", ("3/10", "0", "17/40", "17/20"))
NOTHING = (None, None, None)


@pytest.mark.parametrize(
    ("old", "new", "problem", "known"),
    [
        ("000250 ", "000250x ", "line 8, FRAME: '000250x' is no number of a frame", LAST_TWO),
        ("000251 \t0.325", "000251 \tx", "line 9, X: 'x' is no number", OUTER),
        ("000251 \t0.325", "00025l \t0.325", "line 9, FRAME: '00025l' is no number of a frame", OUTER),
        ("000251 ", "000249 ", "line 9, FRAME: 000249 does not follow 250", OUTER),
        ("0.400 \t0.900", "0.400", "line 10, X Y W H: four numbers follow the frame, and here are 3", FIRST_TWO),
        ("0.400 \t0.900", "0 \t0.900", "line 10, W: must be more than 0", FIRST_TWO),
        ("0.400", "x", "line 8, W: 'x' is no number (and 2 more lines of this file)", NOTHING),
        ("FRAME \tX", "FRAME \tY", "line 7, FRAME: the table has the columns FRAME X Y W H, and this is "
         "'FRAME \\tY \\tY \\tW \\tH'", NOTHING),
        ("Offset    :", "Offset    ", "line 3, header: a line is 'NAME : VALUE', and this is 'Offset     \\t2'", ALL),
        (TXT[TXT.index("000250") :], "", "FRAME: has no row of a frame", NOTHING),
    ],
)  # fmt: skip
def test_a_malformed_line_of_a_txt_file_costs_itself(
    old: str, new: str, problem: str, known: tuple[object, ...], tree: Tree
) -> None:
    """Of the three boxes the readable ones count: left 0.3, 0.325, 0.31; top 0.1, 0 (cut), 0.1; 0.4 wide; 0.75 and 0.9
    high."""
    tree.touch(f"dev/mp4/{CLIP}.mp4")
    tree.put(f"dev/txt/{CLIP}.txt", TXT.replace(old, new))
    listing = read_corpus("voxceleb2", tree.root)
    assert told(listing) == [f"dev/txt/{CLIP}.txt, {problem}"]
    origin = facts(listing)[f"dev/mp4/{CLIP}.mp4"].origin
    assert origin
    assert origin.address == "https://www.youtube.com/watch?v=AAAAAAAAAAA"
    assert (origin.start_s, origin.stop_s, origin.face_shares) == known


def test_a_txt_file_that_is_no_text_costs_the_boxes_of_its_clip(tree: Tree) -> None:
    tree.touch(f"dev/mp4/{CLIP}.mp4")
    tree.put(f"dev/txt/{CLIP}.txt").write_bytes(b"Identity : id00901\n\xff")
    listing = read_corpus("voxceleb2", tree.root)
    (problem,) = told(listing)
    assert problem.startswith(f"dev/txt/{CLIP}.txt, file: ")
    assert "is not UTF-8 text" in problem
    assert list(facts(listing)) == [f"dev/mp4/{CLIP}.mp4"]


def test_a_txt_file_of_another_person_costs_its_clip(tree: Tree) -> None:
    other = "dev/mp4/id00901/AAAAAAAAAAA/00002.mp4"
    tree.touch(f"dev/mp4/{CLIP}.mp4", other)
    tree.put(f"dev/txt/{CLIP}.txt", TXT.replace("id00901", "id00902"))
    listing = read_corpus("voxceleb2", tree.root)
    words = "line 1, Identity: is 'id00902', and the file lies in the folder of id00901"
    assert told(listing) == [f"dev/txt/{CLIP}.txt, {words}"]
    assert list(facts(listing)) == [other]
    assert [why.message for why in listing.omitted.values()] == told(listing)


def test_pixels_of_an_earlier_release_are_no_shares(tree: Tree) -> None:
    tree.touch(f"dev/mp4/{CLIP}.mp4")
    tree.put(f"dev/txt/{CLIP}.txt", "FRAME \tX \tY \tW \tH\n002316 \t223 \t80 \t130 \t130\n")
    origin = facts(read_corpus("voxceleb2", tree.root))[f"dev/mp4/{CLIP}.mp4"].origin
    assert origin
    assert (origin.start_s, origin.stop_s, origin.face_shares) == ("2316/25", "2317/25", None)


def test_contradictions_and_malformed_rows_of_the_table_are_told(tree: Tree) -> None:
    tree.put("vox2_meta.csv", META + "id9 ,n9 ,m ,dev \nid00903 ,n000903 ,m ,train \n")
    tree.touch(f"test/mp4/{CLIP}.mp4", "dev/mp4/id00903/AAAAAAAAAAB/00001.mp4", "dev/mp4/x.mp4")
    listing = read_corpus("voxceleb2", tree.root)
    assert told(listing) == [
        "vox2_meta.csv, line 4, VoxCeleb2 ID: 'id9' is no idNNNNN",
        "vox2_meta.csv, line 5, Set: must be dev or test, and is 'train'",
        f"test/mp4/{CLIP}.mp4, set: lies in test, but vox2_meta.csv says that id00901 belongs to dev",
    ]
    assert list(facts(listing)) == ["dev/mp4/id00903/AAAAAAAAAAB/00001.mp4"]
    assert left_out(listing) == {"videos outside the folders of people": (1, "dev/mp4/x.mp4")}


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("id00901 ,n000901 ,m ,test ", "Set: 'test' for id00901, and line 2 says 'dev'"),
        ("id00901 ,n000902 ,m ,dev ", "VGGFace2 ID: 'n000902' for id00901, and line 2 says 'n000901'"),
    ],
)
def test_two_rows_of_one_person_agree_or_leave_out_the_person(row: str, problem: str, tree: Tree) -> None:
    other = "test/mp4/id00902/BBBBBBBBBBB/00007.mp4"
    tree.touch(f"dev/mp4/{CLIP}.mp4", other)
    tree.put("vox2_meta.csv", f"{META}{row}\nid00902 ,n000902 ,f ,test \n")
    listing = read_corpus("voxceleb2", tree.root)
    words = f"vox2_meta.csv, line 4, {problem}; correct or remove one of the two rows"
    assert told(listing) == [words]
    assert list(facts(listing)) == [other]
    ((path, why),) = listing.omitted.items()
    assert path.relative_to(tree.root).as_posix() == f"dev/mp4/{CLIP}.mp4"
    assert (why.reason.value, why.message) == ("annotation_unusable", words)
    assert listing.warnings == (
        "vox2_meta.csv, line 3: id00902 has the same row again in line 5; it counts once",
    )


def test_other_layouts_are_refused(tree: Tree) -> None:
    tree.touch("a.mp4")
    with pytest.raises(
        BadInputError, match=r"no video lies as in VoxCeleb2 \(first: a\.mp4\); VoxCeleb2 needs"
    ):
        read_corpus("voxceleb2", tree.root)
    tree.put("vox2_meta.csv", "ID,Set\n")
    with pytest.raises(
        BadInputError, match=r"vox2_meta\.csv, line 1: column VoxCeleb2 ID is missing \(found: ID, Set\)"
    ):
        read_corpus("voxceleb2", tree.root)


def test_without_table_and_sets_no_clip_can_be_used(tree: Tree) -> None:
    tree.touch(f"mp4/{CLIP}.mp4")
    with pytest.raises(
        BadInputError, match=r"no source of voxceleb2 can be used: .*neither a folder dev or test nor"
    ):
        read_corpus("voxceleb2", tree.root)
