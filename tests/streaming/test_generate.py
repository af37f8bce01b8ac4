"""Files in, file out: lengths, untouched pixels, ping-pong, determinism, and refusals."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lipforcing_core.base import products
from lipforcing_core.base.errors import BadInputError, MediaError
from lipforcing_core.base.products import StepStore, content_key, file_sha256, read_json
from lipforcing_core.media.decode import read_audio, read_frames
from lipforcing_core.media.probe import probe
from lipforcing_core.runtime.bundle import Bundle
from lipforcing_core.streaming.clock import ChunkClock
from lipforcing_core.streaming.generate import GenerationReport, generate_video
from lipforcing_core.streaming.generators import ChunkInput, load_generator
from tasks.generation import VERSION, GenerationJob, generate_step
from tests.streaming.helpers import FixedFace, texture, write_speech, write_video


def _generate(bundle: Bundle, folder: Path, video: Path, audio: Path, **options: Any) -> GenerationReport:
    return generate_video(
        video,
        audio,
        folder / options.pop("name", "out.mp4"),
        generator=load_generator(bundle),
        audio_encoder=bundle.audio_encoder,
        detector=FixedFace(),
        **options,
    )


@pytest.mark.parametrize(("seconds", "frames"), [(0.04, 1), (0.36, 9), (1.16, 29), (2.019, 50)])
def test_length_follows_the_audio(student: Bundle, tmp_path: Path, seconds: float, frames: int) -> None:
    video = write_video(tmp_path / "v.mp4", texture(30))
    audio = write_speech(tmp_path / "a.wav", seconds)
    report = _generate(student, tmp_path, video, audio)
    assert report.num_frames == frames
    assert len(read_frames(report.output)) == frames
    assert abs(len(read_audio(report.output)) / 640 - frames) < 1
    assert sum(chunk.num_frames for chunk in report.ledger.chunks) == frames


def test_only_the_mouth_region_changes(student: Bundle, tmp_path: Path) -> None:
    frames = texture(20)
    video = write_video(tmp_path / "v.mp4", frames)
    report = _generate(student, tmp_path, video, write_speech(tmp_path / "a.wav", 0.8))
    out, source = read_frames(report.output).astype(int), read_frames(video).astype(int)
    difference = np.abs(out - source).mean(axis=(0, 3))
    assert difference[:40].mean() < 6.0  # above the face: only the encoder's loss
    assert difference[100:140, 70:122].mean() > 15.0


def test_a_short_source_is_ping_ponged(student: Bundle, tmp_path: Path) -> None:
    frames = texture(6)
    video = write_video(tmp_path / "v.mp4", frames)
    report = _generate(student, tmp_path, video, write_speech(tmp_path / "a.wav", 0.6))
    out = read_frames(report.output)[:, :32].astype(int)
    expected = read_frames(video)[[0, 1, 2, 3, 4, 5, 4, 3, 2, 1, 0, 1, 2, 3, 4]][:, :32].astype(int)
    assert np.abs(out - expected).mean() < 6.0  # a frame too early or late differs by far more


def test_frames_without_a_face_pass_through(student: Bundle, tmp_path: Path) -> None:
    frames = texture(75)
    frames[30:] = 0
    report = _generate(
        student, tmp_path, write_video(tmp_path / "v.mp4", frames), write_speech(tmp_path / "a.wav", 3)
    )
    assert 35 <= report.num_passed_through <= 45
    assert read_frames(report.output)[-20:].mean() < 2


def test_same_seed_same_file_other_seed_other_file(student: Bundle, tmp_path: Path) -> None:
    video, audio = write_video(tmp_path / "v.mp4", texture(9)), write_speech(tmp_path / "a.wav", 0.5)
    for name, seed in (("a.mp4", 1), ("b.mp4", 1), ("c.mp4", 2)):
        _generate(student, tmp_path, video, audio, seed=seed, name=name)
    a, b, c = (file_sha256(tmp_path / name) for name in ("a.mp4", "b.mp4", "c.mp4"))
    assert a == b
    assert a != c


def test_the_teacher_works_in_windows(teacher: Bundle, tmp_path: Path) -> None:
    video = write_video(tmp_path / "v.mp4", texture(40))
    report = _generate(teacher, tmp_path, video, write_speech(tmp_path / "a.wav", 1.6))
    assert [chunk.num_frames for chunk in report.ledger.chunks] == [33, 7]


def test_the_output_says_that_it_is_synthetic(student: Bundle, tmp_path: Path) -> None:
    video, audio = write_video(tmp_path / "v.mp4", texture(9)), write_speech(tmp_path / "a.wav", 0.4)
    report = _generate(student, tmp_path, video, audio)
    sidecar = read_json(tmp_path / "out.mp4.provenance.json")
    assert sidecar["synthetic"] is True
    assert sidecar["source_sha256"] == file_sha256(video)
    assert sidecar["output_sha256"] == file_sha256(report.output)
    assert sidecar["model_id"] == student.model_id
    assert b"Synthetic video" in report.output.read_bytes()
    assert probe(report.output).has_audio


def test_progress_reaches_the_end(student: Bundle, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    video, audio = write_video(tmp_path / "v.mp4", texture(9)), write_speech(tmp_path / "a.wav", 1)
    _generate(student, tmp_path, video, audio, on_progress=lambda done, total: seen.append((done, total)))
    assert seen == [(9, 25), (21, 25), (25, 25)]


def test_unusable_inputs_leave_nothing_behind(student: Bundle, tmp_path: Path) -> None:
    video, audio = write_video(tmp_path / "v.mp4", texture(9)), write_speech(tmp_path / "a.wav", 0.4)
    junk = tmp_path / "junk.mp4"
    junk.write_bytes(b"not a video")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(BadInputError, match="does not exist"):
        _generate(student, tmp_path, tmp_path / "none.mp4", audio)
    with pytest.raises(MediaError, match=r"junk\.mp4"):
        _generate(student, tmp_path, junk, audio)
    with pytest.raises(MediaError, match="no sound"):
        _generate(student, tmp_path, video, video)
    with pytest.raises(BadInputError, match="overwrite"):
        _generate(student, tmp_path, video, audio, name="v.mp4")
    black = write_video(tmp_path / "black.mp4", np.zeros((9, 192, 192, 3), np.uint8))
    with pytest.raises(BadInputError, match="no face"):
        _generate(student, tmp_path, black, audio)
    assert sorted(tmp_path.iterdir()) == sorted([*before, black])


def test_the_key_of_an_embedded_step_is_that_of_its_files(
    student_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Folders, weights that it does not read and names are left out, so that finished steps stay finished."""
    monkeypatch.setattr("lipforcing_core.faces.detectors.catalogue.load_detector", lambda *_: FixedFace())
    video, audio = write_video(tmp_path / "v.mp4", texture(9)), write_speech(tmp_path / "a.wav", 0.2)
    job = GenerationJob(name="x", video=video, audio=audio, bundle=student_folder, weights=tmp_path / "none")
    made = generate_step(job, store=StepStore(tmp_path / "steps"))
    parts = [student_folder / name for name in ("model.safetensors", "codec.safetensors", "preset.json")]
    hashes = [file_sha256(path) for path in (video, audio, *parts)]
    assert made.report.output.parent.name == content_key(VERSION, hashes, 42, "lbp", 1)


def test_steps_hash_a_file_once(
    student_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sources, models and detectors that many jobs share are read once; a file that changed is read again."""
    read: list[Path] = []
    monkeypatch.setattr(products, "file_sha256", lambda path, _: read.append(path) or file_sha256(path))
    monkeypatch.setattr("lipforcing_core.faces.detectors.catalogue.load_detector", lambda *_: FixedFace())
    video, audio = write_video(tmp_path / "v.mp4", texture(9)), write_speech(tmp_path / "a.wav", 0.2)
    bundle = shutil.copytree(student_folder, tmp_path / "bundle")
    (tmp_path / "detector.onnx").write_bytes(b"graph")
    job = GenerationJob(
        name="x",
        video=video,
        audio=audio,
        bundle=bundle,
        detector="scrfd",
        detector_model=tmp_path / "detector.onnx",
    )
    store = StepStore(tmp_path / "steps")
    first = generate_step(job, store=store)
    shared = [
        *(video, audio, tmp_path / "detector.onnx"),
        *(bundle / name for name in ("model.safetensors", "codec.safetensors", "preset.json")),
    ]
    assert sorted(read) == sorted(shared)
    assert generate_step(job, store=store).report == first.report
    generate_step(replace(job, seed=1), store=store)
    assert sorted(read) == sorted(shared)
    write_speech(audio, 0.24)
    assert generate_step(job, store=store).report.num_frames == first.report.num_frames + 1
    assert sorted(read) == sorted([*shared, audio])


class WholeClipEncoder:
    """Features of frame i of n: i and n, so that it shows how many frames each run had."""

    backend_id = "whole-clip"
    feature_dim = 320
    lookahead_s = math.inf

    def __init__(self) -> None:
        self.runs: list[tuple[int, int]] = []

    def encode(self, waveform: np.ndarray, num_frames: int) -> np.ndarray:
        return self.encode_range(waveform, 0, num_frames)

    def encode_range(self, waveform: np.ndarray, start: int, stop: int) -> np.ndarray:
        self.runs.append((start, stop))
        rows_F1 = np.arange(start, stop, dtype=np.float32)[:, None]
        return np.concatenate([rows_F1, np.full((stop - start, 319), stop, np.float32)], axis=1)


class Recorder:
    """A generator in chunks of 9 and 12 that returns the faces and keeps the features."""

    model_id, size, mask = "recorder", 64, None

    def __init__(self) -> None:
        self.features: list[np.ndarray] = []

    def plan(self, num_frames: int) -> list[int]:
        return [9] + [12] * -(-(num_frames - 9) // 12)

    def reset(self, seed: int) -> None: ...

    def generate(self, chunk: ChunkInput, clock: ChunkClock) -> np.ndarray:
        self.features.append(chunk.audio_FD)
        return chunk.faces

    def commit(self, clock: ChunkClock) -> None: ...


def test_an_encoder_of_whole_clips_runs_once_for_all_chunks(tmp_path: Path) -> None:
    """25 frames of sound, 33 planned: a second run for the last chunk would have another length."""
    encoder, generator = WholeClipEncoder(), Recorder()
    report = generate_video(
        write_video(tmp_path / "v.mp4", texture(9)),
        write_speech(tmp_path / "a.wav", 1),
        tmp_path / "out.mp4",
        generator=generator,
        audio_encoder=encoder,
        detector=FixedFace(),
    )
    assert report.num_frames == 25
    assert encoder.runs == [(0, 33)]
    assert [len(part) for part in generator.features] == [9, 12, 12]
    features_FD = np.concatenate(generator.features)
    assert np.array_equal(features_FD[:, 0], np.arange(33))
    assert (features_FD[:, 1] == 33).all()
    assert report.ledger.setup_s["audio features"] >= 0
