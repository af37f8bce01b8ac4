"""Chunk generators: the causal student, two calls a chunk, and the many-step teacher, a window at a time.

Both take a chunk of the source face and its audio and return the redrawn face, so whatever drives them (a file,
an evaluation, a live session) need not know which model it has.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from lipforcing_core.diffusion.samplers import euler_sample, few_step_chunk
from lipforcing_core.faces.mask import keep_mask, latent_keep_mask
from lipforcing_core.metrics.speed import Stage
from lipforcing_core.models.causal import CausalStudent
from lipforcing_core.models.codec import SPACE_STRIDE
from lipforcing_core.models.conditions import Conditions, EncodedConditions
from lipforcing_core.models.wan import WanTransformer
from lipforcing_core.streaming.bundle import Bundle
from lipforcing_core.streaming.clock import ChunkClock


@dataclass(frozen=True, kw_only=True)
class ChunkInput:
    """A stretch of the source.

    faces: ``[f, S, S, 3] uint8 RGB`` aligned faces at the model's size. audio_FD: ``[f, D]`` features of the
    driving speech, one row a frame.
    """

    faces: np.ndarray
    audio_FD: np.ndarray


class ChunkGenerator(Protocol):
    """Redraws lips chunk by chunk."""

    model_id: str
    size: int

    def plan(self, num_frames: int) -> list[int]:
        """Frames in each chunk, so that the sum is at least ``num_frames`` (the surplus is trimmed)."""
        ...

    def reset(self, seed: int) -> None:
        """Forget the stream; the noise of chunk k depends on ``seed`` and k alone."""
        ...

    def generate(self, chunk: ChunkInput, clock: ChunkClock) -> np.ndarray:
        """The redrawn faces ``[f, S, S, 3] uint8 RGB`` of the next chunk."""
        ...

    def commit(self, clock: ChunkClock) -> None:
        """Work that must be done before the next chunk but need not delay the frames of this one."""
        ...


class StudentGenerator:
    """The causal student: few denoising calls a chunk, no guidance, then one store call (method E.3)."""

    def __init__(self, bundle: Bundle) -> None:
        if not isinstance(bundle.model, CausalStudent):
            raise TypeError("StudentGenerator needs a student bundle")
        self.model_id = bundle.model_id
        self.size = bundle.preset.video.size
        self._bundle = bundle
        self._student = bundle.model
        self._keep = torch.tensor(keep_mask(self.size))
        side = self.size // SPACE_STRIDE
        self._latent_keep = torch.tensor(latent_keep_mask(side, side))
        self._t_list = bundle.preset.schedule.t_list
        self.reset(0)

    def plan(self, num_frames: int) -> list[int]:
        chunk = 4 * self._student.window.chunk_latents
        later = max(0, -(-(num_frames - (chunk - 3)) // chunk))
        return [chunk - 3] + [chunk] * later

    @torch.inference_mode()
    def reset(self, seed: int) -> None:
        codec = self._bundle.codec
        self._seed = seed
        self._chunk_index = 0
        self._encoder, self._masked_encoder = codec.stream_encoder(), codec.stream_encoder()
        self._decoder = codec.stream_decoder()
        self._reference_BC1HW: Tensor | None = None
        self._pending: tuple[Tensor, EncodedConditions] | None = None
        self._cache = self._student.new_cache(1, *self._latent_keep.shape)

    @torch.inference_mode()
    def generate(self, chunk: ChunkInput, clock: ChunkClock) -> np.ndarray:
        with clock.stage(Stage.ENCODE):
            video_BCFHW = to_model_range(chunk.faces)
            plain_BCTHW = self._encoder.push(video_BCFHW)
            masked_BCTHW = self._masked_encoder.push(video_BCFHW * self._keep)
            if self._reference_BC1HW is None:
                self._reference_BC1HW = plain_BCTHW[:, :, :1]
        with clock.stage(Stage.DENOISE):
            encoded = self._student.encode_conditions(
                Conditions(
                    text_BLD=self._bundle.text_BLD,
                    audio_BND=torch.from_numpy(chunk.audio_FD)[None],
                    reference_BC1HW=self._reference_BC1HW,
                    keep_mask_HW=self._latent_keep,
                    masked_video_BCTHW=masked_BCTHW,
                    reference_sequence_BCTHW=plain_BCTHW,
                ),
                starts_clip=self._chunk_index == 0,
            )
            rng = chunk_rng(self._seed, self._chunk_index)
            noise = torch.randn(plain_BCTHW.shape, generator=rng)
            x0 = few_step_chunk(
                self._student, encoded, self._cache, t_list=self._t_list, noise=noise, generator=rng
            )
        self._pending = (x0, encoded)
        with clock.stage(Stage.DECODE):
            return to_pixels(self._decoder.push(x0))

    @torch.inference_mode()
    def commit(self, clock: ChunkClock) -> None:
        if self._pending is not None:
            with clock.stage(Stage.STORE):
                self._student.store_chunk(*self._pending, self._cache)
            self._pending = None
            self._chunk_index += 1


class TeacherGenerator:
    """The bidirectional teacher: independent windows, many Euler steps with guidance (method D.3)."""

    def __init__(self, bundle: Bundle) -> None:
        if not isinstance(bundle.model, WanTransformer):
            raise TypeError("TeacherGenerator needs a teacher bundle")
        self.model_id = bundle.model_id
        self.size = bundle.preset.video.size
        self._bundle = bundle
        self._teacher = bundle.model
        self._keep = torch.tensor(keep_mask(self.size))
        side = self.size // SPACE_STRIDE
        self._latent_keep = torch.tensor(latent_keep_mask(side, side))
        self.reset(0)

    def plan(self, num_frames: int) -> list[int]:
        window = self._bundle.preset.video.window_frames
        return [window] * -(-num_frames // window)

    def reset(self, seed: int) -> None:
        self._seed, self._window_index = seed, 0

    @torch.inference_mode()
    def generate(self, chunk: ChunkInput, clock: ChunkClock) -> np.ndarray:
        codec, schedule = self._bundle.codec, self._bundle.preset.schedule
        with clock.stage(Stage.ENCODE):
            video_BCFHW = to_model_range(chunk.faces)
            plain_BCTHW = codec.encode(video_BCFHW)
            masked_BCTHW = codec.encode(video_BCFHW * self._keep)
        with clock.stage(Stage.DENOISE):
            conditions = Conditions(
                text_BLD=self._bundle.text_BLD,
                audio_BND=torch.from_numpy(chunk.audio_FD)[None],
                reference_BC1HW=plain_BCTHW[:, :, :1],
                keep_mask_HW=self._latent_keep,
                masked_video_BCTHW=masked_BCTHW,
                reference_sequence_BCTHW=plain_BCTHW,
            )
            rng = chunk_rng(self._seed, self._window_index)
            x0 = euler_sample(
                self._teacher,
                self._teacher.encode_conditions(conditions),
                self._teacher.encode_conditions(conditions.null(self._bundle.negative_text_BLD)),
                schedule=schedule.flow(),
                guidance_scale=schedule.guidance_scale,
                noise=torch.randn(plain_BCTHW.shape, generator=rng),
            )
        self._window_index += 1
        with clock.stage(Stage.DECODE):
            return to_pixels(codec.decode(x0))

    def commit(self, clock: ChunkClock) -> None:
        """Windows are independent: nothing to keep."""


def load_generator(bundle: Bundle) -> ChunkGenerator:
    """The generator that fits the bundle's model."""
    if isinstance(bundle.model, CausalStudent):
        return StudentGenerator(bundle)
    return TeacherGenerator(bundle)


def chunk_rng(seed: int, chunk_index: int) -> torch.Generator:
    """Noise source of one chunk: a function of seed and chunk, so a stream can be resumed anywhere."""
    mixed = np.random.SeedSequence([seed, chunk_index]).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(mixed) % 2**63)


def to_model_range(faces: np.ndarray) -> Tensor:
    """``[f, S, S, 3] uint8`` to ``[1, 3, f, S, S] float32`` in [-1, 1]."""
    return torch.from_numpy(faces).permute(3, 0, 1, 2)[None].float() / 127.5 - 1.0


def to_pixels(video_BCFHW: Tensor) -> np.ndarray:
    """``[1, 3, f, S, S]`` in about [-1, 1] to ``[f, S, S, 3] uint8``, clamped and rounded."""
    pixels = ((video_BCFHW[0].clamp(-1, 1) + 1.0) * 127.5).round().to(torch.uint8)
    return pixels.permute(1, 2, 3, 0).contiguous().numpy()
