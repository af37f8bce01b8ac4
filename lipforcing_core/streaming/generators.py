"""Chunk generators: the causal student, two calls a chunk, and the many-step teacher, a window at a time.

Both take a chunk of the source face and its audio and return the redrawn face, so whatever drives them (a file,
an evaluation, a live session) need not know which model it has.

They work on the model's device: pictures, sound and noise go there, pixels come back. Noise is always drawn on the CPU,
so that a seed means the same everywhere. Latents and the sampler's arithmetic are float32 whatever the type of the
model, which turns its inputs into its own type.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from lipforcing_core.base.errors import IncompatibleCheckpointError
from lipforcing_core.base.ledger import Stage
from lipforcing_core.diffusion.samplers import draw_noise, euler_sample, few_step_chunk
from lipforcing_core.faces.mask import keep_mask, latent_keep_mask
from lipforcing_core.media.clock import FRAMES_PER_LATENT, chunks_for_frames, frames_for_latents
from lipforcing_core.models.causal import CausalStudent
from lipforcing_core.models.codecs.pixels import to_model_range, to_pixels
from lipforcing_core.models.codecs.protocol import SPACE_STRIDE
from lipforcing_core.models.conditions import Conditions, EncodedConditions
from lipforcing_core.models.wan import WanTransformer
from lipforcing_core.runtime.bundle import Bundle
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
    mask: np.ndarray | None
    """The mouth mask that is redrawn, as in ``Bundle``."""

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
        self.size, self.mask = bundle.preset.video.size, bundle.mask
        self._bundle = bundle
        self._student = bundle.model
        self._device = bundle.model.patch_embedding.weight.device
        self._keep, self._latent_keep = _masks(self.size, self._device, bundle.mask)
        self._text_BLD = bundle.text_BLD.to(self._device)
        self._t_list = bundle.preset.schedule.t_list
        self.reset(0)

    def plan(self, num_frames: int) -> list[int]:
        chunk_latents = self._student.window.chunk_latents
        later = max(1, chunks_for_frames(num_frames, chunk_latents=chunk_latents)) - 1
        return [frames_for_latents(chunk_latents)] + [FRAMES_PER_LATENT * chunk_latents] * later

    @torch.inference_mode()
    def reset(self, seed: int) -> None:
        codec = self._bundle.codec
        self._seed = seed
        self._chunk_index = 0
        self._encoder, self._masked_encoder = codec.stream_encoder(), codec.stream_encoder()
        self._decoder = codec.stream_decoder()
        self._reference_BC1HW: Tensor | None = None
        self._text: EncodedConditions | None = None
        self._pending: tuple[Tensor, EncodedConditions] | None = None
        self._cache = self._student.new_cache(1, *self._latent_keep.shape)

    @torch.inference_mode()
    def generate(self, chunk: ChunkInput, clock: ChunkClock) -> np.ndarray:
        with _timed(clock, Stage.ENCODE, self._device):
            video_BCFHW = to_model_range(chunk.faces, self._device)
            plain_BCTHW = self._encoder.push(video_BCFHW)
            masked_BCTHW = self._masked_encoder.push(video_BCFHW * self._keep)
            if self._reference_BC1HW is None:
                self._reference_BC1HW = plain_BCTHW[:, :, :1]
        with _timed(clock, Stage.DENOISE, self._device):
            encoded = self._student.encode_conditions(
                Conditions(
                    text_BLD=self._text_BLD,
                    audio_BND=torch.from_numpy(chunk.audio_FD)[None].to(self._device),
                    reference_BC1HW=self._reference_BC1HW,
                    keep_mask_HW=self._latent_keep,
                    masked_video_BCTHW=masked_BCTHW,
                    reference_sequence_BCTHW=plain_BCTHW,
                ),
                starts_clip=self._chunk_index == 0,
                text_from=self._text,
            )
            if self._text is None:  # the same for all chunks, and so are its keys and values
                self._text = encoded = self._student.cache_text(encoded)
            rng = chunk_rng(self._seed, self._chunk_index)
            noise = draw_noise(plain_BCTHW, rng)
            x0 = few_step_chunk(
                self._student, encoded, self._cache, t_list=self._t_list, noise=noise, generator=rng
            )
        self._pending = (x0, encoded)
        with _timed(clock, Stage.DECODE, self._device):
            frames_BCFHW = self._decoder.push(x0)
            _require_numbers(self.model_id, self._chunk_index, x0, frames_BCFHW)
            return to_pixels(frames_BCFHW)

    @torch.inference_mode()
    def commit(self, clock: ChunkClock) -> None:
        if self._pending is not None:
            with _timed(clock, Stage.STORE, self._device):
                self._student.store_chunk(*self._pending, self._cache)
            self._pending = None
            self._chunk_index += 1


class TeacherGenerator:
    """The bidirectional teacher: independent windows, many Euler steps with guidance (method D.3)."""

    def __init__(self, bundle: Bundle) -> None:
        if isinstance(bundle.model, CausalStudent) or not isinstance(bundle.model, WanTransformer):
            raise TypeError("TeacherGenerator needs a teacher bundle")
        self.model_id = bundle.model_id
        self.size, self.mask = bundle.preset.video.size, bundle.mask
        self._bundle = bundle
        self._teacher = bundle.model
        self._device = bundle.model.patch_embedding.weight.device
        self._keep, self._latent_keep = _masks(self.size, self._device, bundle.mask)
        self._text_BLD = bundle.text_BLD.to(self._device)
        self.reset(0)

    def plan(self, num_frames: int) -> list[int]:
        window = self._bundle.preset.video.window_frames
        return [window] * -(-num_frames // window)

    def reset(self, seed: int) -> None:
        self._seed, self._window_index = seed, 0

    @torch.inference_mode()
    def generate(self, chunk: ChunkInput, clock: ChunkClock) -> np.ndarray:
        codec, schedule = self._bundle.codec, self._bundle.preset.schedule
        with _timed(clock, Stage.ENCODE, self._device):
            video_BCFHW = to_model_range(chunk.faces, self._device)
            plain_BCTHW = codec.encode(video_BCFHW)
            masked_BCTHW = codec.encode(video_BCFHW * self._keep)
        with _timed(clock, Stage.DENOISE, self._device):
            conditions = Conditions(
                text_BLD=self._text_BLD,
                audio_BND=torch.from_numpy(chunk.audio_FD)[None].to(self._device),
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
                noise=draw_noise(plain_BCTHW, rng),
            )
        self._window_index += 1
        with _timed(clock, Stage.DECODE, self._device):
            frames_BCFHW = codec.decode(x0)
            _require_numbers(self.model_id, self._window_index - 1, x0, frames_BCFHW)
            return to_pixels(frames_BCFHW)

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


def _require_numbers(model_id: str, chunk_index: int, *results: Tensor) -> None:
    """Raise ``IncompatibleCheckpointError`` where a model gave NaN or infinity, which would be painted as a colour."""
    if not all(bool(torch.isfinite(result).all()) for result in results):
        raise IncompatibleCheckpointError(
            f"{model_id}: gave values that are no numbers in chunk {chunk_index}, so nothing is written; its weights "
            "or those of its codec are damaged, or it diverged in training"
        )


def _masks(size: int, device: torch.device, source: np.ndarray | None) -> tuple[Tensor, Tensor]:
    """Where to keep: of the pixels ``[size, size]`` and of the latents ``[size / 8, size / 8]``, 1 and 0."""
    side = size // SPACE_STRIDE
    pixels, latents = keep_mask(size, source), latent_keep_mask(side, side, source)
    return torch.tensor(pixels, device=device), torch.tensor(latents, device=device)


@contextmanager
def _timed(clock: ChunkClock, stage: Stage, device: torch.device) -> Iterator[None]:
    """Count the time of the block, and of the work it leaves to a GPU, towards ``stage``."""
    with clock.stage(stage):
        yield
        if device.type == "cuda":
            torch.cuda.synchronize(device)
