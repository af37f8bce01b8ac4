"""Making a base: the same bytes from the same settings, also after a kill; the shipped one has learned something."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.models.bases.catalogue import BASES
from lipforcing_core.models.codecs.block import BlockCodec
from lipforcing_core.models.wan import WanTransformer
from lipforcing_core.presets import Preset, load_preset
from lipforcing_core.runtime.encoders import load_audio_encoder, load_text_encoder
from lipforcing_core.runtime.prompts import encode_prompts
from lipforcing_core.training import base_corpus
from lipforcing_core.training.base_checkpoint import make_base
from lipforcing_core.training.base_corpus import BaseCorpusSettings, draw_performance, make_base_corpus
from lipforcing_core.training.dataset import Batch, LatentWindows, encode_frames
from lipforcing_core.training.initial import start_at_reference
from tests.training.conftest import tiny_preset

pytestmark = pytest.mark.timeout(600)  # puppets are drawn
SETTINGS = BaseCorpusSettings(seed=5, num_clips=2, num_frames=25)


@pytest.fixture
def preset() -> Preset:
    """Four steps of a tiny network at 64 px."""
    return tiny_preset()


@pytest.fixture(autouse=True)
def _drawn_once(monkeypatch: pytest.MonkeyPatch, drawn: dict[tuple[object, ...], object]) -> None:
    """A performance is drawn once for all tests of this file."""

    def remembered(seed: int, index: int, *, num_frames: int, size: int) -> object:
        key = (seed, index, num_frames, size)
        if key not in drawn:
            drawn[key] = draw_performance(seed, index, num_frames=num_frames, size=size)
        return drawn[key]

    monkeypatch.setattr(base_corpus, "draw_performance", remembered)


@pytest.fixture(scope="module")
def drawn() -> dict[tuple[object, ...], object]:
    return {}


def test_the_same_settings_give_the_same_bytes_and_another_seed_others(
    preset: Preset, tmp_path: Path
) -> None:
    one, two = (make_base(preset, SETTINGS, tmp_path / name) for name in ("one", "two"))
    other = make_base(preset, replace(SETTINGS, seed=6), tmp_path / "other")
    assert (one.model_sha256, one.codec_sha256) == (two.model_sha256, two.codec_sha256)
    assert other.model_sha256 != one.model_sha256
    assert other.codec_sha256 != one.codec_sha256
    assert one.num_steps == 4
    assert (tmp_path / "one" / "result.json").is_file()


def test_a_killed_run_goes_on_where_it_was(
    preset: Preset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = make_base(preset, SETTINGS, tmp_path / "whole")

    class Killed(Exception):
        pass

    def kill(at: tuple[str, int]) -> None:
        def watch(stage: str, done: int, total: int) -> None:
            if (stage, done) == at:
                raise Killed

        with pytest.raises(Killed):
            make_base(preset, SETTINGS, tmp_path / "killed", watch)

    kill(("draw", 1))
    kill(("train", 3))
    seen: list[tuple[str, int]] = []
    resumed = make_base(
        preset, SETTINGS, tmp_path / "killed", lambda stage, done, total: seen.append((stage, done))
    )
    assert resumed.model_sha256 == whole.model_sha256
    assert [done for stage, done in seen if stage == "train"] == [3, 4], "a state is written every two steps"


def test_a_folder_of_another_corpus_is_refused(preset: Preset, tmp_path: Path) -> None:
    make_base_corpus(SETTINGS, preset, tmp_path)
    with pytest.raises(BadInputError, match="corpus of other settings"):
        make_base_corpus(replace(SETTINGS, num_clips=1), preset, tmp_path)


def test_what_cannot_be_trained_is_said_first(preset: Preset, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"has no \[base\] section"):
        make_base(preset.model_copy(update={"base": None}), SETTINGS, tmp_path / "a")
    with pytest.raises(BadInputError, match="downloaded codec"):
        make_base_corpus(SETTINGS, load_preset("1.3b"), tmp_path / "b")
    with pytest.raises(BadInputError, match="hold no training window of 21"):
        make_base_corpus(replace(SETTINGS, num_frames=20), preset, tmp_path / "c")
    with pytest.raises(BadInputError, match="at least one clip"):
        replace(SETTINGS, num_clips=0)
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def held_out(tmp_path_factory: pytest.TempPathFactory) -> LatentWindows:
    """Windows of two performances that no base was trained on, encoded by the shipped codec."""
    preset, folder = load_preset("nano"), tmp_path_factory.mktemp("held-out")
    for index in range(2):
        faces, waveform = draw_performance(77, index, num_frames=49, size=preset.video.size)
        encode_frames(
            faces,
            waveform,
            folder / f"{index}.safetensors",
            clip_id=str(index),
            codec=BlockCodec.load(BASES["nano-base"].codec_file),
            audio_encoder=load_audio_encoder(preset),
            video=preset.video,
        )
    return LatentWindows(sorted(folder.iterdir()), preset.video)


def test_the_shipped_base_denoises_what_it_has_not_seen_and_hears(held_out: LatentWindows) -> None:
    preset = load_preset("nano")
    assert preset.base is not None
    base = WanTransformer(preset.model.config())
    load_base(base)
    start = start_at_reference(WanTransformer(preset.model.config()), preset.base.seed)
    batch = held_out.batch(6, 0, 0)
    silent = batch.silenced(torch.ones(6, dtype=torch.bool))
    learned, untrained, deaf = (_loss(m, b) for m, b in ((base, batch), (start, batch), (base, silent)))
    assert learned < 0.3 * untrained
    assert learned < 0.9 * deaf
    assert np.isfinite(learned)


def load_base(model: WanTransformer) -> None:
    """Fill a network with the shipped weights."""
    from lipforcing_core.training.model_file import load_model

    load_model(model, BASES["nano-base"].model_file)


@torch.no_grad()
def _loss(model: WanTransformer, batch: Batch) -> float:
    """Mean squared error of the velocity inside the mouth mask, over levels from 0.2 to 0.98; fixed noise."""
    from lipforcing_core.diffusion.schedule import add_noise

    preset = load_preset("nano")
    prompts = encode_prompts(load_text_encoder(preset), preset.schedule.prompt)
    noise = torch.randn(batch.latents_BCTHW.shape, generator=torch.Generator().manual_seed(1))
    t_B = torch.linspace(0.2, 0.98, len(noise), dtype=torch.float64)
    encoded = model.encode_conditions(batch.conditions(prompts.text_BLD))
    velocity = model(add_noise(batch.latents_BCTHW, noise, t_B), t_B, encoded)
    error = (velocity - (noise - batch.latents_BCTHW)).square()
    return float(error[..., batch.keep_mask_HW < 0.5].mean())
