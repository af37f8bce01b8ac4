"""TalkVid in its published format: the JSON list of clips, and the names that its download script gives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.corpora import rows
from lipforcing_core.corpora.catalogue import read_corpus

from .conftest import Tree
from .listing import facts, left_out, times, told


def entry(
    name: str, video: str, start: Any, stop: Any, person: str = "597", **changes: Any
) -> dict[str, Any]:
    """An entry with every key of the published ones."""
    return {
        "id": name,
        "height": 1080,
        "width": 1920,
        "fps": 24.0,
        "start-time": start,
        "start-frame": 0,
        "end-time": stop,
        "end-frame": 121,
        "durations": "5.042s",
        "info": {
            "Person ID": person,
            "Ethnicity": "White",
            "Age Group": "60+",
            "Gender": "Male",
            "Video Link": f"https://www.youtube.com/watch?v={video}",
            "Language": "English",
            "Video Category": "Personal Experience",
        },
        "description": 'He says: "{ not } a bracket" [',
        "dover_scores": 8.9,
        "cotracker_ratio": 0.9271857142448425,
        "head_detail": {"scores": {"avg_movement": 97.92236052453518, "min_orientation": 73.27433271185937}},
    } | changes


FIRST = entry("videovideoAAAAAAAA-_A-scene1-scene1", "AAAAAAAA-_A", 0.1, 5.141666666666667)
SECOND = entry("videovideoAAAAAAAA-_A-scene2-scene1", "AAAAAAAA-_A", 10.5, 25.3)
OTHER = entry("videovideoBBBBBBBBBBB-scene1-scene1", "BBBBBBBBBBB", 1, 4, person="12")


def annotate(tree: Tree, *entries: Any, name: str = "filtered_video_clips.json") -> Path:
    return tree.put(name, json.dumps(entries, indent=4))


def test_clips_as_the_script_downloads_them(tree: Tree) -> None:
    annotate(tree, FIRST, SECOND, OTHER, name="data/filtered_video_clips_with_captions.json")
    tree.touch(
        "clips/AAAAAAAA-_A/AAAAAAAA-_A_001_0.100_5.141.mp4",  # cut to milliseconds, not rounded
        "clips/AAAAAAAA-_A/AAAAAAAA-_A_001_0.100_5.141.m4a",
        "clips/AAAAAAAA-_A/AAAAAAAA-_A_NA_10.500_25.300.mp4",
        "clips/AAAAAAAA-_A/AAAAAAAA-_A.description",
        "clips/json_logs/AAAAAAAA-_A_10.500_25.300.json",
        "clips/AAAAAAAA-_A/AAAAAAAA-_A_003_99.000_101.000.mp4",
    )
    listing = read_corpus("talkvid", tree.root)
    found = facts(listing)
    first = found["clips/AAAAAAAA-_A/AAAAAAAA-_A_001_0.100_5.141.mp4"]
    assert (first.identity, first.language, first.split) == ("talkvid:597", "en", None)
    assert first.audio == "clips/AAAAAAAA-_A/AAAAAAAA-_A_001_0.100_5.141.m4a"
    assert first.origin
    assert (first.origin.start_s, first.origin.stop_s) == ("1/10", "5141666666666667/1000000000000000")
    assert (first.ranges, first.dataset, first.licence, first.commercial_ok) == (
        None,
        "talkvid",
        "CC BY-NC 4.0",
        False,
    )
    assert found["clips/AAAAAAAA-_A/AAAAAAAA-_A_NA_10.500_25.300.mp4"].audio is None
    assert len(found) == 2
    assert left_out(listing) == {
        "clips of the annotations that are not on disk": (1, "videovideoBBBBBBBBBBB-scene1-scene1"),
        "videos that no usable row of the annotations names": (
            1,
            "clips/AAAAAAAA-_A/AAAAAAAA-_A_003_99.000_101.000.mp4",
        ),
    }
    assert told(listing) == []


def test_clips_by_their_id_and_whole_videos(tree: Tree) -> None:
    boxed = entry("boxed-1", "CCCCCCCCCCC", 0, 3, bbox=[100, 50.5, 300, 250.5])
    annotate(
        tree,
        FIRST,
        boxed,
        entry("boxed-2", "CCCCCCCCCCC", 2, 6),
        entry("boxed-3", "CCCCCCCCCCC", 7, 8, person="1"),
    )
    tree.touch(f"videos/{FIRST['id']}.mp4", f"audios/{FIRST['id']}.m4a", "CCCCCCCCCCC.webm")
    listing = read_corpus("talkvid", tree.root)
    found = facts(listing)
    assert found[f"videos/{FIRST['id']}.mp4"].audio == f"audios/{FIRST['id']}.m4a"
    assert times(found["CCCCCCCCCCC.webm"]) == [("0", "3", ("100", "101/2", "200", "200", 1080))]
    assert left_out(listing) == {
        "clips of further people in a whole video, which stands for one person": (1, "boxed-3"),
        "clips that overlap an earlier one of the same whole video": (1, "boxed-2"),
    }


def test_clips_that_only_touch_are_both_kept(tree: Tree) -> None:
    annotate(tree, entry("b", "CCCCCCCCCCC", 3, 6), entry("a", "CCCCCCCCCCC", 0, 3))
    tree.touch("CCCCCCCCCCC.mp4")
    listing = read_corpus("talkvid", tree.root)
    assert times(facts(listing)["CCCCCCCCCCC.mp4"]) == [("0", "3", None), ("3", "6", None)]
    assert left_out(listing) == {}


def broken(**changes: Any) -> dict[str, Any]:
    return {k: v for k, v in (SECOND | changes).items() if v is not ...}


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        (broken(id=7), "id: must be a name of letters, digits, - and _, and is 7"),
        (broken(info=None), "info: must be an object, and is None"),
        (broken(info={"Video Link": "?"}), "info.Video Link: must be the address of a YouTube video, and is '?'"),
        (broken(info={"Video Link": "http://[x"}), "info.Video Link: must be the address of a YouTube video, and is "
         "'http://[x'"),
        (broken(info=SECOND["info"] | {"Person ID": [1]}), "info.Person ID: must be a text, and is [1]"),
        (broken(info=SECOND["info"] | {"Language": 3}), "info.Language: must be a text, and is 3"),
        (broken(**{"start-time": ...}), "start-time: is missing"),
        (broken(**{"start-time": "soon"}), "start-time: must be seconds, at least 0, and is 'soon'"),
        (broken(**{"end-time": 10.5}), "end-time: 10.5 is not after start-time 10.5"),
        (broken(bbox=[1, 2, 3]), "bbox: must be the corners x1, y1, x2, y2 in pixels, and is [1, 2, 3]"),
        (broken(bbox=[5, 2, 3, 9]), "bbox: must be the corners x1, y1, x2, y2 in pixels, and is [5, 2, 3, 9]"),
        ([SECOND], "row: must be an object {...}, and is [{'id': "),
    ],
)  # fmt: skip
def test_a_malformed_entry_is_quarantined_alone(bad: Any, problem: str, tree: Tree) -> None:
    file = annotate(tree, FIRST, bad, OTHER)
    tree.touch("videos/" + FIRST["id"] + ".mp4", "BBBBBBBBBBB.mp4", "AAAAAAAA-_A_001_10.500_25.300.mp4")
    listing = read_corpus("talkvid", tree.root)
    text = file.read_text(encoding="utf-8")
    line = 2 + len(json.dumps(FIRST, indent=4).splitlines())
    assert text.splitlines()[line - 1].strip() in ("{", "["), "the entry begins in this line"
    (said,) = told(listing)
    assert said.startswith(f"filtered_video_clips.json, line {line}, {problem}")
    assert set(facts(listing)) == {f"videos/{FIRST['id']}.mp4", "BBBBBBBBBBB.mp4"}


def test_an_entry_that_stands_there_again_is_told_and_counts_once(tree: Tree) -> None:
    annotate(tree, FIRST, OTHER, FIRST)
    tree.touch("videos/" + FIRST["id"] + ".mp4", "BBBBBBBBBBB.mp4")
    listing = read_corpus("talkvid", tree.root)
    line = 2 + sum(len(json.dumps(entry, indent=4).splitlines()) for entry in (FIRST, OTHER))
    assert told(listing) == []
    assert len(facts(listing)) == 2
    words = f"filtered_video_clips.json, line 2: '{FIRST['id']}' has the same entry again in line {line}"
    assert words in listing.warnings


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("change", [{"end-time": 19.0}, {"info": FIRST["info"] | {"Person ID": "999"}}])
def test_entries_that_contradict_each_other_leave_out_their_clip(
    change: dict[str, Any], whole: bool, tree: Tree
) -> None:
    annotate(tree, FIRST, OTHER, FIRST | change)
    video = FIRST["info"]["Video Link"].rpartition("=")[2]
    file = f"{video}.mp4" if whole else f"videos/{FIRST['id']}.mp4"
    tree.touch(file, "BBBBBBBBBBB.mp4")
    listing = read_corpus("talkvid", tree.root)
    line = 2 + sum(len(json.dumps(entry, indent=4).splitlines()) for entry in (FIRST, OTHER))
    words = f"line {line}, id: the entry of '{FIRST['id']}' in line 2 says something else"
    assert told(listing) == [f"filtered_video_clips.json, {words}"]
    assert list(facts(listing)) == ["BBBBBBBBBBB.mp4"]
    assert {path.relative_to(tree.root).as_posix(): why.message for path, why in listing.omitted.items()} == {
        file: told(listing)[0]
    }


def test_an_entry_with_a_mistake_of_syntax_is_quarantined_alone(tree: Tree) -> None:
    file = annotate(tree, FIRST, SECOND, OTHER)
    file.write_text(file.read_text().replace('"start-time": 10.5,', '"start-time": 10.5.1,'))
    tree.touch("videos/" + FIRST["id"] + ".mp4", "BBBBBBBBBBB.mp4")
    listing = read_corpus("talkvid", tree.root)
    line = 2 + len(json.dumps(FIRST, indent=4).splitlines())
    assert told(listing) == [
        f"filtered_video_clips.json, line {line}, row: is no JSON (expecting ',' delimiter)"
    ]
    assert len(facts(listing)) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1, 2", r"ends in the middle of its list"),
        ('[{"id": 1,, "x": {', r"line 1: an object begins here that never ends"),
        ("nothing", r"line 1: is no list of JSON objects"),
        ("[{}\n, x]", r"line 2: is no list of JSON objects"),
    ],
)
def test_a_file_that_is_broken_off_is_refused(text: str, message: str, tree: Tree) -> None:
    tree.put("filtered_video_clips.json", text)
    tree.touch("a.mp4")
    with pytest.raises(BadInputError, match=rf"filtered_video_clips\.json.*{message}"):
        read_corpus("talkvid", tree.root)


@pytest.mark.parametrize("chunk", [1, 7, 4096])
def test_a_file_is_read_in_parts_that_may_end_anywhere(
    chunk: int, tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "CHUNK", chunk)
    file = tree.put("x.json", ' [\n{"a": "}{[,\\" ü"},\n\n 123 , {"b": 1.2.3},\n{"b": [{"c": 12345}]}\n]\n')
    problems = rows.Problems(tree.root)
    assert list(rows.json_rows(file, problems)) == [(2, {"a": '}{[," ü'}), (5, {"b": [{"c": 12345}]})]
    assert list(map(str, problems.found)) == [
        "x.json, line 4, row: must be an object {...}, and is 123",
        "x.json, line 4, row: is no JSON (expecting ',' delimiter)",
    ]
    file.write_text('{"a": 1}\n{"a": 2}\n')
    assert list(rows.json_rows(file, problems)) == [(1, {"a": 1}), (2, {"a": 2})]


def test_text_that_no_table_takes_is_quarantined(tree: Tree) -> None:
    annotate(tree, FIRST, entry("half", "BBBBBBBBBBB", 1, 2, description="\ud800"))
    tree.touch(f"videos/{FIRST['id']}.mp4", "BBBBBBBBBBB.mp4")
    listing = read_corpus("talkvid", tree.root)
    assert [problem.message for problem in listing.problems] == [
        "holds half a character (a surrogate without its partner)"
    ]
    file = tree.root / "filtered_video_clips.json"
    file.write_bytes(b'[{"id": "\xff"}]')
    with pytest.raises(BadInputError, match=r"filtered_video_clips\.json is not UTF-8 text"):
        read_corpus("talkvid", tree.root)


def test_a_missing_file_is_refused(tree: Tree) -> None:
    tree.touch("a.mp4")
    with pytest.raises(BadInputError, match=r"the JSON file of its clips is missing; TalkVid needs"):
        read_corpus("talkvid", tree.root)


def test_the_official_list_holds_out_clips_and_their_people(tree: Tree, tmp_path: Path) -> None:
    annotate(tree, FIRST, SECOND, OTHER)
    tree.touch(f"videos/{FIRST['id']}.mp4", f"videos/{SECOND['id']}.mp4", "BBBBBBBBBBB.mp4")
    names = tmp_path / "thirty.txt"
    names.write_text(f"{SECOND['id']}\n")
    found = facts(read_corpus("talkvid", tree.root, names))
    assert {name: known.split for name, known in found.items()} == {
        f"videos/{SECOND['id']}.mp4": "test",
        "BBBBBBBBBBB.mp4": None,
    }
