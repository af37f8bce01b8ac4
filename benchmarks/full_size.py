"""Time and memory of a full-size student on random weights: ``python -m benchmarks.full_size --preset 14b``.

One denoising call, and one steady chunk of 12 frames end to end as a live stream pays for it: both encodes (Wan VAE),
conditions, the denoising calls, decode (tiny autoencoder), and the store call that follows. Speed does not depend on
the values of the weights, so none have to be downloaded; the pictures mean nothing. Faces, files and audio features
are left out. Medians and raw samples go to a JSON file, with peak memory and the milliseconds of each part.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn

from benchmarks.timing import (
    Timer,
    command_line,
    machine,
    peak_gigabytes,
    progress,
    publish,
    timed,
)
from lipforcing_core.base.errors import BadInputError
from lipforcing_core.diffusion.samplers import few_step_chunk
from lipforcing_core.models.causal import CausalStudent
from lipforcing_core.models.codecs.protocol import SPACE_STRIDE
from lipforcing_core.models.codecs.taehv import TaehvCodec, TaehvConfig, TinyAutoencoder
from lipforcing_core.models.codecs.wan_vae import WanVAE, WanVAECodec, WanVAEConfig
from lipforcing_core.models.conditions import Conditions, EncodedConditions
from lipforcing_core.presets import Preset

WARM_UP_CHUNKS = 3  # until the window is full, so that every later chunk costs the same

Network = TypeVar("Network", bound=nn.Module)


def main() -> None:
    """Parse the command line, measure, print, and write the result file."""
    parser = command_line(__doc__, preset="1.3b", device="cuda")
    parser.add_argument(
        "--compile", action="store_true", help="compile the denoising call (max-autotune, no CUDA graphs)"
    )
    arguments = parser.parse_args()
    preset, device = arguments.preset, arguments.device
    result = measure(preset, device, repeats=arguments.repeats, compiled=arguments.compile)
    variant = "_compiled" if arguments.compile else ""
    publish(result, f"full_size_{preset.name}_{device.type}{variant}", arguments.output)


@torch.inference_mode()
def measure(
    preset: Preset,
    device: torch.device,
    *,
    repeats: int,
    compiled: bool = False,
    vae: WanVAEConfig | None = None,
    tiny: TaehvConfig | None = None,
) -> dict[str, object]:
    """Milliseconds and peak gigabytes, with raw samples. bfloat16 on CUDA, float32 on a CPU (far faster there).

    ``vae`` and ``tiny`` are the sizes of the codecs; the published ones by default.
    """
    if repeats < 1:
        raise BadInputError(f"repeats={repeats} must be at least 1")
    on_gpu = device.type == "cuda"
    dtype = torch.bfloat16 if on_gpu else torch.float32
    torch.manual_seed(0)
    student = random_network(
        lambda: CausalStudent(preset.model.config(), preset.window.config()), device, dtype
    )
    encoder = WanVAECodec(random_network(lambda: WanVAE(vae), device, dtype), "random")
    decoder_type = torch.float16 if on_gpu else torch.float32
    decoder = TaehvCodec(random_network(lambda: TinyAutoencoder(tiny), device, decoder_type), "random")
    denoise = torch.compile(student.denoise_chunk, mode="max-autotune-no-cudagraphs") if compiled else None
    if denoise is not None:
        student.denoise_chunk = denoise  # type: ignore[method-assign]
    stream = Stream(preset, student, encoder, decoder, device)
    for warm_up in range(WARM_UP_CHUNKS):
        progress(f"chunk {warm_up + 1} of {WARM_UP_CHUNKS} to fill the window")
        stream.chunk(Timer(device))
    if on_gpu:
        torch.cuda.reset_peak_memory_stats(device)
    timers = []
    for repeat in range(repeats):
        progress(f"chunk {repeat + 1} of {repeats}")
        timers.append(Timer(device))
        stream.chunk(timers[-1])
    parts = {part: [timer.seconds[part] * 1000 for timer in timers] for part in timers[0].seconds}
    call = stream.denoising_call(repeats)
    chunk_ms = [sum(samples) for samples in zip(*parts.values(), strict=True)]
    frames = 4 * preset.window.chunk_latents
    return machine(device) | {
        "preset": preset.name,
        "parameters_billion": round(sum(p.numel() for p in student.parameters()) / 1e9, 3),
        "dtype": str(dtype).removeprefix("torch."),
        "compiled": compiled,
        "size_px": preset.video.size,
        "denoising_call_ms": round(statistics.median(call), 2),
        "chunk_ms": round(statistics.median(chunk_ms), 2),
        "frames_per_s": round(1000 * frames / statistics.median(chunk_ms), 2),
        "peak_memory_gb": peak_gigabytes(device),
        "part_ms": {part: round(statistics.median(samples), 2) for part, samples in parts.items()},
        "samples_ms": {"denoising_call": call, **parts},
    }


class Stream:
    """A stream of random frames through codec, student and decoder."""

    def __init__(
        self,
        preset: Preset,
        student: CausalStudent,
        encoder: WanVAECodec,
        decoder: TaehvCodec,
        device: torch.device,
    ) -> None:
        model, side = preset.model, preset.video.size // SPACE_STRIDE
        self._preset, self._student, self._device = preset, student, device
        self._plain, self._masked = encoder.stream_encoder(), encoder.stream_encoder()
        self._decoding = decoder.stream_decoder()
        self._cache = student.new_cache(1, side, side)
        self._text_BLD = torch.randn(1, model.text_len, model.text_dim, device=device)
        self._keep_HW = torch.ones(side, side, device=device)
        self._rng = torch.Generator(device).manual_seed(0)
        self._reference_BC1HW: Tensor | None = None
        self._encoded: EncodedConditions | None = None

    def chunk(self, timer: Timer) -> Tensor:
        """Frames ``[1, 3, F, S, S]`` of the next chunk."""
        size, first = self._preset.video.size, self._reference_BC1HW is None
        frames = 4 * self._preset.window.chunk_latents - (3 if first else 0)
        video_BCFHW = torch.rand(1, 3, frames, size, size, device=self._device) * 2 - 1
        with timer.part("encode"):
            plain_BCTHW = self._plain.push(video_BCFHW)
            masked_BCTHW = self._masked.push(video_BCFHW * 0.5)
        if self._reference_BC1HW is None:
            self._reference_BC1HW = plain_BCTHW[:, :, :1]
        with timer.part("conditions"):
            encoded = self._student.encode_conditions(
                Conditions(
                    text_BLD=self._text_BLD,
                    audio_BND=torch.randn(1, frames, self._preset.model.audio_dim, device=self._device),
                    reference_BC1HW=self._reference_BC1HW,
                    keep_mask_HW=self._keep_HW,
                    masked_video_BCTHW=masked_BCTHW,
                    reference_sequence_BCTHW=plain_BCTHW,
                ),
                starts_clip=first,
                text_from=self._encoded,
            )
            self._encoded = self._student.cache_text(encoded) if first else encoded
        self._noise = torch.randn_like(plain_BCTHW)
        with timer.part("denoise"):
            x0_BCTHW = few_step_chunk(
                self._student,
                self._encoded,
                self._cache,
                t_list=self._preset.schedule.t_list,
                noise=self._noise,
                generator=self._rng,
            )
        with timer.part("decode"):
            pixels_BCFHW = self._decoding.push(x0_BCTHW)
        with timer.part("store"):
            self._student.store_chunk(x0_BCTHW, self._encoded, self._cache)
        return pixels_BCFHW

    def denoising_call(self, repeats: int) -> list[float]:
        """Milliseconds of single denoising calls of the chunk that came last."""
        encoded = self._encoded
        assert encoded is not None, "call chunk() first"
        seconds = timed(
            lambda: self._student.denoise_chunk(self._noise, 0.769, encoded, self._cache),
            repeats,
            self._device,
        )
        return [1000 * one for one in seconds]


@torch.no_grad()
def random_network(build: Callable[[], Network], device: torch.device, dtype: torch.dtype) -> Network:
    """The network with small random weights, made on the device in its final type: nothing passes through the host."""
    with torch.device("meta"):
        network = build().to(dtype)
    network = network.to_empty(device=device).eval().requires_grad_(False)
    for parameter in network.parameters():
        parameter.normal_(std=0.02)
    return network


if __name__ == "__main__":
    main()
