"""A chosen face in generation: what is redrawn, what is written down, and what is refused before a model is needed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.products import StepStore, content_key, file_sha256, read_json
from lipforcing_core.faces.choice import FaceChoice
from lipforcing_core.faces.detectors.protocol import Face
from lipforcing_core.media.decode import read_frames
from lipforcing_core.runtime.bundle import Bundle
from lipforcing_core.streaming.generate import generate_video
from lipforcing_core.streaming.generators import load_generator
from lipforcing_core.streaming.prepared import prepared
from lipforcing_core.streaming.source import SourceFace
from tasks import generation
from tasks.generation import GenerationJob
from tasks.generation_jobs import run_id_of
from tests.streaming.helpers import FixedFace, texture, write_speech, write_video


class TwoFaces:
    """A face of 100 pixels in the left half of a frame that is twice as wide as high, and one of 80 in the right."""

    backend_id = "two"

    def detect(self, frame: np.ndarray) -> list[Face]:
        return [
            Face(box_xyxy=(40.0, 40.0, 140.0, 140.0), score=1.0),
            Face(box_xyxy=(250.0, 60.0, 330.0, 140.0), score=1.0),
        ]


@pytest.fixture
def video(tmp_path: Path) -> Path:
    frames = texture(12)
    return write_video(tmp_path / "v.mp4", np.concatenate([frames, frames[:, :, ::-1]], axis=2))


@pytest.fixture
def audio(tmp_path: Path) -> Path:
    return write_speech(tmp_path / "a.wav", 0.4)


@pytest.mark.parametrize(("choice", "taken"), [(None, 1), ("1", 1), ("2", 2), ("290,100", 2), ("90,90", 1)])
def test_only_the_chosen_face_is_redrawn(
    student: Bundle, tmp_path: Path, video: Path, audio: Path, choice: str | None, taken: int
) -> None:
    report = generate_video(
        video,
        audio,
        tmp_path / "out.mp4",
        generator=load_generator(student),
        audio_encoder=student.audio_encoder,
        detector=TwoFaces(),
        choice=None if choice is None else FaceChoice.parse(choice),
    )
    change = np.abs(read_frames(report.output).astype(int) - read_frames(video)[:10]).mean(axis=(0, 3))
    left, right = change[100:135, 70:110].mean(), change[105:130, 275:305].mean()
    assert (left > 12) == (taken == 1)
    assert (right > 12) == (taken == 2)
    assert min(left, right) < 6
    assert report.num_passed_through == 0
    assert f"{taken} at " in report.several_faces
    sidecar = read_json(tmp_path / "out.mp4.provenance.json")
    assert sidecar["face"] == choice
    assert sidecar["shots"] == [
        {"start": 0, "stop": 10, "boxes_xyxy": [[40, 40, 140, 140], [250, 60, 330, 140]], "taken": taken}
    ]


@pytest.mark.parametrize(("choice", "words"), [("3", "no face number 3"), ("200,90", "no face at 200,90")])
def test_a_face_that_is_not_there_is_refused_with_those_that_are(
    tmp_path: Path, video: Path, audio: Path, choice: str, words: str
) -> None:
    before = sorted(tmp_path.iterdir())
    with (
        pytest.raises(
            BadInputError, match=rf"{words}; .* 1 at 40,40-140,140, 2 at 250,60-330,140 \(x,y of two corners"
        ),
        prepared(video, audio, tmp_path / "o.mp4", detector=TwoFaces(), choice=FaceChoice.parse(choice)),
    ):
        pass
    assert sorted(tmp_path.iterdir()) == before


def test_it_is_refused_before_a_model_is_loaded(
    student_folder: Path, tmp_path: Path, video: Path, audio: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lipforcing_core.faces.detectors.catalogue.load_detector", lambda *_: TwoFaces())
    monkeypatch.setattr(generation, "_bundle", lambda *_: pytest.fail("the model was loaded"))
    job = GenerationJob(name="x", video=video, audio=audio, bundle=student_folder, face=FaceChoice.parse("7"))
    with pytest.raises(BadInputError, match="no face number 7"):
        generation.generate_file(job, tmp_path / "o.mp4")


def test_another_face_is_another_step(
    student_folder: Path, tmp_path: Path, video: Path, audio: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lipforcing_core.faces.detectors.catalogue.load_detector", lambda *_: TwoFaces())
    store = StepStore(tmp_path / "steps")
    made = {
        choice: generation.generate_step(
            GenerationJob(
                name="x",
                video=video,
                audio=audio,
                bundle=student_folder,
                face=None if choice is None else FaceChoice.parse(choice),
            ),
            store=store,
        )
        for choice in (None, "1", "2")
    }
    assert len({one.report.output for one in made.values()}) == 3
    assert made["2"].report.several_faces.endswith("takes another one")
    assert "2 at 250,60-330,140 (taken)" in made["2"].report.several_faces


def test_one_face_leaves_nothing_to_say(tmp_path: Path, audio: Path) -> None:
    video = write_video(tmp_path / "one.mp4", texture(9))
    with prepared(video, audio, tmp_path / "o.mp4", detector=FixedFace()) as ready:
        assert ready.several_faces == ""
        assert ready.face.shots[0].taken == 1


class Framed:
    """A detector that finds a face only where there is a margin around it, as real ones do in a close-up."""

    backend_id = "framed"

    def detect(self, frame: np.ndarray) -> list[Face]:
        if frame.shape[0] == 192:
            return []
        return [Face(box_xyxy=(110.0, 100.0, 280.0, 290.0), score=1.0)]


def test_a_face_that_fills_the_frame_is_found_with_a_margin(tmp_path: Path) -> None:
    """The margin is 96 pixels on each side, so the box reaches from 14, 4 to 184, 194 of the picture."""
    face = SourceFace(write_video(tmp_path / "v.mp4", texture(9)), Framed())
    assert face.shots[0].boxes_xyxy == ((14, 4, 184, 194),)
    assert all(frame.has_face for frame in face.read(0, 9))
    face.close()


def test_a_chosen_face_is_part_of_what_identifies_a_run(
    student_folder: Path, video: Path, audio: Path
) -> None:
    def run_id(face: FaceChoice | None) -> str:
        return run_id_of(GenerationJob(name="x", video=video, audio=audio, bundle=student_folder, face=face))

    first, second = FaceChoice(number=1), FaceChoice(number=2)
    assert len({run_id(None), run_id(first), run_id(second)}) == 3
    hashes = [file_sha256(video), file_sha256(audio), str(student_folder), 42, "lbp", "cpu"]
    assert run_id(None) == f"generate-{content_key(hashes)}"
