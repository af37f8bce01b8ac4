from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.products import StepStore
from lipforcing_core.curation import crops, steps
from lipforcing_core.curation.assemble import mark_duplicates
from lipforcing_core.curation.backends import CurationBackends
from lipforcing_core.curation.pieces import split_of
from lipforcing_core.curation.pipeline import curate_source
from lipforcing_core.curation.reasons import RejectReason
from lipforcing_core.curation.records import SourceOutcome, Status
from lipforcing_core.curation.settings import CurationSettings
from lipforcing_core.media.decode import read_audio, read_frames
from lipforcing_core.media.probe import probe

from .conftest import BlueExpert, Curate, DetailQuality, SquareDetector, curator, speech

Reel = Callable[..., Path]

WHOLE_SHOT = {"shot_min_content_change": 200.0}
"""So that nothing that happens in a small picture is a cut."""


@pytest.fixture(scope="module")
def shared_store(tmp_path_factory: pytest.TempPathFactory) -> StepStore:
    return StepStore(tmp_path_factory.mktemp("store"))


@pytest.fixture
def curate(settings: CurationSettings, backends: CurationBackends, shared_store: StepStore) -> Curate:
    return curator(settings, backends, shared_store)


@pytest.fixture
def curate_afresh(settings: CurationSettings, backends: CurationBackends, store: StepStore) -> Curate:
    return curator(settings, backends, store)


def reasons(outcome: SourceOutcome) -> dict[tuple[int, int], str]:
    return {(d.start_frame, d.stop_frame): (d.reason or d.status).value for d in outcome.decisions}


def test_every_shot_leaves_by_its_own_door(reel: Reel, curate: Curate, shared_store: StepStore) -> None:
    outcome = curate(reel("mixed", ["face", "grey", "flat", "face"], offset_frames=3))
    assert reasons(outcome) == {
        (0, 60): "accepted",
        (60, 120): "no_face",
        (120, 180): "quality_low",
        (180, 240): "accepted",
    }
    assert outcome.status is Status.ACCEPTED
    assert outcome.frames_in == 240
    assert outcome.seconds() == sum(outcome.seconds(status) for status in Status) == 9.6
    for clip in outcome.clips:
        assert clip.record.scores.av_offset_measured == clip.record.scores.av_offset_applied == 3
        assert clip.record.scores.av_offset_remaining == 0
        info = probe(shared_store.root / clip.clip)
        assert (info.width, info.height, info.num_frames, info.frame_rate) == (512, 512, 60, 25)
        assert len(read_audio(shared_store.root / clip.audio)) == 60 * 640
        alignment = np.load(shared_store.root / clip.alignment)
        assert alignment["matrices_F23"].shape == (60, 2, 3)
        assert alignment["start_frame"] == clip.record.start_frame


@pytest.mark.parametrize("offset", [-10, -4, 0, 9])
def test_injected_offset_is_found_and_undone(
    offset: int, reel: Reel, curate: Curate, shared_store: StepStore
) -> None:
    path = reel(f"offset{offset}", ["face"], offset_frames=offset, shot_frames=90)
    outcome = curate(path, max_abs_offset_frames=10)
    (clip,) = outcome.clips
    assert clip.record.scores.av_offset_measured == offset
    assert clip.record.scores.av_offset_remaining == 0
    corrected = read_audio(shared_store.root / clip.audio)
    inner = slice(15 * 640, 75 * 640)
    assert np.corrcoef(corrected[inner], speech(90)[inner])[0, 1] > 0.9


def test_offset_beyond_the_limit_is_rejected_with_its_value(reel: Reel, curate: Curate) -> None:
    (decision,) = curate(reel("offset9", ["face"], offset_frames=9, shot_frames=90)).decisions
    assert decision.reason is RejectReason.AV_OFFSET_TOO_LARGE
    assert (decision.measured, decision.threshold) == (9, 6)


def test_without_the_sync_filter_sound_is_measured_and_left_alone(
    reel: Reel, curate: Curate, shared_store: StepStore
) -> None:
    path = reel("offset9", ["face"], offset_frames=9, shot_frames=90)
    (clip,) = curate(path, sync_filter=False).clips
    assert (clip.record.scores.av_offset_measured, clip.record.scores.av_offset_applied) == (9, 0)
    late = read_audio(shared_store.root / clip.audio)
    inner = slice(15 * 640, 75 * 640)
    assert np.corrcoef(late[inner], speech(90)[inner])[0, 1] < 0.5


@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [
        ("silent", {"sound": "silent"}, "silent_audio"),
        ("mute", {"sound": "none"}, "no_audio"),
        ("brief", {"shot_frames": 40}, "too_short"),
    ],
)
def test_defects_have_reasons_of_their_own(
    name: str, options: dict, reason: str, reel: Reel, curate: Curate
) -> None:
    outcome = curate(reel(name, ["face"], **options))
    assert [d.reason for d in outcome.decisions] == [RejectReason(reason)]
    assert outcome.status is Status.REJECTED
    assert outcome.frames_in == options.get("shot_frames", 60)


def test_a_face_that_leaves_is_lost_and_a_gap_may_be_allowed(reel: Reel, curate: Curate) -> None:
    path = reel("half", ["half"], shot_frames=90)
    (decision,) = curate(path, **WHOLE_SHOT).decisions
    assert decision.reason is RejectReason.FACE_LOST
    assert decision.measured is not None
    assert 30 <= decision.measured <= 45
    (allowed,) = curate(path, **WHOLE_SHOT, max_absent_frames=45).decisions
    assert allowed.reason is not RejectReason.FACE_LOST
    (unseen,) = curate(path, **WHOLE_SHOT, min_detected_fraction=0.6).decisions
    assert unseen.reason is RejectReason.NO_FACE


def test_of_two_people_the_one_who_speaks_is_taken(
    reel: Reel, curate: Curate, backends: CurationBackends, shared_store: StepStore
) -> None:
    """The blue of one of two squares follows the sound, and that of the other another sound."""
    path = reel("right speaks", ["right speaks"])
    (clip,) = curate(path, **WHOLE_SHOT).clips
    assert clip.record.scores.num_faces == 2
    assert clip.record.face_box is not None
    assert float(clip.record.face_box.split(",")[0]) == pytest.approx(170, abs=3)
    found = read_frames(shared_store.root / clip.clip)
    heard = read_audio(shared_store.root / clip.audio)
    assert backends.sync_expert.score(found, heard).confidence > 3
    (decision,) = curate(path, **WHOLE_SHOT, sync_filter=False).decisions
    assert (decision.reason, decision.measured, decision.threshold) == (RejectReason.SEVERAL_FACES, 2, 1)


def test_a_picture_that_stands_still_is_frozen(reel: Reel, curate: Curate) -> None:
    (decision,) = curate(reel("still", ["still"])).decisions
    assert (decision.reason, decision.measured, decision.threshold) == (RejectReason.FROZEN_PICTURE, 59, 12)


def test_unrelated_sound_has_low_confidence(
    reel: Reel, settings: CurationSettings, backends: CurationBackends, store: StepStore, tmp_path: Path
) -> None:
    from lipforcing_core.media.encode import mux

    path = tmp_path / "wrong.mp4"
    mux(reel("offset0", ["face"], offset_frames=0, shot_frames=90), speech(90, seed=9), path)
    strict = settings.model_copy(update={"sync_confidence_min": 8.0})
    (decision,) = curate_source(
        path, settings=strict, backends=backends, store=store, root=tmp_path
    ).decisions
    assert decision.reason is RejectReason.SYNC_CONFIDENCE_LOW
    assert decision.measured == decision.scores.sync_confidence


@pytest.mark.parametrize("kind", ["junk", "empty", "cut", "late cut"])
def test_broken_files_are_quarantined_with_the_decoders_words(
    kind: str, reel: Reel, curate: Curate, tmp_path: Path
) -> None:
    whole = reel("mixed", ["face", "grey", "flat", "face"], offset_frames=3).read_bytes()
    path = tmp_path / "broken ünï.mp4"
    if kind == "junk":
        path.write_bytes(b"not a video at all" * 50)
    elif kind == "empty":
        path.touch()
    elif kind == "cut":
        path.write_bytes(whole[:1000])
    else:
        path.write_bytes(whole[: len(whole) // 2])
    outcome = curate(path)
    (decision,) = outcome.quarantine
    assert outcome.status is Status.QUARANTINED
    assert decision.reason is (RejectReason.TRUNCATED if "cut" in kind else RejectReason.UNREADABLE)
    assert decision.message
    if kind == "late cut":
        assert outcome.frames_in == 240
    assert curate(path) == outcome


def test_a_file_of_sound_alone_has_no_video(reel: Reel, curate: Curate, tmp_path: Path) -> None:
    import ffmpeg

    from lipforcing_core.media.ffmpeg import run_ffmpeg

    path = tmp_path / "sound.mp4"
    source = ffmpeg.input(str(reel("two", ["face", "grey"])))
    run_ffmpeg(ffmpeg.output(source.audio, str(path), acodec="copy"), path)
    outcome = curate(path)
    (decision,) = outcome.decisions
    assert (outcome.status, decision.reason) == (Status.REJECTED, RejectReason.NO_VIDEO)
    assert decision.message == "has no video"


def test_dangling_links_are_quarantined_each_for_itself(curate: Curate, tmp_path: Path) -> None:
    outcomes = []
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).symlink_to("gone.mp4")
        outcomes.append(curate(tmp_path / name))
    for outcome in mark_duplicates(outcomes):
        (decision,) = outcome.quarantine
        assert decision.reason is RejectReason.INACCESSIBLE
        assert decision.message == "a link to gone.mp4, which is not there"
        assert outcome.frames_in == 0


def test_sound_that_ends_early_costs_only_the_rest(reel: Reel, curate: Curate, tmp_path: Path) -> None:
    import ffmpeg

    from lipforcing_core.media.ffmpeg import run_ffmpeg

    source = ffmpeg.input(str(reel("offset0", ["face"], offset_frames=0, shot_frames=90)))
    sound = source.audio.filter("atrim", end=2.8)
    path = tmp_path / "early.mp4"
    run_ffmpeg(ffmpeg.output(source.video, sound, str(path), vcodec="copy"), path)
    found = reasons(curate(path))
    (accepted,) = (span for span, reason in found.items() if reason == "accepted")
    (missing,) = (span for span, reason in found.items() if reason == "audio_missing")
    assert accepted[0] == 0
    assert accepted[1] == missing[0] in (70, 71, 72)
    assert missing[1] == 90


def test_second_run_repeats_nothing_and_thresholds_open_no_video(
    reel: Reel, curate_afresh: Curate, monkeypatch: pytest.MonkeyPatch
) -> None:
    curate, path = curate_afresh, reel("two", ["face", "grey"])
    first = curate(path)
    calls = (SquareDetector.calls, BlueExpert.calls, DetailQuality.calls)
    assert min(calls) > 0
    assert curate(path) == first
    monkeypatch.setattr(steps, "SourceStream", None)
    poor = curate(path, quality_threshold=99.0)
    strict = curate(path, sync_confidence_min=99.0)
    assert (SquareDetector.calls, BlueExpert.calls, DetailQuality.calls) == calls
    assert (len(first.clips), len(strict.clips)) == (1, 0)
    assert {d.reason for d in poor.decisions} == {RejectReason.NO_FACE, RejectReason.QUALITY_LOW}
    assert {d.reason for d in strict.decisions} == {RejectReason.NO_FACE, RejectReason.SYNC_CONFIDENCE_LOW}
    assert strict.frames_in == first.frames_in


@pytest.mark.parametrize("tool", ["file_sha256", "write_wav"])
def test_killed_in_any_step_it_resumes_to_the_same_result(
    tool: str,
    reel: Reel,
    settings: CurationSettings,
    backends: CurationBackends,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Killed when the only piece has been cut, and when its sound has been shifted."""
    path = reel("offset-4", ["face"], offset_frames=-4, shot_frames=90)
    calm = curate_source(
        path, settings=settings, backends=backends, store=StepStore(tmp_path / "a"), root=path.parent
    )
    store = StepStore(tmp_path / "b")

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(crops if tool == "file_sha256" else steps, tool, killed)
    with pytest.raises(KeyboardInterrupt):
        curate_source(path, settings=settings, backends=backends, store=store, root=path.parent)
    monkeypatch.undo()
    assert not list(store.root.rglob("*.tmp*"))
    again = curate_source(path, settings=settings, backends=backends, store=store, root=path.parent)
    assert again == calm
    for clip in again.clips:
        for name in (clip.clip, clip.audio, clip.alignment):
            assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert not list(store.root.rglob(".*.partial"))


def test_outcome_travels_as_json_and_pickle(reel: Reel, curate: Curate) -> None:
    outcome = curate(reel("mixed", ["face", "grey", "flat", "face"], offset_frames=3))
    assert SourceOutcome.model_validate(json.loads(outcome.model_dump_json())) == outcome
    assert pickle.loads(pickle.dumps(outcome)) == outcome


def test_split_keeps_a_person_on_one_side() -> None:
    assert {split_of("anna", source, 0.5) for source in "abcdefgh"} == {split_of("anna", "x", 0.5)}
    sides = [split_of(f"person {i}", "s", 0.2) for i in range(500)]
    assert 60 < sides.count("val") < 140
    assert {split_of(None, str(i), 0.0) for i in range(50)} == {"train"}


def test_a_file_that_is_no_longer_there_is_quarantined_and_one_outside_refused(
    curate: Curate, settings: CurationSettings, backends: CurationBackends, store: StepStore, tmp_path: Path
) -> None:
    (decision,) = curate(tmp_path / "absent.mp4").quarantine
    assert (decision.reason, decision.message) == (RejectReason.INACCESSIBLE, "it is no longer there")
    with pytest.raises(BadInputError, match="outside the corpus folder"):
        curate_source(
            tmp_path / "a.mp4", settings=settings, backends=backends, store=store, root=tmp_path / "corpus"
        )
