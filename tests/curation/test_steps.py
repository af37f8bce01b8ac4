"""The steps alone, with scripted scorers: what each is given, what it stores, and under which key."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lipforcing_core.base.errors import MediaError
from lipforcing_core.base.products import StepStore, file_sha256
from lipforcing_core.curation import steps
from lipforcing_core.curation.results import Decoded, Undecodable
from lipforcing_core.curation.settings import CurationSettings
from lipforcing_core.curation.sources import SourceFile
from lipforcing_core.faces.detectors.protocol import Face
from lipforcing_core.media.decode import read_audio, read_frames
from lipforcing_core.media.encode import VideoWriter, write_wav
from lipforcing_core.media.segments import Segment
from lipforcing_core.quality.protocol import QualityScore
from lipforcing_core.sync.offset import SyncScore

SHA256 = "ab" * 32
DECODED = Decoded(
    num_frames=60,
    num_samples=38400,
    width=64,
    height=64,
    decoder_message="",
    declared_s=Fraction(12, 5),
    has_audio=True,
)


class Scripted:
    """A detector, sync expert and quality scorer in one, which says what it was told to and keeps what it was given."""

    backend_id = "scripted-v1"

    def __init__(
        self, offsets: tuple[int, ...] = (0,), sees: Callable[[int], bool] = lambda index: True
    ) -> None:
        self.given: list[Any] = []
        self._offsets, self._sees = list(offsets), sees

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

    def detect(self, frame: np.ndarray) -> list[Face]:
        index = round(float(frame.mean()) / 4)
        self.given.append(index)
        return [Face(box_xyxy=(10.0, 8.0, 50.0, 56.0 + index % 2), score=1.0)] if self._sees(index) else []


def source(store: StepStore, path: Path = Path("a.mp4")) -> steps.NormalisedSource:
    file = SourceFile(path=path, name="a.mp4", sha256=SHA256)
    return steps.NormalisedSource(file=file, store=store, result=DECODED)


def put_normalised(store: StepStore, num_frames: int = 60) -> steps.NormalisedSource:
    """A finished step ``normalise``: frame k is grey 4 k, sample i of the sound is (i mod 30011) / 32768."""

    def work(folder: Path) -> dict[str, Any]:
        with VideoWriter(folder / "video.mp4", width=64, height=64, crf=1) as writer:
            for k in range(num_frames):
                writer.write(np.full((64, 64, 3), 4 * k, dtype=np.uint8))
        write_wav(folder / "audio.wav", ramp(num_frames))
        return DECODED.to_json()

    store.run("normalise", steps.normalise_key(SHA256), work)
    return source(store)


def ramp(num_frames: int) -> np.ndarray:
    return (np.arange(640 * num_frames) % 30011 / 32768).astype(np.float32)


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
    offsets: tuple[int, ...],
    correct: bool,
    measured: int,
    applied: int,
    remaining: int,
    store: StepStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[Path, int]] = []
    monkeypatch.setattr(steps, "small_frames", lambda path, size: asked.append((path, size)) or "frames")
    normalised, expert, segment = put_normalised(store), Scripted(offsets), Segment(20, 40)
    found = steps.synchronised(
        normalised,
        segment,
        "ef" * 8,
        Path("clip.mp4"),
        expert,
        store,
        correct=correct,  # type: ignore[arg-type]
    )
    result = found.result
    assert asked == [(Path("clip.mp4"), 256)]
    assert (result.offset_measured, result.offset_applied, result.offset_remaining) == (
        measured,
        applied,
        remaining,
    )
    heard = [0, *np.cumsum(offsets[: len(expert.given) - 1]).tolist()]
    for (frames, waveform), shift in zip(expert.given, heard, strict=True):
        assert frames == "frames"
        assert np.array_equal(waveform, ramp(60)[(20 - shift) * 640 : (40 - shift) * 640])
    assert heard[-1] == applied
    stored = read_audio(found.folder / "audio.wav")
    assert np.array_equal(stored, ramp(60)[(20 - applied) * 640 : (40 - applied) * 640])
    assert (result.confidence_before, result.confidence) == (1.0, float(len(expert.given)))
    assert (result.distance, result.backend) == (10.0 + len(expert.given), "other-id")
    assert result.audio_sha256 == file_sha256(found.folder / "audio.wav")
    assert found.folder == store.folder("sync", found.key)


@pytest.mark.parametrize(
    ("num_frames", "chosen"), [(1, [0]), (2, [0, 1]), (7, [0, 3, 6]), (15, [0, 7, 14]), (60, [0, 30, 59])]
)
def test_quality_is_that_of_the_first_the_middle_and_the_last_frame(
    num_frames: int, chosen: list[int], store: StepStore
) -> None:
    put_normalised(store)
    scorer = Scripted()
    video = store.folder("normalise", steps.normalise_key(SHA256)) / "video.mp4"
    result = steps.rated("ef" * 8, video, num_frames, scorer, store)
    ((frames, _),) = scorer.given
    assert frames.shape == (len(chosen), 256, 256, 3)
    assert [round(float(frame.mean()) / 4) for frame in frames] == chosen
    assert asdict(result) == {"value": 2.5, "backend": "other-id", "higher_is_better": True}


def test_frames_are_reduced_by_averaging_areas(tmp_path: Path) -> None:
    frame = np.zeros((4, 4, 3), dtype=np.uint8)
    frame[0, 0] = 160
    assert steps._reduced(frame, 1).tolist() == [[[10, 10, 10]]]
    with VideoWriter(tmp_path / "a.mp4", width=64, height=32, crf=1) as writer:
        for k in range(5):
            writer.write(np.full((32, 64, 3), 20 * k, dtype=np.uint8))
    small = steps.small_frames(tmp_path / "a.mp4", 16)
    assert (small.shape, small.dtype) == ((5, 16, 16, 3), np.uint8)
    assert small.mean(axis=(1, 2, 3)) == pytest.approx([0, 20, 40, 60, 80], abs=1.5)


@pytest.mark.parametrize(
    ("segment", "delay", "samples"),
    [
        (Segment(2, 4), 0, (1280, 2560)),
        (Segment(2, 4), 2, (0, 1280)),
        (Segment(2, 4), 3, (-640, 640)),
        (Segment(2, 4), 4, (-1280, 0)),
        (Segment(2, 4), 9, (-4480, -3200)),
        (Segment(8, 10), 0, (5120, 6400)),
        (Segment(8, 10), -1, (5760, 7040)),
        (Segment(8, 10), -2, (6400, 7680)),
        (Segment(0, 10), 0, (0, 6400)),
    ],
)
def test_sound_beyond_the_ends_is_silence(
    segment: Segment, delay: int, samples: tuple[int, int], tmp_path: Path
) -> None:
    """The sound of ten frames stands between silence of any length; a segment takes its part of that."""
    sound = np.ones(6400, dtype=np.float32) * np.linspace(0.1, 0.9, 6400, dtype=np.float32)
    write_wav(tmp_path / "a.wav", sound)
    stored = read_audio(tmp_path / "a.wav")
    whole = np.concatenate([np.zeros(9600), stored, np.zeros(9600)])
    start, stop = samples
    found = steps.sound_under(tmp_path / "a.wav", segment, delay)
    assert np.array_equal(found, whole[9600 + start : 9600 + stop])


@pytest.mark.parametrize(
    ("waveform", "dbfs"),
    [([1.0, -1.0], 0.0), ([0.1, -0.1, 0.1], -20.0), ([0.5, 0.0, 0.0, 0.0], -12.0412), ([], -120.0),
     ([0.0, 0.0], -120.0), ([1e-5], -100.0), ([1e-7], -120.0)],
)  # fmt: skip
def test_loudness_is_the_root_of_the_mean_square(waveform: list[float], dbfs: float) -> None:
    assert steps.loudness_dbfs(np.array(waveform, dtype=np.float32)) == pytest.approx(dbfs, abs=1e-3)


def test_shots_are_found_with_the_settings(store: StepStore, monkeypatch: pytest.MonkeyPatch) -> None:
    given = []

    def detect(video: Path, **options: float) -> list[tuple[int, int]]:
        given.append((video, options))
        return [(0, 20), (20, 60)]

    monkeypatch.setattr(steps, "detect_shots", detect)
    normalised = put_normalised(store)
    settings = CurationSettings(shot_threshold=7.0, shot_min_content_change=8.0)
    for _ in range(2):
        assert steps.found_shots(normalised, settings, store) == [(0, 20), (20, 60)]
    assert given == [(normalised.video(), {"threshold": 7.0, "min_content_change": 8.0})]


def tracked(store: StepStore, segment: Segment, detector: Scripted, **changes: Any) -> Any:
    settings = CurationSettings(**changes)
    return steps.aligned(put_normalised(store), segment, settings, detector, store)  # type: ignore[arg-type]


def test_the_face_of_a_segment_is_followed_at_the_stride_and_cut_out(store: StepStore) -> None:
    detector = Scripted()
    found = tracked(store, Segment(10, 40), detector, detect_stride=10)
    assert detector.given == [10, 20, 30, 39], "and at the last frame"
    assert found.folder == store.folder("align", found.key)
    clip = found.folder / "clip.mp4"
    crop = found.result.crop
    assert crop is not None
    assert (found.result.num_frames, found.result.detected_fraction, found.result.absent_frames) == (
        30,
        1.0,
        0,
    )
    assert crop.face_height_px == pytest.approx(48.0, abs=0.5), "most boxes are 48 high"
    assert crop.clip_sha256 == file_sha256(clip)
    frames = read_frames(clip)
    assert frames.shape == (30, 512, 512, 3)
    centre = frames[:, 236:276, 236:276].mean(axis=(1, 2, 3))
    assert centre == pytest.approx([4 * k for k in range(10, 40)], abs=2.5)
    stored = np.load(found.folder / "alignment.npz")
    assert stored["start_frame"] == 10
    assert stored["usable_F"].tolist() == [True] * 30
    assert stored["boxes_F4"].shape == (30, 4)
    assert stored["boxes_F4"][0] == pytest.approx([10, 8, 50, 56], abs=0.6)
    assert stored["matrices_F23"].shape == (30, 2, 3)


def test_a_gap_is_bridged_as_far_as_the_settings_say(store: StepStore, tmp_path: Path) -> None:
    def seen(index: int) -> bool:
        return not 10 < index < 30

    bridged = tracked(store, Segment(0, 40), Scripted(sees=seen), detect_stride=5, max_gap_frames=20)
    assert (bridged.result.absent_frames, bridged.result.detected_fraction < 1) == (0, True)
    other = StepStore(tmp_path / "other")
    lost = tracked(other, Segment(0, 40), Scripted(sees=seen), detect_stride=5, max_gap_frames=19)
    assert lost.result.absent_frames == 9, "a look holds for one stride: frames 16 to 24 have no face"
    assert lost.result.crop is not None
    usable = np.load(lost.folder / "alignment.npz")["usable_F"]
    assert np.flatnonzero(~usable).tolist() == list(range(16, 25))


def test_a_segment_without_a_face_has_no_clip(store: StepStore) -> None:
    found = tracked(store, Segment(0, 20), Scripted(sees=lambda _: False))
    assert (found.result.absent_frames, found.result.detected_fraction, found.result.crop) == (20, 0.0, None)
    assert [path.name for path in found.folder.iterdir()] == ["result.json"]


def test_a_clip_is_as_fine_as_the_settings_say(store: StepStore, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)

    def noisy(folder: Path) -> dict[str, Any]:
        with VideoWriter(folder / "video.mp4", width=64, height=64, crf=1) as writer:
            for _ in range(10):
                writer.write(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8))
        return DECODED.to_json()

    store.run("normalise", steps.normalise_key(SHA256), noisy)
    sizes = {}
    for crf in (5, 45):
        settings = CurationSettings(clip_crf=crf)
        found = steps.aligned(source(store), Segment(0, 10), settings, Scripted(), store)  # type: ignore[arg-type]
        sizes[crf] = (found.folder / "clip.mp4").stat().st_size
    assert sizes[45] * 3 < sizes[5]


@pytest.mark.parametrize(
    ("result", "reread"),
    [
        (DECODED, False),
        (replace(DECODED, decoder_message="a complaint"), True),
        (Undecodable(problem="is empty", decoder_message="", declared_s=None), True),
        (Undecodable(problem="is empty", decoder_message="words", declared_s=None), True),
    ],
)
def test_a_source_is_read_again_where_the_decoder_complained(
    result: Decoded | Undecodable, reread: bool, store: StepStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked = []
    monkeypatch.setattr(steps, "_decoded_into", lambda folder, path: result)
    monkeypatch.setattr(steps, "check_unchanged", lambda file, *, reread: checked.append((file, reread)))
    file = SourceFile(path=Path("a.mp4"), name="a.mp4", sha256=SHA256)
    for _ in range(2):
        found = steps.normalised(file, store)
        assert (found.file, found.store, found.result) == (file, store, result)
    assert checked == [(file, reread)]


def test_half_a_picture_of_a_refused_file_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Facts:
        duration_s = Fraction(3)

    def refusing(path: Path, video: Path, audio: Path) -> None:
        video.write_bytes(b"half")
        audio.write_bytes(b"all")
        raise MediaError(path, "stops", "words")

    monkeypatch.setattr(steps, "probe", lambda path: Facts)
    monkeypatch.setattr(steps, "normalise", refusing)
    assert steps._decoded_into(tmp_path, Path("a.mp4")) == Undecodable(
        problem="stops", decoder_message="words", declared_s=Fraction(3)
    )
    assert [path.name for path in tmp_path.iterdir()] == ["audio.wav"]


def test_the_picture_is_made_again_when_it_was_cleared(
    store: StepStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    normalised = put_normalised(store)
    made = []

    def again(file: SourceFile, given: StepStore) -> None:
        made.append((file, given, store.find("normalise", normalised.key)))

    monkeypatch.setattr(steps, "normalised", again)
    path = store.folder("normalise", normalised.key) / "video.mp4"
    assert normalised.video() == path
    assert made == []
    for _ in range(2):
        steps.clear_video(store, SHA256)
        assert not path.exists()
    assert normalised.audio.is_file()
    assert normalised.video() == path
    assert made == [(normalised.file, store, None)], "what is stored without its picture is forgotten first"


def test_the_finished_step_of_a_damaged_product_is_forgotten(store: StepStore, tmp_path: Path) -> None:
    normalised = put_normalised(store)
    other = store.run("align", "key", lambda folder: {}).folder
    assert not steps.forget_damaged(store, tmp_path / "elsewhere" / "video.mp4")
    assert store.find("normalise", normalised.key) is not None
    assert steps.forget_damaged(store, store.folder("normalise", normalised.key) / "video.mp4")
    assert store.find("normalise", normalised.key) is None
    assert not normalised.audio.exists()
    assert other.is_dir()


def test_the_lock_of_a_content_lies_in_the_store(store: StepStore) -> None:
    with steps.one_at_a_time(store, SHA256):
        assert [path.name for path in (store.root / "locks").iterdir()] == [f"{'ab' * 8}.lock"]
