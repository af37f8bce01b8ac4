"""The benchmark of window attention on a small model: both ways are timed on the same numbers and agree."""

from __future__ import annotations

import pytest
import torch

from benchmarks.window_attention import measure
from lipforcing_core.models.causal import WindowConfig
from tests.models.tiny import tiny_config


def compare(device: str, dim: int) -> dict[str, object]:
    return measure(
        tiny_config(dim=dim),
        WindowConfig(),
        num_latents=9,
        side=8,
        device=torch.device(device),
        positions="window",
        repeats=2,
    )


def test_both_ways_are_timed_and_agree() -> None:
    result = compare("cpu", dim=24)
    samples = result["samples_ms"]
    assert isinstance(samples, dict)
    assert {way: len(values) for way, values in samples.items()} == {"groups": 2, "mask": 2}
    assert result["tokens"] == 9 * 4 * 4
    assert isinstance(result["largest_relative_difference"], float)
    assert result["largest_relative_difference"] < 1e-5
    assert result["mask_peak_gb"] is None


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_both_ways_agree_on_a_gpu() -> None:
    result = compare("cuda", dim=128)
    assert isinstance(result["largest_relative_difference"], float)
    assert result["largest_relative_difference"] < 0.02
    assert isinstance(result["mask_peak_gb"], float)
