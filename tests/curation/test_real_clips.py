"""Real clips through curation (skipped where the media folder is absent): upright, in step, one face, none refused."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

from lipforcing_core.base.products import StepStore
from lipforcing_core.curation.backends import CurationBackends, load_backends
from lipforcing_core.curation.pipeline import curate_source
from lipforcing_core.curation.reasons import RejectReason
from lipforcing_core.curation.records import Decision, SourceOutcome, Status
from lipforcing_core.curation.settings import CurationSettings
from lipforcing_core.faces.align import warp_face
from lipforcing_core.faces.second_look import faces_in
from lipforcing_core.media.clock import SAMPLE_RATE
from lipforcing_core.media.decode import iter_frames, read_audio, read_frames, read_wav
from lipforcing_core.media.encode import VideoWriter, mux

CLIPS = {
    "vs/hdtf/row1/input.mp4": 25.0,
    "vs/hallo3/row1/input.mp4": 25.0,  # the head is turned by some 20 degrees
    "talkvid/AOC/gt.mp4": 30000 / 1001,
}
"""Clips with their frame rate."""


@dataclass(frozen=True)
class Ran:
    path: Path
    frame_rate: float
    outcome: SourceOutcome
    store: StepStore


@pytest.fixture(scope="module")
def backends(media_dir: Path) -> tuple[CurationSettings, CurationBackends]:
    settings = CurationSettings(
        detector="scrfd",
        detector_model=media_dir / "models" / "scrfd_500m_kps.onnx",
        min_segment_s=3.0,
        sync_filter=False,  # the embedded expert knows puppets
    )
    return settings, load_backends(settings)


@pytest.fixture(scope="module", params=CLIPS)
def ran(
    request: pytest.FixtureRequest,
    media_dir: Path,
    backends: tuple[CurationSettings, CurationBackends],
    tmp_path_factory: pytest.TempPathFactory,
) -> Ran:
    store = StepStore(tmp_path_factory.mktemp("steps"))
    path = media_dir / request.param
    settings, loaded = backends
    outcome = curate_source(path, settings=settings, backends=loaded, store=store, root=path.parent)
    return Ran(path, CLIPS[request.param], outcome, store)


def test_it_becomes_one_clip_with_one_face_and_nothing_is_refused(ran: Ran) -> None:
    (clip,) = ran.outcome.clips
    scores = clip.record.scores
    assert [decision.status for decision in ran.outcome.decisions] == [Status.ACCEPTED]
    assert (clip.record.face_track, scores.num_faces, scores.absent_frames) == (0, 1, 0)
    assert scores.detected_fraction == 1.0
    assert scores.mouth_likeness is not None
    assert scores.mouth_likeness > 0.65, "the limit is 0.45, and nothing covers this mouth"
    assert scores.pitch_deg is not None
    assert abs(scores.pitch_deg) < 10, "the limit is 40, and all look about straight ahead"


def test_the_head_is_upright_in_the_middle(
    ran: Ran, backends: tuple[CurationSettings, CurationBackends]
) -> None:
    """Eyes, nose and mouth from the top down, the left ones at the left."""
    (clip,) = ran.outcome.clips
    for frame in read_frames(ran.store.root / clip.clip)[::30]:
        face = faces_in(frame, backends[1].detector)[0]
        assert face.points is not None
        left_eye, right_eye, nose, left_mouth, right_mouth = face.points
        assert (
            100
            < max(left_eye[1], right_eye[1])
            < nose[1] - 20
            < min(left_mouth[1], right_mouth[1]) - 40
            < 360
        )
        assert left_eye[0] < right_eye[0]
        assert left_mouth[0] < right_mouth[0]


def test_pictures_come_from_their_time_to_half_a_frame(ran: Ran) -> None:
    """Of the frames of the source around a time the clip shows the one that is nearest to it, told by its picture."""
    (clip,) = ran.outcome.clips
    frames = read_frames(ran.store.root / clip.clip)
    matrices_F23 = np.load(ran.store.root / clip.alignment)["matrices_F23"]
    wanted = range(10, len(frames) - 10, 20)
    times_s = {k: (clip.record.start_frame + k) / 25 for k in wanted}
    best: dict[int, tuple[float, float]] = {}
    for index, frame in enumerate(iter_frames(ran.path)):
        for k, time_s in times_s.items():
            late_s = index / ran.frame_rate - time_s
            if abs(late_s) < 0.13:
                crop = warp_face(frame, matrices_F23[k])
                error = float(np.abs(crop.astype(int) - frames[k]).mean())
                best[k] = min(best.get(k, (np.inf, 0.0)), (error, late_s))
    assert len(best) == len(wanted)
    assert max(abs(late_s) for _, late_s in best.values()) <= 0.02
    assert max(error for error, _ in best.values()) < 4


def test_sound_comes_from_its_time_to_half_a_frame(ran: Ran) -> None:
    """The lag of the highest correlation with the sound of the source."""
    (clip,) = ran.outcome.clips
    clip_S, source_S = read_wav(ran.store.root / clip.audio), read_audio(ran.path)
    start = clip.record.start_frame * SAMPLE_RATE // 25
    there_S = np.zeros_like(clip_S)
    part_S = source_S[start : start + len(clip_S)]
    there_S[: len(part_S)] = part_S
    size = 2 * len(clip_S)
    spectrum = np.fft.rfft(clip_S, size) * np.conj(np.fft.rfft(there_S, size))
    lag = int(np.argmax(np.fft.irfft(spectrum, size)))
    lag = lag - size if lag > len(clip_S) else lag
    assert abs(lag) < SAMPLE_RATE // 50


@dataclass(frozen=True)
class Talk:
    """The frames of a real talk, and where its mouth is in the first one."""

    path: Path
    frames: np.ndarray
    mouth_y: int
    face_height: float


@pytest.fixture
def talk(media_dir: Path, backends: tuple[CurationSettings, CurationBackends]) -> Talk:
    path = media_dir / "vs/hdtf/row1/input.mp4"
    frames = read_frames(path)
    face = backends[1].detector.detect(frames[0])[0]
    assert face.points is not None
    return Talk(path, frames, round(face.points[3:, 1].mean()), face.height)


def curated(
    talk: Talk, frames: np.ndarray, tmp_path: Path, known: tuple[CurationSettings, CurationBackends]
) -> Decision:
    """What becomes of other frames under the sound of a talk."""
    with VideoWriter(tmp_path / "silent.mp4", width=frames.shape[2], height=frames.shape[1]) as writer:
        for frame in frames:
            writer.write(frame)
    (tmp_path / "corpus").mkdir()
    path = tmp_path / "corpus" / "changed.mp4"
    mux(tmp_path / "silent.mp4", read_audio(talk.path), path)
    outcome = curate_source(
        path, settings=known[0], backends=known[1], store=StepStore(tmp_path / "steps"), root=path.parent
    )
    (decision,) = outcome.decisions
    return decision


def test_a_real_mouth_under_a_bar_is_beyond_the_border(
    talk: Talk, backends: tuple[CurationSettings, CurationBackends], tmp_path: Path
) -> None:
    talk.frames[:, talk.mouth_y :] = (16, 16, 16)
    decision = curated(talk, talk.frames, tmp_path, backends)
    assert decision.reason is RejectReason.LIPS_CUT_OFF
    assert decision.measured is not None
    assert decision.measured > 0.3


def test_a_line_of_writing_over_a_mouth_that_moves_covers_it(
    talk: Talk, backends: tuple[CurationSettings, CurationBackends], tmp_path: Path
) -> None:
    for frame in talk.frames:
        scale = talk.face_height / 350
        place = (round(0.3 * frame.shape[1]), round(talk.mouth_y + 11 * scale))
        for colour, width in (((0, 0, 0), 8), ((255, 255, 255), 3)):
            cv2.putText(frame, "THE QUICK BROWN FOX", place, cv2.FONT_HERSHEY_SIMPLEX, scale, colour, width)
    assert curated(talk, talk.frames, tmp_path, backends).reason is RejectReason.OCCLUDED


def test_a_mouth_that_is_covered_for_a_second_is_told(
    media_dir: Path, backends: tuple[CurationSettings, CurationBackends], tmp_path: Path
) -> None:
    """A disc of dark grey before the mouth of a real talk, in frames 30 to 54 of 81."""
    settings, loaded = backends
    source = media_dir / "vs/talkvid/row1/input.mp4"
    frames = read_frames(source)
    for frame in frames[30:55]:
        face = loaded.detector.detect(frame)[0]
        assert face.points is not None
        x, y = face.points[3:].mean(axis=0).round().astype(int)
        cv2.circle(frame, (int(x), int(y)), round(0.27 * face.height), (60, 60, 60), cv2.FILLED)
    with VideoWriter(tmp_path / "silent.mp4", width=frames.shape[2], height=frames.shape[1]) as writer:
        for frame in frames:
            writer.write(frame)
    (tmp_path / "corpus").mkdir()
    covered = tmp_path / "corpus" / "covered.mp4"
    mux(tmp_path / "silent.mp4", read_audio(source), covered)
    outcome = curate_source(
        covered, settings=settings, backends=loaded, store=StepStore(tmp_path / "steps"), root=covered.parent
    )
    (decision,) = outcome.decisions
    assert decision.reason is RejectReason.OCCLUDED
    assert decision.measured is not None
    assert decision.measured < settings.min_mouth_likeness == decision.threshold


def test_a_small_face_is_measured_and_refused_for_its_size(
    media_dir: Path, backends: tuple[CurationSettings, CurationBackends], tmp_path: Path
) -> None:
    """The picture is brought to a size in which the face is some 30 pixels high."""
    settings, loaded = backends
    source = media_dir / "vs/hdtf/row1/input.mp4"
    frames = read_frames(source)
    height = faces_in(frames[0], loaded.detector)[0].height
    size = tuple(2 * round(side * 15 / height) for side in frames.shape[2:0:-1])
    picture, path = tmp_path / "picture.mp4", tmp_path / "small.mp4"
    with VideoWriter(picture, width=size[0], height=size[1]) as writer:
        for frame in frames[:100]:
            writer.write(cv2.resize(frame, size, interpolation=cv2.INTER_AREA))
    mux(picture, read_audio(source)[: 4 * SAMPLE_RATE], path)
    picture.unlink()
    outcome = curate_source(
        path, settings=settings, backends=loaded, store=StepStore(tmp_path / "steps"), root=tmp_path
    )
    (decision,) = outcome.decisions
    assert decision.reason is RejectReason.FACE_TOO_SMALL
    assert decision.measured == pytest.approx(30, abs=6)
