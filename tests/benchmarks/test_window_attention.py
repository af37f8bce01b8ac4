"""The benchmark of window attention on a small model: both ways are timed on the same numbers and agree."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks.window_attention import main, measure
from lipforcing_core.models.window import WindowConfig
from tests.models.tiny import tiny_config


def compare(device: str, *, dim: int, side: int) -> dict[str, object]:
    return measure(
        tiny_config(dim=dim),
        WindowConfig(),
        num_latents=9,
        side=side,
        device=torch.device(device),
        positions="window",
        repeats=2,
    )


def test_both_ways_are_timed_and_agree() -> None:
    result = compare("cpu", dim=24, side=8)
    samples = result["samples_ms"]
    assert isinstance(samples, dict)
    assert {way: len(values) for way, values in samples.items()} == {"groups": 2, "mask": 2}
    assert result["tokens"] == 9 * 4 * 4
    for what in ("outputs", "gradients"):
        difference = result[f"difference_of_{what}"]
        assert isinstance(difference, float)
        assert difference < 1e-5
    assert result["mask_peak_gb"] is None


def test_results_of_different_clips_do_not_overwrite_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for frames in ("9", "21"):
        options = ["--preset", "nano", "--device", "cpu", "--repeats", "1", "--frames", frames]
        monkeypatch.setattr("sys.argv", ["window_attention", *options, "--output", str(tmp_path)])
        main()
    assert len(list(tmp_path.glob("window_attention_nano_*f_window_cpu_*.json"))) == 2
    assert "groups_over_mask" in capsys.readouterr().out


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_both_ways_agree_on_a_gpu() -> None:
    result = compare("cuda", dim=256, side=32)
    for what in ("outputs", "gradients"):
        difference = result[f"difference_of_{what}"]
        assert isinstance(difference, float)
        assert difference < 0.03
    assert isinstance(result["mask_peak_gb"], float)
