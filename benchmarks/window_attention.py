"""Two ways to attend in windows while training: ``python -m benchmarks.window_attention --preset 14b``.

One layer's self-attention over a training clip of random numbers, forward and backward: chunks in groups (dense
attention on copies of every window) and a mask (FlexAttention on a GPU, which skips hidden blocks; a mask of booleans
on a CPU, which hides but computes all). Compare the ratio, and the memory.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import get_args

import torch
from torch import Tensor

from benchmarks.timing import command_line, machine, peak_gigabytes, positive, progress, publish, timed
from lipforcing_core.media.clock import latents_for_frames
from lipforcing_core.models.codecs.protocol import SPACE_STRIDE
from lipforcing_core.models.config import DiTConfig
from lipforcing_core.models.rope import RotaryTables
from lipforcing_core.models.window import RolloutPositions, WindowConfig
from lipforcing_core.models.window_attention import Way, attend_windows


def main() -> None:
    """Parse the command line, measure, print, and write the result file."""
    parser = command_line(__doc__, preset="1.3b", device="cuda")
    parser.add_argument(
        "--frames", type=positive, help="length of the clip (None: that of the preset's training)"
    )
    parser.add_argument(
        "--positions",
        choices=get_args(RolloutPositions),
        default="window",
        help="of generation, or of Stage 1",
    )
    arguments = parser.parse_args()
    preset, device = arguments.preset, arguments.device
    frames = arguments.frames or preset.video.window_frames
    result = {"preset": preset.name, "frames": frames} | measure(
        preset.model.config(),
        preset.window.config(),
        num_latents=latents_for_frames(frames),
        side=preset.video.size // SPACE_STRIDE,
        device=device,
        positions=arguments.positions,
        repeats=arguments.repeats,
    )
    name = f"window_attention_{preset.name}_{frames}f_{arguments.positions}_{device.type}"
    publish(result, name, arguments.output)


def measure(
    model: DiTConfig,
    window: WindowConfig,
    *,
    num_latents: int,
    side: int,
    device: torch.device,
    positions: RolloutPositions,
    repeats: int,
) -> dict[str, object]:
    """Milliseconds of forward and backward, peak gigabytes above the inputs, and how far the two ways are apart.

    bfloat16 on CUDA, float32 on a CPU; latents are ``side x side``. Differences are those of the outputs and of the
    gradients in q, k and v, relative to the root mean square of each.
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
    samples, memory, results = {}, {}, {}
    for way in get_args(Way):
        attend = attend_windows(way, window, num_latents, positions, rope, grid)

        def step(attend: Callable[..., Tensor] = attend) -> tuple[Tensor, ...]:
            out = attend(0, *inputs)
            return out.detach(), *torch.autograd.grad(out, inputs, upstream)

        progress(f"{way}: {repeats} steps")
        samples[way] = [1000 * seconds for seconds in timed(step, repeats, device)]
        results[way], memory[way] = _with_peak(step, device)
    medians = {way: statistics.median(values) for way, values in samples.items()}
    differences = [_apart(a, b) for a, b in zip(results["mask"], results["groups"], strict=True)]
    return machine(device) | {
        "tokens": num_latents * grid[0] * grid[1],
        "dtype": str(dtype).removeprefix("torch."),
        "positions": positions,
        "groups_ms": round(medians["groups"], 3),
        "mask_ms": round(medians["mask"], 3),
        "groups_over_mask": round(medians["groups"] / medians["mask"], 3),
        "groups_peak_gb": memory["groups"],
        "mask_peak_gb": memory["mask"],
        "difference_of_outputs": differences[0],
        "difference_of_gradients": max(differences[1:]),
        "samples_ms": samples,
    }


def _with_peak(
    step: Callable[[], tuple[Tensor, ...]], device: torch.device
) -> tuple[tuple[Tensor, ...], float | None]:
    before = 0
    if device.type == "cuda":
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
    return step(), peak_gigabytes(device, above=before)


def _apart(a: Tensor, b: Tensor) -> float:
    return float((a - b).float().norm() / b.float().norm())


if __name__ == "__main__":
    main()
