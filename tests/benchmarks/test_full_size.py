"""The benchmark of full-size students, on a small one: it runs the real path and its parts add up."""

from __future__ import annotations

import pytest
import torch

from benchmarks.full_size import measure, random_network
from lipforcing_core.models.causal import CausalStudent
from lipforcing_core.models.codecs.taehv import TaehvConfig
from lipforcing_core.models.codecs.wan_vae import WanVAEConfig
from lipforcing_core.presets import Preset, load_preset

SMALL = {
    "dim": 48,
    "ffn_dim": 64,
    "num_heads": 2,
    "num_layers": 4,
    "text_len": 8,
    "text_dim": 16,
    "audio_dim": 24,
}


@pytest.fixture
def small_preset() -> Preset:
    preset = load_preset("1.3b")
    video = preset.video.model_copy(update={"size": 64})
    return preset.model_copy(update={"video": video, "model": preset.model.model_copy(update=SMALL)})


def test_parts_add_up(small_preset: Preset) -> None:
    result = measure(
        small_preset,
        torch.device("cpu"),
        repeats=2,
        vae=WanVAEConfig(dim=8),
        tiny=TaehvConfig(encoder_width=8, decoder_widths=(8, 8, 8, 8)),
    )
    samples = result["samples_ms"]
    assert isinstance(samples, dict)
    assert set(samples) == {"denoising_call", "encode", "conditions", "denoise", "decode", "store"}
    assert all(len(values) == 2 and min(values) > 0 for values in samples.values())
    chunks = [sum(samples[part][i] for part in samples if part != "denoising_call") for i in range(2)]
    assert result["chunk_ms"] == pytest.approx(sum(chunks) / 2, abs=0.01)
    assert result["dtype"] == "float32"
    assert result["peak_memory_gb"] is None


@pytest.mark.parametrize("name", ["1.3b", "14b"])
def test_full_size_students_are_made_without_the_host(name: str) -> None:
    """On the meta device, where memory is none: types and rotary tables as they would be on a GPU."""
    preset = load_preset(name)
    student = random_network(
        lambda: CausalStudent(preset.model.config(), preset.window.config()),
        torch.device("meta"),
        torch.bfloat16,
    )
    assert {p.dtype for p in student.parameters()} == {torch.bfloat16}
    assert {b.dtype for b in student.rope.buffers()} == {torch.float32}


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["1.3b", "14b"])
def test_a_full_size_student_runs_on_a_gpu(name: str) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    result = measure(load_preset(name), torch.device("cuda"), repeats=2)
    assert result["dtype"] == "bfloat16"
    assert isinstance(result["peak_memory_gb"], float)
    assert result["peak_memory_gb"] > 2
