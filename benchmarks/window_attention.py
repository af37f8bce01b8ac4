"""Two ways to attend in windows while training: ``python -m benchmarks.window_attention --preset 14b``.

One layer's self-attention over a training clip of random numbers, forward and backward: chunks in groups (dense
attention on copies of every window) and a mask (FlexAttention on a GPU, which skips hidden blocks). Both need
the same multiplications; what differs is the kernel, and what is copied. Compare the ratio, and the memory.
"""

from __future__ import annotations

import argparse
import statistics
from datetime import date
from pathlib import Path
from typing import Any, Literal

import torch

from benchmarks.timing import machine, require_device, timed
from lipforcing_core.media.clock import latents_for_frames
from lipforcing_core.models.causal import WindowConfig
from lipforcing_core.models.codec import SPACE_STRIDE
from lipforcing_core.models.config import DiTConfig
from lipforcing_core.models.rope import RotaryTables
from lipforcing_core.models.window_attention import grouped, masked
from lipforcing_core.presets import load_preset
from lipforcing_core.products import write_json

GIGABYTE = 1e9
WAYS = {"groups": grouped, "mask": masked}


def main() -> None:
    """Parse the command line, measure, print, and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", default="1.3b")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--frames", type=int, default=81)
    parser.add_argument("--positions", choices=["window", "absolute"], default="window")
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"))
    arguments = parser.parse_args()
    device = require_device(arguments.device)
    preset = load_preset(arguments.preset)
    result = {"preset": preset.name, "frames": arguments.frames} | measure(
        preset.model.config(),
        preset.window.config(),
        num_latents=latents_for_frames(arguments.frames),
        side=preset.video.size // SPACE_STRIDE,
        device=device,
        positions=arguments.positions,
        repeats=arguments.repeats,
    )
    name = f"window_attention_{preset.name}_{device.type}_{date.today().isoformat()}.json"
    write_json(arguments.output / name, result)
    for key, value in result.items():
        if not isinstance(value, dict):
            print(f"{key:28} {value}")


def measure(
    model: DiTConfig,
    window: WindowConfig,
    *,
    num_latents: int,
    side: int,
    device: torch.device,
    positions: Literal["window", "absolute"],
    repeats: int,
) -> dict[str, object]:
    """Milliseconds of forward and backward, peak gigabytes above the inputs, and the largest difference of outputs.

    bfloat16 on CUDA, float32 on a CPU; latents are ``side x side``.
    """
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    grid = model.token_grid(side, side)
    rope = RotaryTables(model.head_dim).to(device)
    generator = torch.Generator(device).manual_seed(0)
    shape = (1, num_latents, grid[0] * grid[1], model.num_heads, model.head_dim)
    q, k, v, upstream = (
        torch.randn(shape, device=device, dtype=dtype, generator=generator) for _ in range(4)
    )
    inputs = [part.requires_grad_() for part in (q, k, v)]
    samples, memory, outputs = {}, {}, {}
    for way, make in WAYS.items():
        attend = make(window, num_latents, positions, rope, grid, device)

        def step(attend: Any = attend) -> None:
            torch.autograd.grad(attend(0, *inputs), inputs, upstream)

        samples[way] = [1000 * seconds for seconds in timed(step, repeats, device)]
        memory[way] = _peak_gigabytes(step, device)
        outputs[way] = attend(0, *inputs).detach()
    medians = {way: statistics.median(values) for way, values in samples.items()}
    difference = (outputs["mask"] - outputs["groups"]).abs().max() / outputs["groups"].abs().max()
    return machine(device) | {
        "tokens": num_latents * grid[0] * grid[1],
        "dtype": str(dtype).removeprefix("torch."),
        "positions": positions,
        "groups_ms": round(medians["groups"], 3),
        "mask_ms": round(medians["mask"], 3),
        "groups_over_mask": round(medians["groups"] / medians["mask"], 3),
        "groups_peak_gb": memory["groups"],
        "mask_peak_gb": memory["mask"],
        "largest_relative_difference": float(difference),
        "samples_ms": samples,
    }


def _peak_gigabytes(step: Any, device: torch.device) -> float | None:
    if device.type != "cuda":
        return None
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    step()
    torch.cuda.synchronize()
    return round((torch.cuda.max_memory_allocated() - before) / GIGABYTE, 3)


if __name__ == "__main__":
    main()
