"""Where the time of a generation goes, by a clock that ticks once a look, and what is asked of a generator."""

from __future__ import annotations

import itertools
import math
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.ledger import Stage
from lipforcing_core.base.products import file_sha256, read_json
from lipforcing_core.faces.align import warp_face, warp_face_latentsync
from lipforcing_core.faces.choice import ShotFaces
from lipforcing_core.faces.mask import keep_mask, latent_keep_mask
from lipforcing_core.faces.paste import paste_back
from lipforcing_core.media.decode import read_frames
from lipforcing_core.streaming import clock as clock_module
from lipforcing_core.streaming import generate as generate_module
from lipforcing_core.streaming import generators
from lipforcing_core.streaming import prepared as prepared_module
from lipforcing_core.streaming import source as source_module
from lipforcing_core.streaming.clock import ChunkClock
from lipforcing_core.streaming.files import check_files
from lipforcing_core.streaming.generate import GenerationReport, aligned_faces, generate_video
from lipforcing_core.streaming.generators import ChunkInput
from lipforcing_core.streaming.source import SourceFace, SourceFrame
from tests.streaming.helpers import FixedFace, texture, write_speech, write_video


class Encoder:
    """Features that say which frame they belong to; ``lookahead_s`` infinite for one that needs the whole clip."""

    feature_dim = 2
    backend_id = "numbers"

    def __init__(self, lookahead_s: float = 0.0) -> None:
        self.lookahead_s = lookahead_s
        self.lengths: set[int] = set()

    def encode_range(self, waveform: np.ndarray, start: int, stop: int) -> np.ndarray:
        self.lengths.add(len(waveform))
        return np.stack([np.arange(start, stop), np.full(stop - start, 7)], axis=1).astype(np.float32)


class White:
    """A generator of white faces in chunks of 4; keeps what is asked of it, in order."""

    model_id = "white"

    def __init__(self, mask: np.ndarray | None = None, size: int = 64) -> None:
        self.mask, self.size = mask, size
        self.asked: list[tuple[Any, ...]] = []

    def plan(self, num_frames: int) -> list[int]:
        self.asked.append(("plan", num_frames))
        return [4] * -(-num_frames // 4)

    def reset(self, seed: int) -> None:
        self.asked.append(("reset", seed))

    def generate(self, chunk: ChunkInput, clock: ChunkClock) -> np.ndarray:
        self.asked.append(("generate", len(chunk.faces), chunk.audio_FD[:, 0].tolist()))
        with clock.stage(Stage.DENOISE):
            pass
        return np.full_like(chunk.faces, 255)

    def commit(self, clock: ChunkClock) -> None:
        self.asked.append(("commit",))
        with clock.stage(Stage.STORE):
            pass


@pytest.fixture
def ticking(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every look at the clock finds it one second later."""
    ticks = itertools.count(100)
    fake = SimpleNamespace(perf_counter=lambda: float(next(ticks)))
    monkeypatch.setattr(clock_module, "time", fake)
    monkeypatch.setattr(generate_module, "time", fake)
    monkeypatch.setattr(prepared_module, "time", fake)


def run(
    tmp_path: Path, generator: White, *, seconds: float = 0.4, encoder: Encoder | None = None, **options: Any
) -> GenerationReport:
    return generate_video(
        write_video(tmp_path / "v.mp4", texture(12)),
        write_speech(tmp_path / "a.wav", seconds),
        tmp_path / "out.mp4",
        generator=generator,  # type: ignore[arg-type]
        audio_encoder=encoder or Encoder(),  # type: ignore[arg-type]
        detector=FixedFace(),
        **options,
    )


@pytest.mark.usefixtures("ticking")
def test_seconds_of_a_stage_add_up_and_count_through_errors() -> None:
    clock = ChunkClock()
    with clock.stage(Stage.READ):
        pass
    with clock.stage(Stage.READ), clock.stage(Stage.WRITE):  # 3 seconds around 1
        pass
    with pytest.raises(KeyError), clock.stage(Stage.AUDIO):
        raise KeyError
    first = clock.finished(5)
    assert (first.num_frames, first.stage_s) == (5, {Stage.READ: 4.0, Stage.WRITE: 1.0, Stage.AUDIO: 1.0})
    with clock.stage(Stage.AUDIO):
        pass
    assert first.stage_s[Stage.AUDIO] == 1.0
    assert clock.finished(5).stage_s[Stage.AUDIO] == 2.0


@pytest.mark.usefixtures("ticking")
def test_every_second_of_a_generation_is_accounted_for(tmp_path: Path) -> None:
    """Ten frames in chunks of 4, 4 and 2: a look before and after each stage; composite and write are per frame."""
    generator = White()
    ledger = run(tmp_path, generator).ledger
    once = dict.fromkeys((Stage.READ, Stage.ALIGN, Stage.AUDIO, Stage.DENOISE), 1.0)
    frames = {Stage.COMPOSITE: 4.0, Stage.WRITE: 4.0}
    last = {Stage.COMPOSITE: 2.0, Stage.WRITE: 2.0}
    assert [(chunk.num_frames, chunk.stage_s) for chunk in ledger.chunks] == [
        (4, once | frames | {Stage.STORE: 1.0}),
        (4, once | frames | {Stage.STORE: 1.0}),
        (2, once | last),
    ]
    assert ledger.setup_s == {"normalise and track": 1.0}
    assert ledger.finish_s == {"mux and provenance": 1.0}
    looks = 2 + sum(2 * chunk.total_s for chunk in ledger.chunks) + 1
    assert ledger.wall_s == looks


@pytest.mark.usefixtures("ticking")
def test_features_of_a_whole_clip_count_as_setup(tmp_path: Path) -> None:
    encoder = Encoder(math.inf)
    ledger = run(tmp_path, White(), encoder=encoder).ledger
    assert ledger.setup_s == {"normalise and track": 1.0, "audio features": 1.0}
    assert encoder.lengths == {6400}


def test_what_is_asked_of_a_generator(tmp_path: Path) -> None:
    """The state is not carried on after the last chunk, and the surplus frames of a plan are not written."""
    generator, progress = White(), []
    report = run(tmp_path, generator, seed=9, on_progress=lambda *event: progress.append(event))
    assert generator.asked == [
        ("reset", 9),
        ("plan", 10),
        *[("generate", 4, [0, 1, 2, 3]), ("commit",)],
        *[("generate", 4, [4, 5, 6, 7]), ("commit",)],
        ("generate", 4, [8, 9, 10, 11]),
    ]
    assert progress == [(4, 10), (8, 10), (10, 10)]
    assert (report.num_frames, report.num_passed_through, report.model_id) == (10, 0, "white")
    facts = read_json(tmp_path / "out.mp4.provenance.json")
    assert facts == {
        "synthetic": True,
        "statement": "Synthetic video: lips redrawn by Lip Forcing Factory, model white",
        "model_id": "white",
        "seed": 9,
        "face": None,
        "shots": [{"start": 0, "stop": 10, "boxes_xyxy": [[48, 48, 144, 144]], "taken": 1}],
        "source_sha256": file_sha256(tmp_path / "v.mp4"),
        "audio_sha256": file_sha256(tmp_path / "a.wav"),
        "output_sha256": file_sha256(tmp_path / "out.mp4"),
    }


def test_the_seed_is_42_unless_it_is_told(tmp_path: Path) -> None:
    generator = White()
    run(tmp_path, generator)
    assert generator.asked[0] == ("reset", 42)
    assert read_json(tmp_path / "out.mp4.provenance.json")["seed"] == 42


def test_a_plan_that_ends_with_the_sound_is_not_carried_on(tmp_path: Path) -> None:
    generator = White()
    run(tmp_path, generator, seconds=0.32)
    assert [event[0] for event in generator.asked] == ["reset", "plan", "generate", "commit", "generate"]


@pytest.mark.parametrize(("samples", "frames"), [(639, 0), (640, 1), (1279, 1)])
def test_less_than_a_frame_of_sound_is_refused(tmp_path: Path, samples: int, frames: int) -> None:
    if frames:
        assert run(tmp_path, White(), seconds=samples / 16000).num_frames == frames
    else:
        with pytest.raises(BadInputError, match=r"0\.040 s of audio is less than one video frame"):
            run(tmp_path, White(), seconds=samples / 16000)
        assert not (tmp_path / "out.mp4").exists()


def test_only_frames_of_the_source_that_are_needed_are_tracked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spans = []

    def source(path: Path, detector: Any, *, max_frames: int | None = None, choice: Any = None) -> SourceFace:
        spans.append(max_frames)
        return SourceFace(path, detector, max_frames=max_frames, choice=choice)

    monkeypatch.setattr(prepared_module, "SourceFace", source)
    run(tmp_path, White())
    assert spans == [10]


@pytest.mark.parametrize("size", [512, 128])
def test_faces_are_cut_at_full_size_and_reduced_by_area(size: int) -> None:
    frames = [
        SourceFrame(frame=picture, matrix=np.array([[2.0, 0, -20 * k], [0, 3.0, -30]]), has_face=True)
        for k, picture in enumerate(texture(2))
    ]
    for as_released, warp in ((False, warp_face), (True, warp_face_latentsync)):
        crops = [warp(frame.frame, frame.matrix) for frame in frames]
        means = np.stack(crops).reshape(2, size, 512 // size, size, 512 // size, 3).mean(axis=(2, 4))
        got = aligned_faces(frames, size, as_released=as_released)
        assert got.shape == (2, size, size, 3)
        assert np.abs(got - means).max() <= 0.5
    assert not np.array_equal(aligned_faces(frames, size), aligned_faces(frames, size, as_released=True))
    np.testing.assert_array_equal(aligned_faces(frames, size), aligned_faces(frames, size, as_released=False))


def test_a_generator_with_a_mask_has_its_own_crops_and_its_own_mouth(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ways = []

    def recorded(frames: list[SourceFrame], size: int, *, as_released: bool = False) -> np.ndarray:
        ways.append((size, as_released))
        return aligned_faces(frames, size, as_released=as_released)

    monkeypatch.setattr(generate_module, "aligned_faces", recorded)
    everything = np.zeros((256, 256), np.uint8)
    run(tmp_path, White(everything))
    masked = read_frames(tmp_path / "out.mp4")
    run(tmp_path, White())
    drawn = read_frames(tmp_path / "out.mp4")
    assert ways == [(64, True)] * 3 + [(64, False)] * 3
    assert (masked > 240).sum() > 1.5 * (drawn > 240).sum()


def test_a_face_is_pasted_by_its_mask_and_a_frame_without_one_passes() -> None:
    picture, face = texture(1)[0], np.full((64, 64, 3), 255, np.uint8)
    matrix = np.array([[3.0, 0, -50], [0, 4.0, -80]])
    mask = np.zeros((256, 256), np.uint8)
    seen = SourceFrame(frame=picture, matrix=matrix, has_face=True)
    for source in (None, mask):
        want = paste_back(picture, face, matrix, source=source)
        np.testing.assert_array_equal(generate_module._composite(seen, face, source), want)
    unseen = SourceFrame(frame=picture, matrix=matrix, has_face=False)
    assert generate_module._composite(unseen, face, None) is picture


class Reader:
    """Frames whose pixels say their number."""

    num_frames = 9

    def __init__(self, path: Path) -> None:
        self.path, self.closed = path, 0
        self.runs: list[tuple[int, int]] = []

    def frames(self, start: int, stop: int) -> list[np.ndarray]:
        self.runs.append((start, stop))
        return self.read(start, stop)

    def read(self, start: int, stop: int) -> list[np.ndarray]:
        self.runs.append((start, stop))
        return [np.full((2, 2, 3), index, np.uint8) for index in range(start, stop)]

    def close(self) -> None:
        self.closed += 1


class Watched:
    """What a source asked for when it was made, with a face in frames 2 to 6."""

    def __init__(self, patch: pytest.MonkeyPatch, *, face: bool = True) -> None:
        self.readers: list[Reader] = []
        self.calls: list[Any] = []

        def reader(path: Path) -> Reader:
            self.readers.append(Reader(path))
            return self.readers[-1]

        def track(
            frames: list[np.ndarray], detector: Any, *, shot_starts: list[int], choice: Any
        ) -> SimpleNamespace:
            self.calls.append((len(frames), detector, shot_starts))
            usable = np.array([face and 2 <= k <= 6 for k in range(len(frames))])
            boxes = ((0, 0, 2, 2),) if face else ()
            shots = (ShotFaces(start=0, stop=len(frames), boxes_xyxy=boxes, taken=1 if face else None),)
            return SimpleNamespace(shots=shots, usable=usable)

        def align(found: Any, *, shot_starts: list[int]) -> SimpleNamespace:
            self.calls.append(shot_starts)
            matrices = np.arange(len(found.usable))[:, None, None] * np.ones((1, 2, 3))
            return SimpleNamespace(matrices_F23=matrices, usable_F=found.usable)

        patch.setattr(source_module, "FrameReader", reader)
        patch.setattr(source_module, "detect_shots", lambda path: [(0, 4), (4, 9)])
        patch.setattr(source_module, "SecondLook", lambda detector: detector)
        patch.setattr(source_module, "track_face", track)
        patch.setattr(source_module, "align_track", align)


def test_positions_run_forth_and_back_over_the_source(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched(monkeypatch)
    source = SourceFace(Path("v.mp4"), "detector", max_frames=7)  # type: ignore[arg-type]
    (reader,) = watched.readers
    assert watched.calls == [(7, "detector", [0, 4]), [0, 4]]
    assert reader.runs[:1] == [(0, 7)]
    reader.runs.clear()
    found = source.read(3, 10)
    numbers = [3, 4, 5, 6, 5, 4, 3]
    assert [int(frame.frame[0, 0, 0]) for frame in found] == numbers
    assert [frame.matrix[0, 0] for frame in found] == numbers
    assert [frame.has_face for frame in found] == [True] * 7
    assert all(type(frame.has_face) is bool for frame in found)
    assert reader.runs == [(3, 7)]
    assert [frame.has_face for frame in source.read(0, 3)] == [False, False, True]
    assert reader.closed == 0
    source.close()
    assert reader.closed == 1


def test_a_short_source_is_tracked_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched(monkeypatch)
    for max_frames in (None, 100):
        SourceFace(Path("v.mp4"), "detector", max_frames=max_frames)  # type: ignore[arg-type]
        assert watched.calls[-2][0] == 9


def test_a_source_without_a_face_gives_its_file_back(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched(monkeypatch, face=False)
    with pytest.raises(BadInputError, match="no face was found in any of the 9 frames"):
        SourceFace(Path("v.mp4"), "detector")  # type: ignore[arg-type]
    assert watched.readers[0].closed == 1


def test_files_that_must_be_and_must_not_be(tmp_path: Path) -> None:
    video, audio = tmp_path / "v.mp4", tmp_path / "a.wav"
    for path in (video, audio):
        path.write_bytes(b"x")
    pipe = tmp_path / "pipe.wav"
    os.mkfifo(pipe)
    output = tmp_path / "out.MP4"
    check_files(video, audio, output)
    output.write_bytes(b"an earlier run")
    check_files(video, audio, output)
    for source, sound, target, words in (
        (tmp_path / "no.mp4", audio, output, "no.mp4 does not exist"),
        (tmp_path, audio, output, "is a folder, and a file is wanted"),
        (video, pipe, output, "pipe.wav is a pipe, a socket or a device, and a regular file is wanted"),
        (video, tmp_path / "no.wav", output, "no.wav does not exist"),
        (video, audio, video, "v.mp4: the output would overwrite an input"),
        (video, audio, audio, "a.wav: the output would overwrite an input"),
        (video, audio, tmp_path / "out.mkv", "must be an .mp4 file"),
        (video, audio, tmp_path / "none" / "out.mp4", "none does not exist or is not a folder"),
        (video, audio, video / "out.mp4", "is not a folder"),
    ):
        with pytest.raises(BadInputError, match=words):
            check_files(source, sound, target)


def test_a_value_that_is_no_number_stops_the_chunk() -> None:
    good = torch.ones(2, 3)
    generators._require_numbers("m", 4, good, good)
    for value in (math.nan, math.inf, -math.inf):
        bad = good.clone()
        bad[1, 2] = value
        for results in ((good, bad), (bad, good)):
            with pytest.raises(generators.IncompatibleCheckpointError, match=r"m: gave values .* in chunk 4"):
                generators._require_numbers("m", 4, *results)


def test_masks_of_pixels_and_of_latents() -> None:
    half = np.zeros((256, 256), np.uint8)
    half[:, :100] = 255
    for source in (None, half):
        pixels, latents = generators._masks(128, torch.device("cpu"), source)
        np.testing.assert_array_equal(pixels, keep_mask(128, source))
        np.testing.assert_array_equal(latents, latent_keep_mask(16, 16, source))


def test_pixels_are_clamped_and_rounded() -> None:
    line = torch.tensor([-1.0, -0.5, 0.0, 0.2, 1.0, -1.5, 1.2, 1.9 / 127.5 - 1])
    video = torch.stack([line, -line, line])[None, :, :, None, None]
    got = generators.to_pixels(video)
    assert (got.shape, got.dtype, got.flags.c_contiguous) == ((8, 1, 1, 3), np.uint8, True)
    assert got[:, 0, 0, 0].tolist() == [0, 64, 128, 153, 255, 0, 255, 2]
    assert got[0, 0, 0].tolist() == [0, 255, 0]
    faces = np.arange(2 * 2 * 4 * 3, dtype=np.uint8).reshape(2, 2, 4, 3)
    unit = generators.to_model_range(faces)
    assert (unit.shape, unit.dtype) == ((1, 3, 2, 2, 4), torch.float32)
    assert float(unit[0, 2, 1, 1, 3]) == pytest.approx(47 / 127.5 - 1)


def test_the_noise_of_a_chunk_is_a_frozen_function_of_seed_and_number() -> None:
    """Finished work holds these numbers: with others a seed would mean another video."""
    drawn = [
        int(torch.randint(2**31, (), generator=generators.chunk_rng(*key)))
        for key in ((42, 0), (42, 1), (7, 3))
    ]
    assert drawn == [569878804, 668335428, 944045554]
