"""Under which keys the steps of curation keep their results, and what the keys depend on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lipforcing_core.base.products import StepResult
from lipforcing_core.curation import steps
from lipforcing_core.curation.records import SourceFacts
from lipforcing_core.curation.settings import CurationSettings
from lipforcing_core.curation.wanted import Wanted

from .test_steps import READING, SHA256, Scripted, cut_face


class Keys:
    """A store that does nothing and keeps the names and keys of the steps that it is asked for."""

    root = Path("root")

    def __init__(self, result: dict[str, Any]) -> None:
        self.asked: list[tuple[str, str]] = []
        self._result = result

    def run(self, step: str, key: str, work: object, *, resumable: bool = False) -> StepResult:
        self.asked.append((step, key))
        assert resumable == (step == "read"), "only the long step is resumed"
        return StepResult(folder=Path(step, key), result=self._result, reused=True)

    def folder(self, step: str, key: str) -> Path:
        return self.root / step / key


SYNC = {
    "offset_measured": 3,
    "offset_applied": 3,
    "offset_remaining": 0,
    "confidence": 4.5,
    "distance": 6.5,
    "confidence_before": 4.0,
    "backend": "b",
    "audio_sha256": "cd",
}
SPEECH = {
    "loudness_dbfs": -20.0,
    "speech_share": 0.9,
    "longest_silence_s": 0.0,
    "snr_db": None,
    "clipping_share": 0.0,
    "bandwidth_hz": None,
    "modulation_4hz": None,
    "silences": [],
    "backend": "b",
}
QUALITY = {"value": 1.0, "backend": "b", "higher_is_better": True}


def read_key(facts: SourceFacts | None = None, *, root: Path = Path(), **settings: Any) -> str:
    wanted = Wanted.of(facts or SourceFacts(), root)
    return steps.read_key(SHA256, wanted, CurationSettings(**settings), "lbp-v1")


def test_keys_of_finished_work_are_what_they_always_were() -> None:
    """A key that changes repeats the work of every corpus that was ever curated, so it changes only on purpose."""
    scorer = Scripted()
    store: Any = Keys(READING.to_json())
    file = cut_face(store).source.file
    found = steps.read_source(file, Wanted(), CurationSettings(), scorer, store)  # type: ignore[arg-type]
    assert store.asked == [("read", READ_KEY)]
    assert (found.key, found.folder) == (READ_KEY, Path("root/read", READ_KEY))
    face = cut_face(store)
    assert face.key == FACE_KEY
    keys = Keys(SYNC)
    sync = steps.synchronised(face, scorer, keys, correct=True)  # type: ignore[arg-type]
    steps.synchronised(face, scorer, keys, correct=False)  # type: ignore[arg-type]
    assert keys.asked == [("sync", SYNC_KEY), ("sync", SYNC_KEY_UNCORRECTED)]
    assert (sync.key, sync.folder, sync.result.confidence) == (SYNC_KEY, Path("sync", SYNC_KEY), 4.5)
    keys = Keys(QUALITY)
    steps.rated(face, scorer, keys)  # type: ignore[arg-type]
    assert keys.asked == [("quality", QUALITY_KEY)]
    heard: Any = Keys(SPEECH)
    face = cut_face(heard)
    assert steps.heard(face.source, face.piece, scorer).speech_share == 0.9  # type: ignore[arg-type]
    assert heard.asked == [("speech", SPEECH_KEY)]


READ_KEY = "3727cd9bace6f81b"
FACE_KEY = "9e8bb19c31080eb0"
SYNC_KEY = "a8f0763f1311da24"
SYNC_KEY_UNCORRECTED = "d245d0b67885316f"
SPEECH_KEY = "7cffe3c729436ea7"
QUALITY_KEY = "14514c038ebedc8d"


@pytest.mark.parametrize(
    "settings",
    [
        {"shot_threshold": 3.0},
        {"shot_min_content_change": 3.0},
        {"min_segment_s": 4.0},
        {"max_segment_s": 12.0},
        {"detect_stride": 3},
        {"max_gap_frames": 3},
        {"clip_crf": 3},
        {"max_hole_frames": 13},
        {"max_time_gap_s": 9.5},
    ],
)
def test_a_source_is_read_again_where_something_else_is_cut_out(settings: dict[str, Any]) -> None:
    assert read_key(**settings) != read_key()


def test_limits_of_gaps_that_are_named_as_they_are_by_default_change_nothing() -> None:
    assert read_key(max_hole_frames=12, max_time_gap_s=10) == read_key()
    others = [{"max_time_gap_s": 9.5}, {"max_time_gap_s": 9}, {"max_hole_frames": 9}, {"max_hole_frames": 10}]
    assert len({read_key(**settings) for settings in others} | {read_key()}) == 5


def test_the_content_and_the_detector_decide_about_the_reading() -> None:
    keys = {
        steps.read_key(sha256, Wanted(), CurationSettings(), detector)
        for sha256 in (SHA256, "cd" * 32)
        for detector in ("lbp-v1", "lbp-v2")
    }
    assert len(keys) == 4


@pytest.mark.parametrize(
    "settings",
    [
        {"silence_dbfs": -3.0},
        {"min_speech_share": 0.9},
        {"max_source_hours": 1.0},
        {"max_megapixels": 9.0},
        {"max_absent_frames": 3},
        {"min_detected_fraction": 0.9},
        {"min_face_height_px": 3.0},
        {"max_yaw_deg": 3.0},
        {"max_pitch_deg": 3.0},
        {"max_lips_outside": 0.9},
        {"min_mouth_likeness": 0.9},
        {"max_repeat_frames": 3},
        {"max_repeated_fraction": 0.9},
        {"sync_filter": False},
        {"sync_confidence_min": 9.0},
        {"max_abs_offset_frames": 3},
        {"quality_threshold": 3.0},
        {"val_fraction": 0.9},
    ],
)
def test_a_threshold_opens_no_video_again(settings: dict[str, Any]) -> None:
    assert read_key(**settings) == read_key()


def test_a_segment_of_the_same_frames_is_the_same_work() -> None:
    """5.01 s and 5 s are both 125 frames."""
    assert read_key(min_segment_s=5.01) == read_key()


def test_what_a_corpus_says_of_times_and_picture_decides_and_what_it_says_of_people_does_not() -> None:
    about = SourceFacts(identity="anna", licence="CC0-1.0", language="en", dataset="mine", split="test")
    assert read_key(about) == read_key()
    told = [
        SourceFacts(ranges="0-9"),  # type: ignore[arg-type]
        SourceFacts(ranges="0-9; 10-20"),  # type: ignore[arg-type]
        SourceFacts(crop="0 0 9 9"),  # type: ignore[arg-type]
        SourceFacts(crop="0 0 9 9 @100"),  # type: ignore[arg-type]
        SourceFacts(ranges="0-9", crop="0 0 9 9"),  # type: ignore[arg-type]
    ]
    keys = {read_key(facts) for facts in told}
    assert len(keys) == 5
    assert read_key() not in keys
    assert read_key(SourceFacts(ranges="0-9.0")) == read_key(told[0])  # type: ignore[arg-type]


def test_separate_sound_counts_by_its_content(tmp_path: Path) -> None:
    facts = SourceFacts(audio="sub/a.m4a")
    (tmp_path / "sub").mkdir()
    sound = tmp_path / "sub" / "a.m4a"
    sound.write_text("one")
    first = read_key(facts, root=tmp_path)
    sound.write_text("other")
    other = read_key(facts, root=tmp_path)
    sound.rename(tmp_path / "b.m4a")
    moved = read_key(SourceFacts(audio="b.m4a"), root=tmp_path)
    assert len({first, other, read_key()}) == 3
    assert moved == other


def test_faces_and_pieces_of_a_source_have_keys_of_their_own() -> None:
    store: Any = Keys({})
    face = cut_face(store)
    piece, track = face.piece, face.track
    others = [
        steps.CutFace(source=face.source, piece=piece.model_copy(update={"start": 21}), track=track),
        steps.CutFace(source=face.source, piece=piece.model_copy(update={"stop": 41}), track=track),
        steps.CutFace(source=face.source, piece=piece, track=track.model_copy(update={"number": 2})),
    ]
    assert len({face.key, *(other.key for other in others)}) == 4
