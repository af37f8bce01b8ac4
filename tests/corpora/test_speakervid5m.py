"""SpeakerVid-5M in its published format: the list of clips, and a JSON file for each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.corpora.catalogue import read_corpus

from .conftest import Tree
from .listing import facts, left_out, times, told

A, B = "AAAAAAAAAA-", "BBBB_BBBBBB"


def clip(video: str, **changes: Any) -> dict[str, Any]:
    entry = {
        "video_name": f"{video}_1920x1080_full_video",
        "start_seconds": 12.5,
        "end_seconds": 17.0,
        "duration": 4.5,
        "bbox": [0.25, 0.1, 0.5, 0.9],
        "raw_video_width": 1920,
        "raw_video_height": 1080,
        "is_talking": 1,
        "clip_speaker_num": 1,
    }
    return {key: value for key, value in (entry | changes).items() if value is not ...}


def annotate(
    tree: Tree, clips: dict[str, dict[str, Any]], base: str = "", folder: str = "merged_anno"
) -> None:
    videos: dict[str, list[str]] = {}
    for name, entry in clips.items():
        videos.setdefault(name[:11], []).append(f"{name}.json")
        tree.put(f"{base}{folder}/{name}.json", json.dumps(entry))
    tree.put(f"{base}all_data_list.json", json.dumps(videos))


def test_whole_videos_have_the_ranges_and_boxes_of_those_who_talk(tree: Tree) -> None:
    annotate(
        tree,
        {
            f"{A}_0_1": clip(A),
            f"{A}_0_2": clip(A, start_seconds=0, end_seconds=3, bbox=[]),
            f"{A}_1_1": clip(A, start_seconds=15, end_seconds=20),
            f"{A}_2_1": clip(A, is_talking=0, start_seconds=30, end_seconds=33),
            f"{B}_0_1": clip(B),
        },
        base="annotations/",
    )
    tree.touch(f"videos/{A}.mp4")
    tree.put("annotations/SFT_set.json", "[]")
    listing = read_corpus("speakervid5m", tree.root)
    known = facts(listing)[f"videos/{A}.mp4"]
    assert times(known) == [
        ("0", "3", None),
        ("25/2", "17", ("480", "108", "960", "972", 1080)),  # a quarter of 1920, a tenth of 1080, ...
    ]
    assert (known.identity, known.language, known.split) == (f"speakervid5m:{A}", None, None)
    assert (known.dataset, known.commercial_ok) == ("speakervid5m", False)
    assert left_out(listing) == {
        "clips of the annotations that are not on disk": (1, f"{B}_0_1"),
        "clips in which the person seen does not talk": (1, f"{A}_2_1"),
        "clips that overlap an earlier one of the same whole video": (1, f"{A}_1_1"),
    }
    assert (told(listing), listing.ignored, listing.warnings) == ([], (), ())


def test_cut_clips_and_the_earlier_names_of_folder_and_fields(tree: Tree) -> None:
    entry = clip(B, start_seconds=..., end_seconds=..., start=2, duration=1.5)
    annotate(tree, {f"{B}_0_1": entry}, folder="merge_anno")
    tree.touch(f"clips/{B}_0_1.mp4", f"clips/{B}_0_1.wav")
    known = facts(read_corpus("speakervid5m", tree.root))[f"clips/{B}_0_1.mp4"]
    assert (known.ranges, known.audio) == (None, f"clips/{B}_0_1.wav")
    assert known.origin
    assert (known.origin.start_s, known.origin.stop_s) == ("2", "7/2")
    assert known.origin.address == f"https://www.youtube.com/watch?v={B}"


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"start_seconds": "x"}, "start_seconds: must be a number, at least 0, and is 'x'"),
        ({"start_seconds": ..., "start": ...}, "start: is missing"),
        ({"end_seconds": 12.5}, "end_seconds: the clip ends at 12.5 s, not after its start at 12.5 s"),
        (
            {"end_seconds": ..., "duration": 0},
            "duration: the clip ends at 12.5 s, not after its start at 12.5 s",
        ),
        (
            {"bbox": [0.1, 0.2]},
            "bbox: must be x, y, width and height in shares of the picture, and is [0.1, 0.2]",
        ),
        (
            {"bbox": [0, 0, 0, 1]},
            "bbox: must be x, y, width and height in shares of the picture, and is [0, 0, 0, 1]",
        ),
        ({"raw_video_height": None}, "raw_video_height: must be a number of pixels, and is None"),
        ({"is_talking": "yes"}, "is_talking: must be 0 or 1, and is 'yes'"),
        ({"video_name": "other"}, f"video_name: must begin with the YouTube id {A}, and is 'other'"),
    ],
)
def test_a_malformed_clip_is_quarantined_alone(changes: dict[str, Any], problem: str, tree: Tree) -> None:
    annotate(tree, {f"{A}_0_1": clip(A, **changes), f"{A}_0_2": clip(A, start_seconds=1, end_seconds=2)})
    tree.touch(f"{A}.mp4")
    listing = read_corpus("speakervid5m", tree.root)
    assert told(listing) == [f"merged_anno/{A}_0_1.json, {problem}"]
    assert times(facts(listing)[f"{A}.mp4"])[0][:2] == ("1", "2")


def test_files_that_are_no_json_or_not_there_are_told(tree: Tree) -> None:
    annotate(tree, {f"{A}_0_1": clip(A), f"{A}_0_2": clip(A), f"{A}_0_3": clip(A)})
    tree.put(f"merged_anno/{A}_0_1.json", "{")
    (tree.root / f"merged_anno/{A}_0_2.json").unlink()
    tree.touch(f"{A}.mp4")
    first, second = told(read_corpus("speakervid5m", tree.root))
    assert first.startswith(f"merged_anno/{A}_0_1.json, file: ")
    assert "JSON" in first
    assert second == f"merged_anno/{A}_0_2.json, file: there is no such file"


@pytest.mark.parametrize(
    "shape", [[f"{A}_0_2.json"], {"pairs": [[f"{A}_0_2", "x"]]}, {f"{A}_0_2": {"id": 1}}]
)
def test_the_published_test_split_is_honoured(shape: Any, tree: Tree) -> None:
    clips = {f"{A}_0_1": clip(A), f"{A}_0_2": clip(A, start_seconds=1, end_seconds=2), f"{B}_0_1": clip(B)}
    annotate(tree, clips)
    tree.put("testset.json", json.dumps(shape))
    tree.touch(f"{A}.mp4", f"{B}.mp4")
    found = facts(read_corpus("speakervid5m", tree.root))
    assert {name: known.split for name, known in found.items()} == {f"{A}.mp4": "test", f"{B}.mp4": None}
    assert [known[:2] for known in times(found[f"{A}.mp4"])] == [("1", "2")]


def test_lists_that_cannot_be_used_are_refused(tree: Tree, tmp_path: Path) -> None:
    annotate(tree, {f"{A}_0_1": clip(A)})
    tree.touch(f"{A}.mp4")
    tree.put("testset.json", '["other"]')
    with pytest.raises(BadInputError, match=r"testset\.json: names no clip of all_data_list\.json"):
        read_corpus("speakervid5m", tree.root)
    tree.put("all_data_list.json", json.dumps({"k": 3, "l": ["short", f"{A}_0_1.json"]}))
    tree.put("testset.json", f'["{A}_0_1"]')
    assert told(read_corpus("speakervid5m", tree.root)) == [
        "all_data_list.json, k: must be a list of clips, and is 3",
        "all_data_list.json, l: 'short' is no name of a clip",
    ]


def test_missing_annotations_are_refused_with_the_layout(tree: Tree) -> None:
    tree.touch(f"{A}.mp4")
    with pytest.raises(BadInputError, match=r"all_data_list\.json is missing; SpeakerVid-5M needs"):
        read_corpus("speakervid5m", tree.root)
    tree.put("all_data_list.json", "{}")
    with pytest.raises(BadInputError, match=r"the folder merged_anno/ is missing; SpeakerVid-5M needs"):
        read_corpus("speakervid5m", tree.root)
