"""The steps alone, with scripted scorers: what each is given, what it stores, and under which key."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lipforcing_core.base.products import StepStore, file_sha256
from lipforcing_core.curation import steps
from lipforcing_core.curation.results import Piece, Reading, TrackFacts, Undecodable
from lipforcing_core.curation.settings import CurationSettings
from lipforcing_core.curation.sources import SourceChangedError, SourceFile
from lipforcing_core.curation.wanted import Wanted
from lipforcing_core.media.decode import read_audio
from lipforcing_core.media.encode import VideoWriter, write_flac
from lipforcing_core.quality.protocol import QualityScore
from lipforcing_core.sync.offset import SyncScore

from .readings import plain_reading

SHA256 = "ab" * 32
FILE = SourceFile(path=Path("a.mp4"), name="a.mp4", sha256=SHA256)
READING = plain_reading(60)
REFUSED = Undecodable(problem="is empty", decoder_message="", declared_s=None)
TRACK = TrackFacts(
    number=1,
    detected_fraction=1.0,
    absent_frames=0,
    face_height_px=100.0,
    box_xyxy=(1.0, 2.0, 3.0, 4.0),
    yaw_deg=None,
    lips_outside=0.0,
    repeated=(),
    clip_sha256="01" * 32,
)
PIECE = Piece(start=20, stop=40, shot=0, num_invented=0, tracks=(TRACK,))


class Scripted:
    """A sync expert and quality scorer in one, which says what it was told to and keeps what it was given."""

    backend_id = "scripted-v1"

    def __init__(self, offsets: tuple[int, ...] = (0,)) -> None:
        self.given: list[Any] = []
        self._offsets = list(offsets)

    def score(self, frames: Any, waveform: Any = None) -> Any:
        self.given.append((frames, waveform))
        if waveform is None:
            return QualityScore(value=np.float32(2.5), backend="other-id", higher_is_better=np.bool_(True))
        number = len(self.given)
        return SyncScore(
            confidence=float(number),
            distance=10.0 + number,
            offset_frames=self._offsets.pop(0),
            num_windows=1,
            backend="other-id",
            distances=(),
        )


def cut_face(store: Any, piece: Piece = PIECE) -> steps.CutFace:
    source = steps.ReadSource(file=FILE, store=store, key="re" * 8, result=READING)
    return steps.CutFace(source=source, piece=piece, track=TRACK)


def put_face(store: StepStore, num_frames: int = 20) -> steps.CutFace:
    """A finished step ``read`` with one face of one piece: frame k is grey 4 k, sample i of the sound is i / 32768."""
    face = cut_face(store, PIECE.model_copy(update={"stop": PIECE.start + num_frames}))

    def work(folder: Path) -> dict[str, Any]:
        own = folder / face.piece.folder
        own.mkdir()
        with VideoWriter(own / "1.mp4", width=512, height=512, crf=1) as writer:
            for k in range(num_frames):
                writer.write(np.full((512, 512, 3), 4 * k, dtype=np.uint8))
        write_flac(own / "sound.flac", ramp(num_frames))
        return READING.to_json()

    store.run("read", face.source.key, work)
    return face


def ramp(num_frames: int) -> np.ndarray:
    """The sound of so many frames and of 15 before and after them; sample 0 is the first of the frames."""
    return (np.arange(-15 * 640, (num_frames + 15) * 640) / 32768).astype(np.float32)


def test_a_face_knows_its_files_and_reads_each_once(
    store: StepStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    face = put_face(store)
    folder = store.root / "read" / ("re" * 8) / "000020-000040"
    assert (face.source.folder, face.clip) == (folder.parent, folder / "1.mp4")
    assert face.alignment == folder / "1.npz"
    assert face.frames_FHW3.shape == (20, 256, 256, 3)
    assert np.array_equal(face.wide_S, ramp(20))
    face.clip.unlink()
    assert face.frames_FHW3 is face.frames_FHW3, "decoded once for all that look at it"


@pytest.mark.parametrize(
    ("offsets", "correct", "measured", "applied", "remaining"),
    [
        ((0,), True, 0, 0, 0),
        ((3, 0), True, 3, 3, 0),
        ((3, 1, 0), True, 3, 4, 0),
        ((3, 1, 2), True, 3, 4, 2),
        ((-1, 0), True, -1, -1, 0),
        ((-10, -5, 0), True, -10, -15, 0),
        ((10, 5, 0), True, 10, 15, 0),
        ((10, 6), True, 10, 10, 6),
        ((15, 0), True, 15, 15, 0),
        ((16,), True, 16, 0, 16),
        ((-16,), True, -16, 0, -16),
        ((3,), False, 3, 0, 3),
    ],
)
def test_sound_is_shifted_by_what_is_measured_twice_at_most_and_not_too_far(
    offsets: tuple[int, ...], correct: bool, measured: int, applied: int, remaining: int, store: StepStore
) -> None:
    face, expert = put_face(store), Scripted(offsets)
    found = steps.synchronised(face, expert, store, correct=correct)
    result = found.result
    assert (result.offset_measured, result.offset_applied, result.offset_remaining) == (
        measured,
        applied,
        remaining,
    )
    heard = [0, *np.cumsum(offsets[: len(expert.given) - 1]).tolist()]
    for (frames, waveform), shift in zip(expert.given, heard, strict=True):
        assert frames is face.frames_FHW3
        assert np.array_equal(waveform, ramp(20)[(15 - shift) * 640 : (35 - shift) * 640])
    assert heard[-1] == applied
    stored = read_audio(found.folder / "audio.wav")
    assert np.array_equal(stored, ramp(20)[(15 - applied) * 640 : (35 - applied) * 640])
    assert (result.confidence_before, result.confidence) == (1.0, float(len(expert.given)))
    assert (result.distance, result.backend) == (10.0 + len(expert.given), "other-id")
    assert result.audio_sha256 == file_sha256(found.folder / "audio.wav")
    assert found.folder == store.folder("sync", found.key)
    again = steps.synchronised(cut_face(store), Scripted(()), store, correct=correct)
    assert again == found, "what is stored is not measured again"


@pytest.mark.parametrize(
    ("num_frames", "chosen"), [(1, [0]), (2, [0, 1]), (7, [0, 3, 6]), (15, [0, 7, 14]), (60, [0, 30, 59])]
)
def test_quality_is_that_of_the_first_the_middle_and_the_last_frame(
    num_frames: int, chosen: list[int], store: StepStore
) -> None:
    scorer = Scripted()
    result = steps.rated(put_face(store, num_frames), scorer, store)
    ((frames, _),) = scorer.given
    assert frames.shape == (len(chosen), 256, 256, 3)
    assert [round(float(frame.mean()) / 4) for frame in frames] == chosen
    assert result.to_json() == {"value": 2.5, "backend": "other-id", "higher_is_better": True}


def test_frames_are_reduced_by_averaging_areas(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "a.mp4", width=512, height=512, crf=1) as writer:
        for k in range(5):
            writer.write(np.full((512, 512, 3), 20 * k, dtype=np.uint8))
    small = steps.small_frames(tmp_path / "a.mp4", 16)
    assert (small.shape, small.dtype) == ((5, 16, 16, 3), np.uint8)
    assert small.mean(axis=(1, 2, 3)) == pytest.approx([0, 20, 40, 60, 80], abs=1.5)


class Detector:
    backend_id = "detector-v1"


def read_with(
    work: Callable[[Path], Reading | Undecodable],
    store: StepStore,
    monkeypatch: pytest.MonkeyPatch,
) -> steps.ReadSource:
    """The step ``read`` where ``work`` stands for the reading itself."""
    monkeypatch.setattr(steps, "_read_into", lambda folder, *_: work(folder))
    return steps.read_source(FILE, Wanted(), CurationSettings(), Detector(), store)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("result", "reread"),
    [
        (READING, False),
        (READING.model_copy(update={"complaint": "a complaint"}), True),
        (REFUSED, True),
        (REFUSED.model_copy(update={"decoder_message": "words"}), True),
    ],
)
def test_a_source_is_read_again_where_the_decoder_complained(
    result: Reading | Undecodable, reread: bool, store: StepStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked = []
    monkeypatch.setattr(steps, "check_unchanged", lambda file, *, reread: checked.append((file, reread)))
    for _ in range(2):
        found = read_with(lambda folder: result, store, monkeypatch)
        assert (found.file, found.store, found.result) == (FILE, store, result)
        assert found.key == steps.read_key(SHA256, Wanted(), CurationSettings(), "detector-v1")
    assert checked == [(FILE, reread)]


def writing(name: str, *, then: BaseException | None = None) -> Callable[[Path], Reading]:
    def work(folder: Path) -> Reading:
        (folder / name).touch()
        if then is not None:
            raise then
        return READING

    return work


def test_what_a_killed_reading_has_finished_is_there_for_the_next(
    store: StepStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "check_unchanged", lambda *_, **__: None)
    with pytest.raises(KeyboardInterrupt):
        read_with(writing("first", then=KeyboardInterrupt()), store, monkeypatch)
    assert not (
        store.root / "read" / steps.read_key(SHA256, Wanted(), CurationSettings(), "detector-v1")
    ).exists()
    found = read_with(writing("second"), store, monkeypatch)
    assert sorted(path.name for path in found.folder.iterdir()) == ["first", "result.json", "second"]


def test_pieces_of_other_bytes_are_not_there_for_the_next(
    store: StepStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file changed, or its disk failed, while it was read: what was cut out of it meanwhile is of no use."""

    def changed(*_: object, **__: object) -> None:
        raise SourceChangedError("a.mp4", "it changed")

    monkeypatch.setattr(steps, "check_unchanged", changed)
    with pytest.raises(SourceChangedError):
        read_with(writing("first"), store, monkeypatch)
    assert not list((store.root / "read").rglob("first"))
    monkeypatch.setattr(steps, "check_unchanged", lambda *_, **__: None)
    found = read_with(writing("second"), store, monkeypatch)
    assert sorted(path.name for path in found.folder.iterdir()) == ["result.json", "second"]


def test_a_refused_source_leaves_no_pieces(store: StepStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def refusing(folder: Path) -> Undecodable:
        (folder / "000000-000060").mkdir()
        (folder / "000000-000060" / "0.mp4").touch()
        return REFUSED

    monkeypatch.setattr(steps, "check_unchanged", lambda *_, **__: None)
    found = read_with(refusing, store, monkeypatch)
    assert [path.name for path in found.folder.iterdir()] == ["result.json"]


def test_the_finished_step_of_a_damaged_product_is_forgotten(store: StepStore, tmp_path: Path) -> None:
    face = put_face(store)
    other = store.run("sync", "key", lambda folder: {}).folder
    assert not steps.forget_damaged(store, tmp_path / "elsewhere" / "0.mp4")
    assert store.find("read", face.source.key) is not None
    assert steps.forget_damaged(store, face.clip)
    assert store.find("read", face.source.key) is None
    assert not face.clip.exists()
    assert other.is_dir()


def test_the_lock_of_a_content_lies_in_the_store(store: StepStore) -> None:
    with steps.one_at_a_time(store, SHA256):
        assert [path.name for path in (store.root / "locks").iterdir()] == [f"{'ab' * 8}.lock"]


@pytest.mark.parametrize(("start", "num_motions"), [(20, 3), (21, 2), (24, 2), (25, 3)])
def test_a_fingerprint_keeps_the_steps_of_the_source(start: int, num_motions: int, store: StepStore) -> None:
    """A step begins with every fifth frame of the source: 20 frames from 21 on have three whole ones, from 25 to 40."""
    piece = PIECE.model_copy(update={"start": start, "stop": start + 20})
    face = replace(put_face(store), piece=piece)
    folder = store.folder("read", face.source.key)
    if piece.folder != PIECE.folder:
        (folder / PIECE.folder).rename(folder / piece.folder)
    found = steps.fingerprinted(face, store).result.fingerprint()
    assert len(found.picture.motion_TB) == num_motions
