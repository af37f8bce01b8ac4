"""The silences of a clip, and what its notes say, against values computed by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from lipforcing_core.base.products import StepStore
from lipforcing_core.curation.hearing import delayed, wide_sound
from lipforcing_core.curation.manifest import read_manifest, write_manifest
from lipforcing_core.curation.records import Scores
from lipforcing_core.curation.results import SpeechResult
from lipforcing_core.curation.sound_words import as_column, from_column, silences_of_clip, sound_notes
from lipforcing_core.curation.source_rows import SOURCES, SourceRow, write_source_rows
from lipforcing_core.curation.steps import speech_key
from lipforcing_core.curation.stored_clips import StoredClips
from lipforcing_core.curation.stored_run import read_run
from lipforcing_core.curation.story_page import write_story_page
from lipforcing_core.curation.story_text import story_text
from lipforcing_core.media.segments import Segment
from tests.curation.runs import tell

from .readings import plain_reading
from .runs import SETTINGS, piece, record, sha, write_run
from .scripted import piece as cut_piece


def speech(*silences: tuple[int, int]) -> SpeechResult:
    return SpeechResult(
        loudness_dbfs=-20.0,
        speech_share=0.75,
        longest_silence_s=1.0,
        snr_db=None,
        clipping_share=0.0,
        bandwidth_hz=7000.0,
        modulation_4hz=None,
        silences=silences,
        backend="ear-1",
    )


def test_silences_are_seconds_of_the_clip() -> None:
    heard = speech((0, 640), (16_000, 24_512))
    assert silences_of_clip(heard, 50, 0) == ((0.0, 0.04), (1.0, 1.532))
    assert silences_of_clip(speech(), 50, 3) == ()


@pytest.mark.parametrize(("delay", "expected"), [(5, (1.2, 1.7)), (-5, (0.8, 1.3))])
def test_silences_move_with_the_sound_of_the_clip(delay: int, expected: tuple[float, float]) -> None:
    """The sound of the clip as it is written, of a source that is silent from 5 s to 5.5 s only."""
    sound_S = np.ones(10 * 16_000, dtype=np.float32)
    sound_S[5 * 16_000 : 5 * 16_000 + 8_000] = 0
    written_S = delayed(wide_sound(sound_S, Segment(100, 150)), 50, delay)
    ((start, end),) = silences_of_clip(speech((16_000, 24_000)), 50, delay)
    assert (start, end) == expected
    silent_S = np.flatnonzero(written_S == 0)
    assert (silent_S[0] / 16_000, (silent_S[-1] + 1) / 16_000) == (start, end)


def test_what_a_delay_moves_out_of_the_clip_is_cut_off() -> None:
    heard = speech((0, 6400), (24_000, 32_000))
    assert silences_of_clip(heard, 50, 5) == ((0.2, 0.6), (1.7, 2.0))
    assert silences_of_clip(heard, 50, -5) == ((0.0, 0.2), (1.3, 1.8))
    assert silences_of_clip(heard, 50, -10) == ((1.1, 1.6),)


def test_the_column_is_json() -> None:
    text = as_column(((0.0, 0.04), (1.0, 1.532)))
    assert json.loads(text) == [[0.0, 0.04], [1.0, 1.532]]
    assert from_column(text) == ((0.0, 0.04), (1.0, 1.532))
    assert (as_column(()), from_column("[]"), from_column(None)) == ("[]", (), None)


@pytest.mark.parametrize(
    ("scores", "words"),
    [
        ({}, []),
        ({"clipping_share": 0.0, "bandwidth_hz": 8000.0}, []),
        ({"clipping_share": 0.0001, "bandwidth_hz": 6300.0}, []),
        ({"clipping_share": 0.0042}, ["clipped: 0.42 % of the samples are cut off at full scale"]),
        ({"bandwidth_hz": 4125.0}, ["nothing above 4.1 kHz", "8 kHz, as a telephone has it"]),
        ({"bandwidth_hz": 5437.5}, ["nothing above 5.4 kHz", "stored at 11 kHz"]),
        ({"clipping_share": 0.02, "bandwidth_hz": 4000.0}, ["clipped: 2 %", "narrow"]),
    ],
)
def test_notes_say_what_is_beyond_the_constants(scores: dict[str, float], words: list[str]) -> None:
    text = "; ".join(sound_notes(Scores(**scores)))  # type: ignore[arg-type]
    assert all(word in text for word in words)
    assert bool(text) == bool(words)


def test_both_columns_survive_the_manifest(tmp_path: Path) -> None:
    rows = [
        record(piece("a.mp4", 1), 1).model_copy(update={"silences": "[[0.5, 1.25]]", "sound_notes": "narrow"})
    ]
    write_manifest(tmp_path / "m.parquet", rows)
    assert read_manifest(tmp_path / "m.parquet") == rows


def test_the_story_tells_silences_and_notes_of_accepted_and_rejected_pieces(tmp_path: Path) -> None:
    """The rejected piece has them from the step store, where older runs have them too."""
    kept = piece("a.mp4", 1, activity_backend="ear-1", bandwidth_hz=4125.0)
    lost = piece(
        "a.mp4", 1, 125, 250, activity_backend="ear-1", reason="quality_low", measured=90.0, threshold=85.0
    )
    folder, store = tmp_path / "run", StepStore(tmp_path / "steps")
    write_run(folder, [kept, lost], settings=SETTINGS)
    text = story_text(tell(read_run(folder), store, "a.mp4"))
    assert text.count("  silences    not recorded") == 2, "nothing is stored yet"

    pieces = (cut_piece(0, 125), cut_piece(125, 250))
    store.run("read", "5e", lambda _: plain_reading(250, pieces=pieces).to_json())
    heard = speech((0, 8_000), (24_000, 40_000))
    store.run("speech", speech_key("5e", pieces[1], "ear-1"), lambda _: heard.to_json())
    clip = record(kept, 1).model_copy(update={"silences": "[[0.5, 1.25], [2.0, 2.5]]"})
    write_manifest(folder / "manifest.parquet", [clip])
    row = SourceRow(
        source="a.mp4", source_id=sha(1)[:16], sha256=sha(1), status="accepted", frames_in=250,
        frames_trimmed=0, decoder_message="", reading="5e",
    )  # fmt: skip
    write_source_rows(folder / SOURCES, [row])
    story = tell(read_run(folder), store, "a.mp4")
    text = story_text(story)
    first, second = text.split("\npiece 2")
    assert "  silences    0.50-1.25, 2.00-2.50 s of the piece; 1.25 s in all" in first
    assert "  sound       narrow: nothing above 4.1 kHz, like sound stored at 8 kHz" in first
    # The sound of the rejected piece was delayed by 3 frames, 0.12 s.
    assert "  silences    0.12-0.62, 1.62-2.62 s of the piece; 1.50 s in all" in second
    assert "narrow" not in second
    write_story_page(tmp_path / "page.html", story, pictures=lambda path, frames: [])
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<dt>silences</dt><dd>0.12-0.62, 1.62-2.62 s of the piece; 1.50 s in all</dd>" in page
    assert "<dt>sound</dt><dd>narrow: nothing above 4.1 kHz" in page


def test_a_result_of_another_version_is_not_recorded(tmp_path: Path) -> None:
    store = StepStore(tmp_path)
    cut = cut_piece(0, 125)
    store.run("read", "5e", lambda _: plain_reading(125, pieces=(cut,)).to_json())
    store.run("speech", speech_key("5e", cut, "ear-1"), lambda _: {"share": 1})
    row = SourceRow(
        source="a.mp4", source_id="01", sha256="01", status="accepted", frames_in=125, frames_trimmed=0,
        decoder_message="", reading="5e",
    )  # fmt: skip
    assert StoredClips(tmp_path, store, [row]).speech(piece("a.mp4", 1, activity_backend="ear-1")) is None
