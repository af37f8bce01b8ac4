"""Time the student's chunk and the teacher's clip on random weights: ``python -m benchmarks.streaming --preset nano``.

Model only: the transformer calls, without codec, faces or files. The absolute numbers belong to one machine; the
ratio of student to teacher is measured in the same run and is what to compare.
"""

from __future__ import annotations

import statistics

import torch

from benchmarks.timing import command_line, machine, publish, timed
from lipforcing_core.diffusion.samplers import euler_sample, few_step_chunk
from lipforcing_core.media.clock import FRAMES_PER_LATENT, latents_for_frames
from lipforcing_core.models.causal import CausalStudent
from lipforcing_core.models.codecs.protocol import SPACE_STRIDE
from lipforcing_core.models.conditions import Conditions
from lipforcing_core.models.wan import WanTransformer
from lipforcing_core.presets import Preset


def main() -> None:
    """Parse the command line, measure, print, and write the result file."""
    arguments = command_line(__doc__, preset="nano", device="cpu").parse_args()
    preset, device = arguments.preset, arguments.device
    result = measure(preset, device, arguments.repeats)
    publish(result, f"streaming_{preset.name}_{device.type}", arguments.output)


@torch.inference_mode()
def measure(preset: Preset, device: torch.device, repeats: int) -> dict[str, object]:
    """Seconds of a steady chunk and of one teacher clip, with raw samples.

    A chunk is its denoising calls and one call more, which stands for storing it in the cache.
    """
    side = preset.video.size // SPACE_STRIDE
    chunk = preset.window.chunk_latents
    torch.manual_seed(0)
    with device:
        student = CausalStudent(preset.model.config(), preset.window.config()).eval()
        cache = student.new_cache(1, side, side)
        for start in range(3):
            encoded = student.encode_conditions(
                _conditions(preset, chunk, start == 0), starts_clip=start == 0
            )
            x = torch.randn(1, 16, chunk, side, side)
            student.store_chunk(x, encoded, cache)
        rng = torch.Generator(device).manual_seed(0)
        denoise = timed(
            lambda: few_step_chunk(
                student, encoded, cache, t_list=preset.schedule.t_list, noise=x, generator=rng
            ),
            repeats,
            device,
        )
        call = timed(lambda: student.denoise_chunk(x, 0.769, encoded, cache), repeats, device)
        teacher = WanTransformer(preset.model.config()).eval()
        latents = latents_for_frames(preset.video.window_frames)
        conditions = _conditions(preset, latents, True)
        full, null = teacher.encode_conditions(conditions), teacher.encode_conditions(conditions)
        clip = timed(
            lambda: euler_sample(
                teacher,
                full,
                null,
                schedule=preset.schedule.flow(),
                num_steps=preset.schedule.num_steps,
                guidance_scale=preset.schedule.guidance_scale,
                noise=torch.randn(1, 16, latents, side, side),
            ),
            max(2, repeats // 10),
            device,
        )
    per_frame_student = (statistics.median(denoise) + statistics.median(call)) / (FRAMES_PER_LATENT * chunk)
    per_frame_teacher = statistics.median(clip) / preset.video.window_frames
    return machine(device) | {
        "preset": preset.name,
        "student_fps": round(1 / per_frame_student, 2),
        "teacher_fps": round(1 / per_frame_teacher, 2),
        "student_over_teacher": round(per_frame_teacher / per_frame_student, 1),
        "chunk_denoise_s_median": statistics.median(denoise),
        "denoise_s": denoise,
        "one_call_s": call,
        "teacher_clip_s": clip,
    }


def _conditions(preset: Preset, latents: int, starts_clip: bool) -> Conditions:
    side, model = preset.video.size // SPACE_STRIDE, preset.model
    frames = 4 * latents - 3 if starts_clip else 4 * latents
    return Conditions(
        text_BLD=torch.randn(1, model.text_len, model.text_dim),
        audio_BND=torch.randn(1, frames, model.audio_dim),
        reference_BC1HW=torch.randn(1, 16, 1, side, side),
        keep_mask_HW=torch.ones(side, side),
        masked_video_BCTHW=torch.randn(1, 16, latents, side, side),
        reference_sequence_BCTHW=torch.randn(1, 16, latents, side, side),
    )


if __name__ == "__main__":
    main()
