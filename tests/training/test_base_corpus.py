"""The corpus of a base: what is drawn for it, what is made once, and what is noted about it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.products import content_key, file_sha256
from lipforcing_core.faces import align, track
from lipforcing_core.faces.detectors import catalogue as detectors
from lipforcing_core.models.codecs import catalogue as codecs
from lipforcing_core.models.codecs.block import BlockCodec
from lipforcing_core.presets import Preset
from lipforcing_core.puppets import recording
from lipforcing_core.puppets.portraits import portrait_names
from lipforcing_core.puppets.recording import RENDER_VERSION, ClipPlan
from lipforcing_core.training import base_checkpoint, base_corpus
from lipforcing_core.training.base_checkpoint import make_base
from lipforcing_core.training.base_corpus import BaseCorpusSettings, draw_performance, make_base_corpus
from tests.training.conftest import make_clip, tiny_preset

SETTINGS = BaseCorpusSettings(seed=7, num_clips=3, num_frames=33)


@pytest.fixture
def preset() -> Preset:
    return tiny_preset()


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int, int, int]]:
    """Performances are beating grey fields, a different one for every index; takes note of what is asked for."""
    asked: list[tuple[int, int, int, int]] = []

    def draw(seed: int, index: int, *, num_frames: int, size: int) -> tuple[np.ndarray, np.ndarray]:
        asked.append((seed, index, num_frames, size))
        return make_clip(index, num_frames)

    monkeypatch.setattr(base_corpus, "draw_performance", draw)
    return asked


class Plain:
    """A recording of three frames whose every pixel is 20, 40 or 60, and a sound of ones."""

    plans: list[ClipPlan]

    def __init__(self, plan: ClipPlan) -> None:
        self.plans.append(plan)

    def frames(self) -> Iterable[np.ndarray]:
        return (np.full((320, 320, 3), value, dtype=np.uint8) for value in (20, 40, 60))

    def waveform(self) -> np.ndarray:
        return np.ones(3 * 640, dtype=np.float32)


def test_a_performance_is_a_puppet_seen_by_the_embedded_detector(monkeypatch: pytest.MonkeyPatch) -> None:
    """The seeds are part of the recipe of the shipped base; portraits come in turn."""
    asked: list[Any] = []

    class Alignment:
        usable_F = np.array([True, True, True])
        matrices_F23 = np.arange(3)

    def warp(frame: np.ndarray, matrix: int) -> np.ndarray:
        """A crop of two halves: stripes that are half of the frame, and ten times the number of its matrix."""
        crop = np.full((128, 128, 3), frame[0, 0, 0], dtype=np.uint8)
        crop[:, 1::4] = crop[:, 2::4] = 0
        crop[:, 64:] = 10 * matrix
        return crop

    def follow(frames: Iterable[np.ndarray], detector: str, *, shot_starts: list[int]) -> str:
        asked.append((len(list(frames)), detector, shot_starts))
        return "track"

    def aligned(found: str, *, shot_starts: list[int]) -> Alignment:
        asked.append((found, shot_starts))
        return Alignment()

    monkeypatch.setattr(Plain, "plans", [], raising=False)
    monkeypatch.setattr(recording, "Recording", Plain)
    monkeypatch.setattr(detectors, "load_detector", lambda name: f"detector {name}")
    monkeypatch.setattr(track, "track_face", follow)
    monkeypatch.setattr(align, "align_track", aligned)
    monkeypatch.setattr(align, "warp_face", warp)
    names = portrait_names()
    for index in (0, 1, len(names) + 1):
        faces, waveform = draw_performance(2026, index, num_frames=50, size=32)
    assert asked == [(3, "detector lbp", [0]), ("track", [0])] * 3
    assert faces.shape == (3, 32, 32, 3)
    assert faces.dtype == np.uint8
    assert faces[:, 5, 15].tolist() == [[10] * 3, [20] * 3, [30] * 3], "the mean of an area, stripes and all"
    assert faces[:, 5, 16].tolist() == [[0] * 3, [10] * 3, [20] * 3]
    assert waveform.tolist() == [1.0] * (3 * 640)
    assert [plan.kind for plan in Plain.plans] == ["base"] * 3
    assert [plan.seed for plan in Plain.plans] == [2026] * 3
    scripts = [shot.script for plan in Plain.plans for shot in plan.shots]
    assert [script.portrait for script in scripts] == [names[0], names[1], names[1]]
    assert {(script.num_frames, script.size) for script in scripts} == {(50, 320)}
    speeches = [shot.speech_seed for plan in Plain.plans for shot in plan.shots]
    assert [script.seed for script in scripts[:2]] == [989803726, 652048718]
    assert speeches[:2] == [1564577390, 983138232]
    assert len({script.seed for script in scripts} | set(speeches)) == 6
    monkeypatch.setattr(Alignment, "matrices_F23", np.arange(2))
    with pytest.raises(ValueError, match="shorter"):
        draw_performance(2026, 0, num_frames=50, size=32)


def test_a_corpus_is_clips_a_codec_and_windows(
    preset: Preset, drawn: list[tuple[int, int, int, int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted: list[tuple[str, list[np.ndarray], dict[str, Any]]] = []
    really_fit = codecs.fit_codec

    def fit(name: str, clips: Iterable[np.ndarray], settings: dict[str, Any]) -> Any:
        fitted.append((name, list(clips), settings))
        return really_fit(name, fitted[-1][1], settings)

    monkeypatch.setattr(codecs, "fit_codec", fit)
    seen: list[tuple[int, int]] = []
    corpus = make_base_corpus(SETTINGS, preset, tmp_path, lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert drawn == [(7, index, 33, 64) for index in range(3)]
    ((name, firsts, settings),) = fitted
    assert preset.codec is not None
    assert (name, settings) == (preset.backends.codec, preset.codec.model_dump())
    for index, first in enumerate(firsts):
        np.testing.assert_array_equal(first, make_clip(index, 33)[0][:24])
    assert len(firsts) == 3
    assert corpus.codec_file == tmp_path / "codec.safetensors"
    assert BlockCodec.load(corpus.codec_file).latent_channels == 16
    assert corpus.windows == tuple(tmp_path / "windows" / f"clip_00{n}.safetensors" for n in range(3))
    for index, path in enumerate(corpus.windows):
        stored = load_file(path)
        assert stored["starts"].tolist() == [0, 12]
        np.testing.assert_array_equal(stored["waveform"].numpy(), make_clip(index, 33)[1])
        assert stored["latents"].shape == (2, 16, 6, 8, 8)
    assert sorted(path.name for path in (tmp_path / "clips").iterdir()) == [
        f"clip_00{n}.npz" for n in range(3)
    ]


def test_what_is_there_is_not_made_again_and_what_is_missing_is(
    preset: Preset, drawn: list[tuple[int, int, int, int]], tmp_path: Path
) -> None:
    corpus = make_base_corpus(SETTINGS, preset, tmp_path)
    files = [corpus.codec_file, *corpus.windows, *(tmp_path / "clips").iterdir()]
    before = {path: path.stat().st_mtime_ns for path in files}
    drawn.clear()
    assert make_base_corpus(SETTINGS, preset, tmp_path) == corpus
    assert not drawn
    assert {path: path.stat().st_mtime_ns for path in files} == before
    digests = {path: file_sha256(path) for path in files}
    for lost in (corpus.windows[1], tmp_path / "clips" / "clip_002.npz"):
        lost.unlink()
    make_base_corpus(SETTINGS, preset, tmp_path)
    assert drawn == [(7, 2, 33, 64)]
    assert {path: file_sha256(path) for path in corpus.windows} == {
        path: digests[path] for path in corpus.windows
    }
    again = [path for path in files if path.stat().st_mtime_ns != before[path]]
    assert sorted(path.name for path in again) == ["clip_001.safetensors", "clip_002.npz"]


def _smaller_windows(preset: Preset) -> Preset:
    return preset.model_copy(update={"video": preset.video.model_copy(update={"window_frames": 9})})


def _other_codec(preset: Preset) -> Preset:
    assert preset.codec is not None
    return preset.model_copy(update={"codec": preset.codec.model_copy(update={"whitening": 1.0})})


def _other_audio(preset: Preset) -> Preset:
    return preset.model_copy(update={"backends": preset.backends.model_copy(update={"audio": "wav2vec2"})})


@pytest.mark.usefixtures("drawn")
def test_a_folder_belongs_to_one_recipe(
    preset: Preset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_base_corpus(SETTINGS, preset, tmp_path)
    note = json.loads((tmp_path / "corpus.json").read_text())
    recipe = content_key(1, RENDER_VERSION, SETTINGS, preset.video, preset.codec, preset.backends, 2)
    assert note == {"recipe": recipe}, (
        "the references of so short clips are partial since version 2 of the plan"
    )
    for other in (_smaller_windows(preset), _other_codec(preset), _other_audio(preset)):
        with pytest.raises(BadInputError, match="corpus of other settings"):
            make_base_corpus(SETTINGS, other, tmp_path)
    for settings in (replace(SETTINGS, num_frames=34), replace(SETTINGS, seed=8)):
        with pytest.raises(BadInputError, match="corpus of other settings"):
            make_base_corpus(settings, preset, tmp_path)
    monkeypatch.setattr(base_corpus, "RENDER_VERSION", base_corpus.RENDER_VERSION + 1)
    with pytest.raises(BadInputError, match="corpus of other settings"):
        make_base_corpus(SETTINGS, preset, tmp_path)
    assert json.loads((tmp_path / "corpus.json").read_text()) == note


@pytest.mark.usefixtures("drawn")
def test_a_corpus_of_earlier_versions_is_taken_as_it_is(preset: Preset, tmp_path: Path) -> None:
    """Its clips of 57 frames have the same windows at 0, 12, 24, 36 and the same references as ever."""
    settings = BaseCorpusSettings(seed=7, num_clips=2, num_frames=57)
    make_base_corpus(settings, preset, tmp_path)
    recipe = content_key(1, RENDER_VERSION, settings, preset.video, preset.codec, preset.backends)
    assert json.loads((tmp_path / "corpus.json").read_text()) == {"recipe": recipe}


@pytest.mark.usefixtures("drawn")
def test_a_clip_that_cannot_be_read_is_named(preset: Preset, tmp_path: Path) -> None:
    corpus = make_base_corpus(SETTINGS, preset, tmp_path)
    corpus.windows[0].unlink()
    clip = tmp_path / "clips" / "clip_000.npz"
    whole = clip.read_bytes()
    for broken in (b"nonsense", whole[: len(whole) // 2]):
        clip.write_bytes(broken)
        with pytest.raises(BadInputError, match=r"clip_000\.npz cannot be read .*delete it"):
            make_base_corpus(SETTINGS, preset, tmp_path)


@pytest.mark.usefixtures("drawn")
def test_one_clip_and_one_window_are_enough(preset: Preset, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="at least one clip, not 0"):
        BaseCorpusSettings(num_clips=0)
    assert BaseCorpusSettings(num_clips=1) == BaseCorpusSettings(seed=2026, num_clips=1, num_frames=169)
    assert BaseCorpusSettings().num_clips == 48
    with pytest.raises(BadInputError, match="clips of 20 frames hold no training window of 21"):
        make_base_corpus(replace(SETTINGS, num_frames=20), preset, tmp_path)
    corpus = make_base_corpus(replace(SETTINGS, num_frames=21), preset, tmp_path)
    assert load_file(corpus.windows[0])["starts"].tolist() == [0]


@pytest.mark.usefixtures("drawn")
def test_a_base_is_written_with_its_codec_and_what_it_was_made_from(
    preset: Preset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, int, int]] = []
    threads: list[int] = []

    def watch(stage: str, done: int, total: int) -> None:
        seen.append((stage, done, total))
        threads.append(torch.get_num_threads())

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        result = make_base(preset, SETTINGS, tmp_path, watch)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert set(threads) == {1}
    assert seen == [("draw", n + 1, 3) for n in range(3)] + [("train", n + 1, 4) for n in range(4)]
    assert result.model_file == tmp_path / "base.safetensors"
    half, full = load_file(result.model_file), load_file(tmp_path / "base" / "model.safetensors")
    assert half.keys() == full.keys()
    assert all(torch.equal(half[name], full[name].half()) for name in full)
    assert result.codec_file == tmp_path / "base-codec.safetensors"
    assert result.codec_file.read_bytes() == (tmp_path / "codec.safetensors").read_bytes()
    rows = [json.loads(line) for line in (tmp_path / "base" / "metrics.jsonl").read_text().splitlines()]
    losses = [row["value"] for row in rows if row["name"] == "loss"]
    assert result.loss == pytest.approx(sum(losses) / 4)
    assert json.loads((tmp_path / "result.json").read_text()) == {
        "model_sha256": file_sha256(result.model_file),
        "codec_sha256": file_sha256(result.codec_file),
        "num_steps": 4,
        "loss": result.loss,
        "corpus": {"seed": 7, "num_clips": 3, "num_frames": 33},
        "preset": preset.model_dump(mode="json"),
    }


def test_the_loss_of_a_base_is_the_mean_of_its_last_hundred_steps(tmp_path: Path) -> None:
    metrics = tmp_path / "metrics.jsonl"
    rows = [
        {"name": name, "value": value} for n in range(130) for name, value in (("loss", n), ("rate", 1e9))
    ]
    metrics.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert base_checkpoint._last_loss(metrics) == pytest.approx(sum(range(30, 130)) / 100)
