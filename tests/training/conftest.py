"""A world small enough to train in a second: tiny clips, a tiny network, the real stages."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from lipforcing_core.models.audio_encoders.log_mel import LogMelEncoder
from lipforcing_core.models.codecs.block import BlockCodec
from lipforcing_core.models.text_encoders.hashed import HashTextEncoder
from lipforcing_core.models.wan import WanTransformer
from lipforcing_core.presets import Preset, load_preset
from lipforcing_core.runtime.prompts import Prompts, encode_prompts
from lipforcing_core.training.dataset import LatentWindows, encode_frames
from lipforcing_core.training.model_file import save_model
from lipforcing_core.training.stages.protocol import StageInputs
from lipforcing_core.training.strategies.one_device import OneDevice
from tests.training.fakes import FakeReward


def tiny_preset() -> Preset:
    """Nano with a network of a few thousand weights, 64 px, 21-frame windows, and four steps a stage."""
    values = load_preset("nano").model_dump()
    del values["base_checkpoint"]  # of another size; the base is trained
    values["video"] |= {"size": 64, "window_frames": 21, "window_stride_frames": 12}
    values["model"] |= {
        "dim": 24, "ffn_dim": 32, "num_heads": 2, "num_layers": 4,
        "freq_dim": 16, "text_dim": 8, "text_len": 4, "audio_hidden": 8,
    }  # fmt: skip
    short = {"steps": 4, "batch_size": 2, "checkpoint_every": 2}
    for stage in ("base", "lora", "diffusion_forcing"):
        values[stage] |= short
    values["lora"]["rank"] = 2
    values["distill"]["student"] |= short | {"steps": 2}
    values["distill"]["critic_per_student"] = 2
    return Preset.model_validate(values)


def make_clip(seed: int, num_frames: int) -> tuple[np.ndarray, np.ndarray]:
    """A grey field whose brightness beats with the loudness of a tone: frames and waveform."""
    rng = np.random.default_rng(seed)
    level = 0.5 + 0.5 * np.sin(np.arange(num_frames) * rng.uniform(0.3, 0.9))
    y, x = np.mgrid[0:64, 0:64] / 64
    picture = 60 + 60 * np.stack([x, y, (x + y) / 2], axis=-1)
    frames = (picture[None] + 60 * level[:, None, None, None]).round().astype(np.uint8)
    tone = np.sin(2 * np.pi * 300 * np.arange(num_frames * 640) / 16_000)
    return frames, (0.5 * np.repeat(level, 640) * tone).astype(np.float32)


def write_clip(
    path: Path, frames: np.ndarray, waveform: np.ndarray, codec: BlockCodec, preset: Preset
) -> int:
    """Latent windows of a clip that is named after its file."""
    return encode_frames(
        frames,
        waveform,
        path,
        clip_id=path.stem,
        codec=codec,
        audio_encoder=LogMelEncoder(),
        video=preset.video,
    )


@pytest.fixture(scope="session")
def preset() -> Preset:
    return tiny_preset()


@pytest.fixture(scope="session")
def codec() -> BlockCodec:
    return BlockCodec.fit(make_clip(seed, 48)[0] for seed in range(2))


@pytest.fixture(scope="session")
def clip_files(preset: Preset, codec: BlockCodec, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("latents")
    paths = []
    for seed in range(3):
        path = folder / f"clip{seed}.safetensors"
        write_clip(path, *make_clip(seed, 57), codec, preset)
        paths.append(path)
    return paths


@pytest.fixture(scope="session")
def data(preset: Preset, clip_files: list[Path]) -> LatentWindows:
    return LatentWindows(clip_files, preset.video)


@pytest.fixture(scope="session")
def prompts(preset: Preset) -> Prompts:
    encoder = HashTextEncoder(text_len=preset.model.text_len, text_dim=preset.model.text_dim)
    return encode_prompts(encoder, preset.schedule.prompt)


@pytest.fixture(scope="session")
def base_path(preset: Preset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that is not at its initial zero output."""
    path = tmp_path_factory.mktemp("base") / "model.safetensors"
    model = WanTransformer(preset.model.config()).init_weights(0)
    torch.nn.init.normal_(model.head.head.weight, std=0.1, generator=torch.Generator().manual_seed(0))
    save_model(OneDevice(), model, path)
    return path


@pytest.fixture(scope="session")
def inputs(data: LatentWindows, prompts: Prompts, base_path: Path) -> StageInputs:
    """What every stage can be run on: all weights are the base's."""
    names = ("base", "teacher", "student", "critic")
    return StageInputs(data=data, prompts=prompts, init=dict.fromkeys(names, base_path), reward=FakeReward())
