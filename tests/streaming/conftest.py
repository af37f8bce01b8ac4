"""Tiny bundles with seeded weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from lipforcing_core.models.causal import CausalStudent
from lipforcing_core.models.codecs.block import BlockCodec
from lipforcing_core.models.wan import WanTransformer
from lipforcing_core.presets import Preset, load_preset
from lipforcing_core.runtime.bundle import Bundle, BundleKind, load_bundle, save_bundle
from tests.streaming.helpers import texture


@pytest.fixture(scope="session")
def preset() -> Preset:
    nano = load_preset("nano").model_dump(mode="json")
    nano["model"] |= {"dim": 48, "ffn_dim": 64, "num_layers": 4, "num_heads": 2}
    nano["schedule"] |= {"num_steps": 4, "sync_window_start": 1, "sync_window_stop": 3}
    return Preset.model_validate(nano)


def _bundle(folder: Path, kind: BundleKind, preset: Preset) -> Path:
    if kind is BundleKind.STUDENT:
        model: WanTransformer = CausalStudent(preset.model.config(), preset.window.config())
    else:
        model = WanTransformer(preset.model.config())
    model.init_weights(0)
    torch.nn.init.normal_(model.head.head.weight, std=0.02, generator=torch.Generator().manual_seed(1))
    save_file(model.state_dict(), folder / "weights.safetensors")
    BlockCodec.fit([texture(16)[:, :128, :128]]).save(folder / "codec.safetensors")
    save_bundle(
        folder / kind.value,
        kind=kind,
        stage="test",
        preset=preset,
        model_file=folder / "weights.safetensors",
        codec_file=folder / "codec.safetensors",
    )
    return folder / kind.value


@pytest.fixture(scope="session")
def student_folder(tmp_path_factory: pytest.TempPathFactory, preset: Preset) -> Path:
    return _bundle(tmp_path_factory.mktemp("student"), BundleKind.STUDENT, preset)


@pytest.fixture(scope="session")
def student(student_folder: Path) -> Bundle:
    return load_bundle(student_folder)


@pytest.fixture(scope="session")
def teacher(tmp_path_factory: pytest.TempPathFactory, preset: Preset) -> Bundle:
    return load_bundle(_bundle(tmp_path_factory.mktemp("teacher"), BundleKind.TEACHER, preset))
