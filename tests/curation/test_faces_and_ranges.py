"""A whole source, made by hand, through ``curate_source``: which face is taken, what a corpus wants, where sound ends.

Nothing is decoded or encoded here: the pictures are handed over as frames, and the experts know every face by its
number.
"""

from __future__ import annotations

import contextlib
import math
import shutil
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lipforcing_core.base.products import StepStore
from lipforcing_core.curation import backends, crops, steps
from lipforcing_core.curation.backends import CurationBackends
from lipforcing_core.curation.pipeline import curate_source, redecide_source
from lipforcing_core.curation.reading import OverLimitsError, require_within_limits
from lipforcing_core.curation.reasons import RejectReason
from lipforcing_core.curation.records import SourceFacts, SourceOutcome, Status
from lipforcing_core.curation.results import Finished, Undecodable
from lipforcing_core.curation.settings import CurationSettings
from lipforcing_core.curation.sources import identify_source
from lipforcing_core.faces.detectors.protocol import Face, FaceFilter
from lipforcing_core.media.timeline import GapLimits
from lipforcing_core.quality.protocol import QualityScore
from lipforcing_core.sync.offset import SyncScore

from .conftest import EverySoundSpeaks
from .played import NoEncoder, Played, Sees, everywhere, picture, ramp, sound_track

SETTINGS = CurationSettings(
    min_segment_s=0.8, max_segment_s=1.6, min_face_height_px=10, quality_threshold=100
)
"""Pieces of 20 to 40 frames."""

LEFT, RIGHT = (4.0, 16.0, 40.0, 58.0), (52.0, 16.0, 88.0, 58.0)
SMALL = (70.0, 70.0, 86.0, 90.0)

Curate = Callable[..., SourceOutcome]


class Expert:
    """Knows how well the lips of each face, told apart by its number, go with the sound."""

    backend_id = "expert-v1"

    def __init__(self, confidences: dict[int, float]) -> None:
        self._confidences = confidences
        self.asked: list[int] = []

    def score(self, frames: np.ndarray, waveform: np.ndarray) -> SyncScore:
        number = int(frames[0])
        self.asked.append(number)
        return SyncScore(
            confidence=self._confidences.get(number, 5.0),
            distance=7.0,
            offset_frames=0,
            num_windows=1,
            backend=self.backend_id,
            distances=(),
        )


class Quality:
    backend_id = "quality-v1"

    def score(self, frames: np.ndarray) -> QualityScore:
        return QualityScore(value=30.0, backend=self.backend_id, higher_is_better=False)


def _not_recognised(face: steps.CutFace, store: StepStore) -> Finished[Any]:
    return Finished(key="f1" * 8, folder=store.root / "fingerprint" / "f1", result=None)


@pytest.fixture
def curate(tmp_path: Path, store: StepStore, monkeypatch: pytest.MonkeyPatch) -> Curate:
    monkeypatch.setattr(crops, "VideoWriter", NoEncoder)
    monkeypatch.setattr(steps, "small_frames", lambda path, size: np.full(1000, int(path.stem)))
    monkeypatch.setattr(steps, "fingerprinted", _not_recognised)
    video = tmp_path / "a.mp4"
    video.touch()

    def run(
        source: Played,
        faces: Any = everywhere,
        *,
        confidences: dict[int, float] | None = None,
        facts: dict[str, Any] | None = None,
        **changes: Any,
    ) -> SourceOutcome:
        given = []

        def opened(path: Path, *, sound_path: Path | None, gaps: GapLimits) -> Any:
            given.append((path, sound_path))
            assert gaps == SETTINGS.model_copy(update=changes).gaps
            return contextlib.nullcontext(source)

        monkeypatch.setattr(steps, "SourceStream", opened)
        expert: Any = Expert(confidences or {})
        models = CurationBackends(
            detector=Sees(faces), sync_expert=expert, quality=Quality(), activity=EverySoundSpeaks()
        )  # type: ignore[arg-type]
        outcome = curate_source(
            video,
            settings=SETTINGS.model_copy(update=changes),
            backends=models,
            store=store,
            root=tmp_path,
            facts=SourceFacts.model_validate(facts or {}),
        )
        audio = (facts or {}).get("audio")
        assert given in ([], [(video, tmp_path / audio if audio else None)])
        return outcome

    return run


def rows(outcome: SourceOutcome) -> list[tuple[int, int, str]]:
    return [(d.start_frame, d.stop_frame, (d.reason or d.status).value) for d in outcome.decisions]


def box_of(outcome: SourceOutcome) -> list[float]:
    (clip,) = outcome.clips
    assert clip.record.face_box is not None
    return [float(edge) for edge in clip.record.face_box.split(",")]


def test_of_two_faces_the_one_that_speaks_is_taken_and_named(curate: Curate) -> None:
    def two(_: int) -> list[Any]:
        return [LEFT, RIGHT]

    first = curate(Played(30), two, confidences={0: 6.0, 1: 4.0})
    (clip,) = first.clips
    assert (clip.record.face_track, clip.record.scores.num_faces) == (0, 2)
    assert box_of(first) == pytest.approx(LEFT, abs=0.5)
    off = curate(Played(30), two, sync_filter=False)
    assert rows(off) == [(0, 30, "several_faces")]
    assert (off.decisions[0].measured, off.decisions[0].threshold) == (2, 1)


def test_the_speaker_may_be_the_second(curate: Curate) -> None:
    outcome = curate(Played(30), lambda _: [LEFT, RIGHT], confidences={0: 4.0, 1: 6.0})
    assert box_of(outcome) == pytest.approx(RIGHT, abs=0.5)
    assert outcome.clips[0].record.scores.sync_confidence == 6.0


def test_a_small_face_in_the_background_is_nobody(curate: Curate) -> None:
    outcome = curate(Played(30), lambda _: [LEFT, SMALL], confidences={0: 4.0, 1: 9.0}, sync_filter=False)
    assert box_of(outcome) == pytest.approx(LEFT, abs=0.5)
    assert outcome.clips[0].record.scores.num_faces == 1


def test_a_small_face_is_refused_for_its_size(curate: Curate) -> None:
    """What the filter of the detector leaves to ``min_face_height_px``: a face 42 pixels high."""
    found = [Face(box_xyxy=LEFT, score=1.0), Face(box_xyxy=SMALL, score=1.0)]
    assert FaceFilter().usable(found) == []
    given: list[FaceFilter] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backends, "load_detector", lambda *_, face_filter: given.append(face_filter))
        backends.curation_detector(SETTINGS)
    (rule,) = given
    (decision,) = curate(Played(30), lambda _: rule.usable(found), min_face_height_px=64).decisions
    assert decision.reason is RejectReason.FACE_TOO_SMALL
    assert (decision.measured, decision.threshold) == (pytest.approx(42.0), 64.0)
    assert decision.scores.num_faces == 1, "the other has less than half its height"


def test_every_piece_chooses_for_itself(curate: Curate) -> None:
    """The second face comes when the first has gone: a shot of two pieces with a speaker each."""

    def turns(index: int) -> list[Any]:
        return [LEFT] if index < 40 else [RIGHT]

    outcome = curate(Played(80), turns, max_gap_frames=5)
    assert rows(outcome) == [(0, 40, "accepted"), (40, 80, "accepted")]
    boxes = [[float(e) for e in (clip.record.face_box or "").split(",")] for clip in outcome.clips]
    assert boxes[0] == pytest.approx(LEFT, abs=0.5)
    assert boxes[1] == pytest.approx(RIGHT, abs=0.5)


def profile(_: int) -> list[Face]:
    """A head turned by 60 degrees, with eyes 20 pixels apart where it is frontal."""
    half, aside = 10 * math.cos(math.radians(60)), 12 * math.sin(math.radians(60))
    points = [[48 - half, 40], [48 + half, 40], [48 + aside, 50], [48 - half, 60], [48 + half, 60]]
    return [Face(box_xyxy=(20.0, 16.0, 76.0, 80.0), score=1.0, points=np.array(points))]


def test_a_head_that_is_turned_away(curate: Curate) -> None:
    outcome = curate(Played(30), profile)
    (decision,) = outcome.decisions
    assert rows(outcome) == [(0, 30, "turned_away")]
    assert (decision.measured, decision.threshold) == (pytest.approx(60.0), 50.0)
    assert rows(curate(Played(30), profile, max_yaw_deg=61.0)) == [(0, 30, "accepted")]


def looking(nod_deg: float) -> list[Face]:
    """A head that looks down by so much, with eyes 20 pixels apart."""
    nod = math.radians(nod_deg)
    nose = 40 + 20 * (0.57 * math.cos(nod) + 0.6 * math.sin(nod))
    mouth = 40 + 20 * (1.15 * math.cos(nod) + 0.12 * math.sin(nod))
    points = [[38, 40], [58, 40], [48, nose], [40, mouth], [56, mouth]]
    return [Face(box_xyxy=(20.0, 16.0, 76.0, 80.0), score=1.0, points=np.array(points, dtype=float))]


@pytest.mark.parametrize("nod_deg", [45.0, -42.0])
def test_a_head_that_looks_far_down_or_up(nod_deg: float, curate: Curate) -> None:
    outcome = curate(Played(30), lambda _: looking(nod_deg))
    (decision,) = outcome.decisions
    assert rows(outcome) == [(0, 30, "turned_up_or_down")]
    assert (decision.measured, decision.threshold) == (pytest.approx(nod_deg), 40.0)
    assert rows(curate(Played(30), lambda _: looking(nod_deg), max_pitch_deg=46.0)) == [(0, 30, "accepted")]
    again = {"detect_stride": 4}
    assert rows(curate(Played(30), lambda _: looking(nod_deg / 2), **again)) == [(0, 30, "accepted")]


def test_a_mouth_under_a_bar_is_beyond_the_border_of_the_picture(curate: Curate) -> None:
    """The frame ends below the face; a black bar covers it from the upper lip down."""

    def letterboxed(index: int) -> np.ndarray:
        frame = picture(index)
        frame[56:] = 0
        return frame

    outcome = curate(Played(30, make=letterboxed))
    (decision,) = outcome.decisions
    assert rows(outcome) == [(0, 30, "lips_cut_off")]
    assert decision.measured is not None
    assert 0.5 < decision.measured <= 1
    assert rows(curate(Played(30), detect_stride=4)) == [(0, 30, "accepted")]


def test_lips_beyond_the_border(curate: Curate) -> None:
    low = (20.0, 45.0, 76.0, 109.0)
    outcome = curate(Played(30), lambda _: [low])
    (decision,) = outcome.decisions
    assert rows(outcome) == [(0, 30, "lips_cut_off")]
    assert decision.measured == decision.scores.lips_outside
    assert decision.threshold == 0.1
    assert decision.measured is not None
    assert 0.1 < decision.measured < 1
    assert rows(curate(Played(30), lambda _: [low], max_lips_outside=1.0)) == [(0, 30, "accepted")]


@pytest.mark.parametrize(
    ("invented", "reason", "measured", "threshold"),
    [
        (range(10, 23), "frozen_picture", 13, 12),
        (range(10, 22), "repeated_frames", 12 / 39, 0.3),
        (range(1, 39, 3), "repeated_frames", 13 / 39, 0.3),
        (range(2, 39, 4), "accepted", None, None),
        (range(10, 21), "accepted", None, None),
    ],
)
def test_pictures_that_repeat(
    invented: range, reason: str, measured: float | None, threshold: float | None, curate: Curate
) -> None:
    """Of 39 frames those repeat the one before."""
    outcome = curate(Played(39, invented=invented))
    (decision,) = outcome.decisions
    assert rows(outcome) == [(0, 39, reason)]
    assert decision.measured == (None if measured is None else pytest.approx(measured))
    assert decision.threshold == threshold
    assert decision.scores.invented_frames == len(invented)


def test_what_a_corpus_does_not_want_has_rows_of_its_own(curate: Curate) -> None:
    outcome = curate(Played(100), facts={"ranges": "0.4-1.6; 2-2.4; 2.4-3.6", "identity": "anna"})
    assert rows(outcome) == [
        (0, 10, "outside_ranges"),
        (10, 40, "accepted"),
        (40, 50, "outside_ranges"),
        (50, 60, "too_short"),
        (60, 90, "accepted"),
        (90, 100, "outside_ranges"),
    ]
    assert (outcome.frames_in, outcome.frames_trimmed) == (100, 0)
    outside = outcome.decisions[0]
    assert (outside.measured, outside.threshold, outside.status) == (None, None, Status.REJECTED)
    assert [clip.record.identity for clip in outcome.clips] == ["anna", "anna"]
    assert [clip.record.shot for clip in outcome.clips] == [0, 2]


def test_ranges_beyond_the_end_leave_nothing_in(curate: Curate) -> None:
    outcome = curate(Played(30), facts={"ranges": "5-9"})
    assert rows(outcome) == [(0, 30, "outside_ranges")]
    assert outcome.status is Status.REJECTED


def test_other_ranges_are_other_work(curate: Curate) -> None:
    first = curate(Played(60), facts={"ranges": "0-1"})
    other = curate(Played(60), facts={"ranges": "1-2.4"})
    assert (rows(first)[0], rows(other)[-1]) == ((0, 25, "accepted"), (25, 60, "accepted"))
    assert first.clips[0].record.clip_id != other.clips[0].record.clip_id


def test_a_crop_that_is_not_in_the_picture_costs_this_source_and_no_other(curate: Curate) -> None:
    outcome = curate(Played(30), facts={"crop": "200 0 10 10"})
    (decision,) = outcome.quarantine
    assert decision.reason is not None
    assert decision.reason.value == "unreadable"
    assert decision.message == "the crop lies outside the picture of 96 x 96 pixels"
    assert curate(Played(30), facts={"crop": "200 0 10 10"}) == outcome
    assert rows(curate(Played(30), facts={"crop": "0 0 90 90"})) == [(0, 30, "accepted")]


@pytest.mark.parametrize(
    ("sounding", "trimmed", "expected"),
    [
        (39, 0, [(0, 39, "accepted")]),
        (50, 0, [(0, 39, "accepted")]),
        (34, 5, [(0, 34, "accepted")]),
        (33, 0, [(0, 33, "accepted"), (33, 39, "audio_missing")]),
        (10, 0, [(0, 10, "too_short"), (10, 39, "audio_missing")]),
    ],
)
def test_the_picture_goes_on_after_the_sound(
    sounding: int, trimmed: int, expected: list[tuple[int, int, str]], curate: Curate
) -> None:
    outcome = curate(Played(39, sounding=sounding))
    assert rows(outcome) == expected
    assert (outcome.frames_in, outcome.frames_trimmed) == (39, trimmed)


@pytest.mark.parametrize(
    ("sounding", "trimmed", "missing"), [(37, 0, []), (35, 1, []), (30, 0, [(30, 36, "audio_missing")])]
)
def test_sound_that_ends_within_a_range_at_the_end(
    sounding: int, trimmed: int, missing: list[tuple[int, int, str]], curate: Curate
) -> None:
    """The corpus wants 36 of 38 frames, and the end of the sound is known when that range ends."""
    outcome = curate(Played(38, sounding=sounding), facts={"ranges": "0-36/25"})
    accepted = (0, min(sounding, 36), "accepted")
    assert rows(outcome) == [accepted, *missing, (36, 38, "outside_ranges")]
    assert outcome.frames_trimmed == trimmed


def test_a_shot_in_the_middle_whose_sound_ends_is_missing_it_as_a_whole(curate: Curate) -> None:
    outcome = curate(Played(60, sounding=20, breaks=[30]))
    assert rows(outcome) == [(0, 30, "audio_missing"), (30, 60, "audio_missing")]
    assert outcome.decisions[0].measured == 0.8


def test_a_source_without_sound_has_one_row(curate: Curate) -> None:
    assert rows(curate(Played(30, tracks=[]))) == [(0, 30, "no_audio")]


def test_silence_is_said_before_anything_about_faces(curate: Curate) -> None:
    silence = [sound_track(ramp(0, 30) * 0)]
    assert rows(curate(Played(30, tracks=silence), lambda _: [])) == [(0, 30, "silent_audio")]


def test_sound_may_lie_in_a_file_of_its_own(curate: Curate, tmp_path: Path) -> None:
    (tmp_path / "a.m4a").write_text("sound")
    assert rows(curate(Played(30), facts={"audio": "a.m4a"})) == [(0, 30, "accepted")]


def test_separate_sound_that_is_gone_is_told(curate: Curate) -> None:
    outcome = curate(Played(30), facts={"audio": "gone.m4a"})
    (decision,) = outcome.decisions
    assert decision.status is Status.QUARANTINED
    assert "gone.m4a" in decision.message
    assert not outcome.is_final


@pytest.mark.parametrize("word", ["no", "False", "0", "none", "denied", "refused", "Revoked ", "withdrawn"])
def test_a_source_whose_consent_is_denied_is_not_decoded(word: str, curate: Curate, store: StepStore) -> None:
    outcome = curate(Played(31), facts={"consent": word})
    (decision,) = outcome.decisions
    assert (rows(outcome), decision.status) == ([(0, 0, "consent_denied")], "rejected")
    assert decision.message == f"consent: {word}"
    assert not list(store.root.rglob("result.json"))
    assert rows(curate(Played(31), facts={"consent": "not asked"})) == [(0, 31, "accepted")]


@pytest.mark.parametrize(
    ("changes", "measured", "limit"),
    [
        ({"max_source_hours": 1.2 / 3600}, 1.24 / 3600, 1.2 / 3600),
        ({"max_megapixels": 0.009}, 0.009216, 0.009),
    ],
)
def test_a_source_over_the_limits_is_not_read(
    changes: dict[str, float], measured: float, limit: float, curate: Curate, store: StepStore
) -> None:
    """It lasts 31 frames and has 96 x 96 pixels; another limit decides anew, since nothing is stored."""
    outcome = curate(Played(31), **changes)
    (decision,) = outcome.decisions
    assert rows(outcome) == [(0, 0, "over_limits")]
    assert (decision.measured, decision.threshold) == (pytest.approx(measured), limit)
    assert not list(store.root.rglob("result.json"))
    assert rows(curate(Played(31))) == [(0, 31, "accepted")]


@pytest.mark.parametrize(
    ("changes", "measured"),
    [
        ({"max_source_hours": 1.2 / 3600}, 1.24 / 3600),
        ({"max_source_hours": 1.24 / 3600}, None),
        ({"max_megapixels": 0.009}, 0.009216),
        ({"max_megapixels": 0.009216}, None),
    ],
)
def test_a_limit_that_was_lowered_since_holds_for_what_was_read_before(
    changes: dict[str, float], measured: float | None, curate: Curate
) -> None:
    """The rows do not depend on what was curated earlier in the same workspace."""
    assert rows(curate(Played(31))) == [(0, 31, "accepted")]
    nothing: Any = None
    again = curate(nothing, nothing, **changes)
    if measured is None:
        assert rows(again) == [(0, 31, "accepted")]
    else:
        assert rows(again) == [(0, 0, "over_limits")]
        assert again.decisions[0].measured == pytest.approx(measured)


def test_a_declared_length_over_the_limit_counts_in_what_was_read_before(curate: Curate) -> None:
    assert rows(curate(Played(31, declared_s=Fraction(9)))) == [(0, 31, "accepted")]
    nothing: Any = None
    again = curate(nothing, nothing, max_source_hours=8 / 3600)
    assert (rows(again), again.decisions[0].measured) == ([(0, 0, "over_limits")], pytest.approx(9 / 3600))


def test_a_length_that_a_header_hides_is_limited_all_the_same(curate: Curate) -> None:
    outcome = curate(Played(31, declared_s=Fraction(0)), max_source_hours=1.2 / 3600)
    assert rows(outcome) == [(0, 0, "over_limits")]


@pytest.mark.parametrize(
    ("declared_s", "changes", "measured", "words"),
    [
        (Fraction(31, 25), {"max_source_hours": 1.2 / 3600}, 1.24 / 3600, "hours"),
        (Fraction(0), {"max_source_hours": 1.2 / 3600}, 1.2 / 3600, "hours"),
        (Fraction(0), {"max_megapixels": 0.009}, 0.009216, "megapixels"),
    ],
)
def test_a_limit_that_was_lowered_counts_for_what_is_stored(
    declared_s: Fraction,
    changes: dict[str, float],
    measured: float,
    words: str,
    curate: Curate,
    store: StepStore,
) -> None:
    """The stored reading decides, with the words and the numbers of a source that is read anew."""
    nothing: Any = None
    played = Played(31, declared_s=declared_s)
    assert rows(curate(played)) == [(0, 31, "accepted")]
    lowered = curate(nothing, nothing, **changes)
    assert rows(lowered) == [(0, 0, "over_limits")]
    assert lowered.decisions[0].measured == pytest.approx(measured)
    assert words in lowered.decisions[0].message
    assert rows(curate(nothing, nothing)) == [(0, 31, "accepted")], "the limit is raised again"
    shutil.rmtree(store.root)
    assert curate(Played(31, declared_s=declared_s), **changes) == lowered


def test_a_limit_lets_what_lies_at_it_pass_in_what_is_stored(curate: Curate) -> None:
    nothing: Any = None
    curate(Played(31, declared_s=Fraction(0)))
    at_it = {"max_source_hours": 31 / 25 / 3600, "max_megapixels": 0.009216}
    assert rows(curate(nothing, nothing, **at_it)) == [(0, 31, "accepted")]


def test_the_largest_picture_counts_in_what_is_stored(curate: Curate) -> None:
    """The pictures grow from 96 to 112 columns; the first one alone is within the limit."""
    nothing: Any = None
    grows = Played(31, make=lambda index: picture(index, width=96 if index < 20 else 112))
    curate(grows)
    assert rows(curate(nothing, nothing, max_megapixels=0.0107)) == [(0, 0, "over_limits")]
    outcome = curate(nothing, nothing, max_megapixels=0.010752)
    assert rows(outcome) != [(0, 0, "over_limits")]


def test_a_broken_source_that_declares_too_much_is_over_the_limits_too() -> None:
    broken = Undecodable(problem="is damaged", decoder_message="", declared_s=Fraction(7200))
    require_within_limits(broken, SETTINGS)
    require_within_limits(broken.model_copy(update={"declared_s": None}), SETTINGS)
    with pytest.raises(OverLimitsError, match=r"2 hours, and the limit is 1\.5"):
        require_within_limits(broken, SETTINGS.model_copy(update={"max_source_hours": 1.5}))


def test_thresholds_decide_anew_without_a_look_at_the_source(curate: Curate) -> None:
    first = curate(Played(30), lambda _: [LEFT, RIGHT], confidences={0: 4.0, 1: 6.0})
    nothing: Any = None
    again = curate(nothing, nothing, sync_confidence_min=6.5)
    assert rows(first) == [(0, 30, "accepted")]
    assert rows(again) == [(0, 30, "sync_confidence_low")]
    assert again.decisions[0].scores == first.decisions[0].scores


def test_what_is_stored_decides_without_the_file(curate: Curate, store: StepStore, tmp_path: Path) -> None:
    first = curate(Played(30))
    file = identify_source(tmp_path / "a.mp4", tmp_path)
    (tmp_path / "a.mp4").unlink()

    def decided(facts: SourceFacts | None = None, **changes: Any) -> SourceOutcome | None:
        backends: Any = CurationBackends(
            detector=Sees(everywhere),
            sync_expert=Expert({}),  # type: ignore[arg-type]
            quality=Quality(),
            activity=EverySoundSpeaks(),
        )
        settings = SETTINGS.model_copy(update=changes)
        known = SourceFacts() if facts is None else facts
        return redecide_source(
            file, settings=settings, backends=backends, store=store, root=tmp_path, facts=known
        )

    assert decided() == first
    strict = decided(sync_confidence_min=5.5)
    assert strict is not None
    assert rows(strict) == [(0, 30, "sync_confidence_low")]
    assert decided(detect_stride=3) is None, "something is to be measured"
    assert decided(SourceFacts(audio="gone.m4a")) is None, "the worker will tell what is wrong"
    spoken = decided(SourceFacts(identity="anna"))
    assert spoken is not None
    assert spoken.clips[0].record.identity == "anna"
