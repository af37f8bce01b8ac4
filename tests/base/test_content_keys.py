"""Content keys that finished work is stored under: frozen, since a key that moves throws users' work away.

``content_keys.json`` was written before the rooms were rearranged. A key that must change (a step that computes
something else) gets a new version in the code and a new line here; where the old result is still right, the old key is
looked up as well.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lipforcing_core.base.products import StepResult, StepStore, content_key, file_sha256
from lipforcing_core.curation import steps
from lipforcing_core.curation.records import SourceFacts
from lipforcing_core.curation.results import Piece, TrackFacts, Undecodable
from lipforcing_core.curation.settings import CurationSettings
from lipforcing_core.curation.sources import SourceFile
from lipforcing_core.curation.wanted import Wanted
from lipforcing_core.metrics.protocol import gt_box_aligned
from lipforcing_core.presets import Preset, load_preset
from lipforcing_core.puppets.corpus import defect_plans, reel_plan
from lipforcing_core.puppets.pairs import pair_plan
from lipforcing_core.sync.experts.catalogue import load_sync_expert
from lipforcing_core.training import latent_files
from lipforcing_core.training.dataset import ClipSource
from tasks import corpus, generation, training
from tasks.corpus import CorpusSize, render_puppets
from tasks.generation import GenerationJob
from tasks.training_keys import Recipe
from tasks.training_sets import TrainingSet, prepare_training_set

FROZEN = json.loads(Path(__file__).with_name("content_keys.json").read_text())
SHA256 = "ab" * 32


class _KeySeen(Exception):
    """Raised instead of doing a step's work."""


class _Recorder(StepStore):
    """Remembers the step and key it is asked for, and does nothing."""

    def __init__(self) -> None:
        super().__init__(Path("/nowhere"))
        self.seen: list[tuple[str, str]] = []
        self.older: list[Sequence[str]] = []

    def run(
        self,
        step: str,
        key: str,
        work: Callable[[Path], Any],
        *,
        resumable: bool = False,
        also: Sequence[str] = (),
    ) -> StepResult:
        self.seen.append((step, key))
        self.older.append(also)
        raise _KeySeen


def _key_of(call: Callable[[_Recorder], object]) -> tuple[str, str]:
    store = _Recorder()
    with pytest.raises(_KeySeen):
        call(store)
    return store.seen[-1]


def _older_of(call: Callable[[_Recorder], object]) -> Sequence[str]:
    """The keys that are looked up after the key of a step."""
    store = _Recorder()
    with pytest.raises(_KeySeen):
        call(store)
    return store.older[-1]


def _named_backend(name: str) -> Any:
    return SimpleNamespace(backend_id=name)


def _read(file: SourceFile, wanted: Wanted, settings: CurationSettings, store: StepStore) -> object:
    return steps.read_source(file, wanted, settings, _named_backend("lbp"), store)


def _heard(store: StepStore, face: steps.CutFace) -> object:
    return steps.heard(replace(face.source, store=store), face.piece, _named_backend("silero"))


def _second_track() -> TrackFacts:
    return TrackFacts(
        number=1,
        detected_fraction=1.0,
        absent_frames=0,
        face_height_px=90.0,
        box_xyxy=(0.0, 0.0, 9.0, 9.0),
        yaw_deg=None,
        lips_outside=0.0,
        repeated=(),
        clip_sha256="",
    )


def _keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, str]]:
    """Every kind of key, by name."""
    settings = CurationSettings()
    changed = CurationSettings(detect_stride=1, clip_crf=20, shot_threshold=3.0)
    ranges = SourceFacts.model_validate({"ranges": "1-7/2; 4-9", "crop": "0 0 9 9 @100"})
    file = SourceFile(path=Path("a.mp4"), name="a.mp4", sha256=SHA256)
    for name, chosen, facts in (
        ("read", settings, SourceFacts()),
        ("read, other settings", changed, SourceFacts()),
        ("read, ranges and crop", settings, ranges),
    ):
        yield name, _key_of(partial(_read, file, Wanted(facts=facts), chosen))[1]
    refused = Undecodable(problem="", decoder_message="", declared_s=None)
    source = steps.ReadSource(file=file, store=_Recorder(), key="read-key", result=refused)
    piece = Piece(start=25, stop=200, shot=0, num_invented=0, tracks=())
    face = steps.CutFace(source=source, piece=piece, track=_second_track())
    yield "face", face.key
    expert = _named_backend("nano@sha256:1")
    for correct in (True, False):
        yield (
            f"sync, correct={correct}",
            _key_of(lambda store, c=correct: steps.synchronised(face, expert, store, correct=c))[1],
        )
    yield "speech", _key_of(lambda store: _heard(store, face))[1]
    yield "quality", _key_of(lambda store: steps.rated(face, _named_backend("piqe"), store))[1]

    yield (
        "puppets",
        _key_of(lambda store: render_puppets.fn(store, 3, CorpusSize(num_reels=2, num_pairs=1)))[1],
    )
    yield "puppet reel", reel_plan(0, 1, size=320).recipe
    yield "puppet pair", pair_plan(0, 1, size=320).recipe
    yield "puppet defect", sorted(plan.recipe for plan in defect_plans(0, size=320).values())[0]

    files = {}
    for name in ("clip.mp4", "clip.wav", "window.safetensors", "model.safetensors", "codec.safetensors"):
        files[name] = tmp_path / name
        files[name].write_bytes(name.encode())
    (tmp_path / "windows").mkdir()
    (tmp_path / "windows" / "a.safetensors").write_bytes(b"window")
    monkeypatch.setattr(
        latent_files, "content_of", lambda path: [file_sha256(path)]
    )  # as of the file of one clip
    preset = load_preset(Path(__file__).with_name("nano_before.toml"))
    clips = [
        ClipSource(clip_id="a", num_frames=125, clip_path=files["clip.mp4"], audio_path=files["clip.wav"])
    ]
    yield from _training_keys(preset, clips, tmp_path)
    monkeypatch.setattr(generation, "_model_hashes", lambda job: ["weights"])
    job = GenerationJob(name="x", video=files["clip.mp4"], audio=files["clip.wav"], bundle=tmp_path, seed=4)
    yield "generate", _key_of(lambda store: generation.generate_step(job, store=store))[1]
    yield "protocol", gt_box_aligned(detector_id="lbp", num_frames=75).id
    yield "preset nano", content_key(preset)
    yield "curation settings", content_key(settings.deciding())
    assert corpus.RENDER_VERSION >= 1


def _training_keys(preset: Preset, clips: list[ClipSource], folder: Path) -> Iterator[tuple[str, str]]:
    """Today's keys of training, and those of stage version 2 ("training set", "teacher", "student", "distilled").

    The latter are looked up where what they stand for has not changed. The preset has a warm-up, which has changed.
    """
    data = TrainingSet(folder=folder)
    steps: dict[str, Callable[[_Recorder], object]] = {
        "training set": lambda store: prepare_training_set.fn(store, clips, preset),
        "teacher": lambda store: training.train_teacher.fn(store, preset, data),
        "student": lambda store: training.pretrain_student.fn(store, preset, data, folder),
        "distilled": lambda store: training.distill_student.fn(store, preset, data, folder, folder, folder),
    }
    for name, step in steps.items():
        yield f"{name}, version 3", _key_of(step)[1]
    (older,) = _older_of(steps["training set"])
    yield "training set", older
    assert not any(_older_of(steps[name]) for name in ("teacher", "student", "distilled"))
    recipe = Recipe(preset=preset, windows=data.windows, num_threads=training.NUM_THREADS)
    model = file_sha256(folder / "model.safetensors")
    yield "teacher", recipe.before("teacher", [])
    yield "student", recipe.before("pretrained", [model])
    reward = load_sync_expert(preset.backends.sync, None).backend_id
    yield "distilled", recipe.before("distilled", [model, model], reward)


def test_older_keys_are_looked_up_where_nothing_has_changed(tmp_path: Path) -> None:
    for name in ("model.safetensors", "codec.safetensors"):
        (tmp_path / name).write_bytes(name.encode())
    values = load_preset(Path(__file__).with_name("nano_before.toml")).model_dump()
    for stage in ("base", "lora", "diffusion_forcing"):
        values[stage]["warmup_steps"] = 0
    preset, data = Preset.model_validate(values), TrainingSet(folder=tmp_path)
    recipe = Recipe(preset=preset, windows=data.windows, num_threads=training.NUM_THREADS)
    model = file_sha256(tmp_path / "model.safetensors")
    teacher = _older_of(lambda store: training.train_teacher.fn(store, preset, data))
    assert teacher == [recipe.before("teacher", [])]
    student = _older_of(lambda store: training.pretrain_student.fn(store, preset, data, tmp_path))
    assert student == [recipe.before("pretrained", [model])]
    changes: list[tuple[str, str, object]] = [
        ("base", "warmup_steps", 1),
        ("lora", "warmup_steps", 1),
        ("lora", "timestep_weighting", "gaussian"),
        ("base", "timestep_weighting", "gaussian"),
        ("lora", "ema_decay", 0.9),
    ]
    for stage, name, value in changes:
        changed = Preset.model_validate(values | {stage: values[stage] | {name: value}})
        assert not _older_of(lambda store, p=changed: training.train_teacher.fn(store, p, data)), (
            stage,
            name,
        )


def test_no_key_has_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert dict(_keys(tmp_path, monkeypatch)) == FROZEN
