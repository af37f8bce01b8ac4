"""What the calls of the stages cost, counted on the real losses and networks with tensors that have no memory.

Letters: B batch, C channels, T latent frames, H W latent size, N video frames, S audio samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from lipforcing_core.media.clock import SAMPLES_PER_FRAME
from lipforcing_core.models.codecs.protocol import SPACE_STRIDE
from lipforcing_core.presets.schema import Preset
from lipforcing_core.runtime.prompts import Prompts
from lipforcing_core.training.dataset import Batch
from lipforcing_core.training.draws import ForcingDraws, MatchingDraws, RolloutDraws, TeacherDraws
from lipforcing_core.training.losses.flow import flow_loss
from lipforcing_core.training.losses.forcing import forcing_loss
from lipforcing_core.training.losses.matching import critic_loss, critic_prediction, matching_loss
from lipforcing_core.training.plan.meter import Meter, Work
from lipforcing_core.training.plan.networks import (
    NetworkSpec,
    Weights,
    at_depth,
    cast_weights,
    count_weights,
)
from lipforcing_core.training.precision import compute_precision
from lipforcing_core.training.rollout import roll_out


@dataclass(frozen=True, kw_only=True)
class Counts:
    """One micro-batch through one network.

    passes: how often its weights are read from the first to the last block; graded_passes: in how many of these a
    gradient comes back. cache_bytes: of the KV cache, which ``forward`` holds among others.
    """

    weights: Weights
    forward: Work
    backward: Work
    passes: float
    graded_passes: float
    cache_bytes: float = 0.0

    @property
    def peak_bytes(self) -> float:
        """Most bytes alive at once, weights and gradients not counted."""
        return max(self.forward.peak_bytes, self.forward.held_bytes + self.backward.peak_bytes)


@lru_cache(maxsize=64)
def count_teacher(spec: NetworkSpec, preset: Preset) -> Counts:
    """One micro-batch of the teacher's flow matching."""
    settings = preset.lora

    def loss_of(network: Any) -> Tensor:
        batch = _batch(preset, settings.batch_size)
        draws = TeacherDraws(
            t_B=torch.rand(settings.batch_size, dtype=torch.float64),
            noise_BCTHW=torch.randn_like(batch.latents_BCTHW),
            text_dropped_B=torch.zeros(settings.batch_size, dtype=torch.bool),
            audio_dropped_B=torch.zeros(settings.batch_size, dtype=torch.bool),
        )
        return flow_loss(
            network, batch, _prompts(preset), draws, shift=preset.schedule.shift, settings=settings
        )

    return at_depth(lambda depth: _count_loss(spec, depth, loss_of), spec.model.num_layers)


@lru_cache(maxsize=64)
def count_forcing(spec: NetworkSpec, preset: Preset) -> Counts:
    """One micro-batch of Diffusion Forcing."""
    settings = preset.diffusion_forcing

    def loss_of(network: Any) -> Tensor:
        batch = _batch(preset, settings.batch_size)
        latents = batch.latents_BCTHW
        draws = ForcingDraws(
            t_BT=torch.rand(settings.batch_size, latents.shape[2]), noise_BCTHW=torch.randn_like(latents)
        )
        return forcing_loss(network, batch, _prompts(preset), draws, settings=settings)

    return at_depth(lambda depth: _count_loss(spec, depth, loss_of), spec.model.num_layers)


@lru_cache(maxsize=64)
def count_critic(spec: NetworkSpec, preset: Preset) -> Counts:
    """One micro-batch of the critic on a rollout that is there."""
    settings = preset.distill

    def loss_of(network: Any) -> Tensor:
        batch = _batch(preset, settings.student.batch_size)
        return critic_loss(
            network,
            torch.randn_like(batch.latents_BCTHW),
            batch.conditions(_prompts(preset).text_BLD),
            _matching_draws(batch),
            objective=settings.critic_objective,
            precision=settings.student.precision,
        )

    return at_depth(lambda depth: _count_loss(spec, depth, loss_of), spec.model.num_layers)


@lru_cache(maxsize=64)
def count_look(spec: NetworkSpec, preset: Preset) -> Counts:
    """The prediction of critic or teacher for a noised rollout, without gradient."""
    settings = preset.distill.student

    def look(network: Any) -> Tensor:
        batch = _batch(preset, settings.batch_size)
        return critic_prediction(
            network,
            torch.randn_like(batch.latents_BCTHW),
            _matching_draws(batch).t_B,
            batch.conditions(_prompts(preset).text_BLD),
            precision=settings.precision,
        )

    return at_depth(lambda depth: _count_loss(spec, depth, look), spec.model.num_layers)


@lru_cache(maxsize=64)
def count_rollout(spec: NetworkSpec, preset: Preset, *, exit_step: int, with_grad: bool) -> Counts:
    """The rollout of a student that ends at call ``exit_step`` (from 0) of every chunk, with its way back."""
    settings, video = preset.distill.student, preset.video

    def loss_of(network: Any) -> Tensor:
        batch = _batch(preset, settings.batch_size)
        shape = batch.latents_BCTHW.shape
        renoise = tuple(
            tuple(torch.randn(*shape[:2], stop - start, *shape[3:]) for _ in range(exit_step))
            for start, stop in network.chunks(shape[2])
        )
        draws = RolloutDraws(noise_BCTHW=torch.randn(shape), exit_step=exit_step, renoise=renoise)
        conditions = batch.conditions(_prompts(preset).text_BLD)
        with compute_precision(settings.precision, torch.device("cpu")):
            rollout = roll_out(
                network, conditions, draws, t_list=preset.schedule.t_list, with_grad=with_grad
            )
        fake = torch.randn_like(rollout)
        return matching_loss(rollout, fake=fake, real=fake).mean()

    def cache_bytes(network: Any) -> int:
        side = video.size // SPACE_STRIDE
        cache = network.new_cache(settings.batch_size, side, side)
        return sum(part.numel() * part.element_size() for part in (*cache.keys, *cache.values))

    return at_depth(lambda depth: _count_loss(spec, depth, loss_of, cache_bytes), spec.model.num_layers)


@lru_cache(maxsize=16)
def count_decoder(preset: Preset) -> tuple[int, Work]:
    """The bytes of the codec that decodes rollouts for the reward, and the work for one sample.

    Nothing for a fitted codec, which is one small matrix.
    """
    with _without_memory():
        decoder = _decoder(preset)
        if decoder is None:
            return 0, Work()
        codec, network = decoder
        latents = _batch(preset, 1).latents_BCTHW
        with Meter([latents, *network.parameters()]) as meter, torch.no_grad():
            codec.decode(latents)
        return sum(weight.numel() * weight.element_size() for weight in network.parameters()), meter.work()


def _count_loss(
    spec: NetworkSpec,
    num_layers: int,
    loss_of: Callable[[Any], Tensor],
    cache_bytes: Callable[[Any], int] = lambda network: 0,
) -> Counts:
    """Forward and, where the result has a gradient, backward pass of a loss of a network of that depth."""
    with _without_memory():
        network: Any = spec.build(num_layers)
        passes = _Passes(network.blocks[0])
        weights = count_weights(network)
        outside = [*network.parameters(), *(p.grad for p in network.parameters() if p.grad is not None)]
        cache = cache_bytes(network)
        with Meter(outside) as meter:
            loss = loss_of(network)
            forward = meter.work()
            if loss.requires_grad:
                loss.backward()  # type: ignore[no-untyped-call]
            backward = meter.work()
        return Counts(
            weights=weights,
            forward=forward,
            backward=backward,
            passes=passes.all,
            graded_passes=passes.graded,
            cache_bytes=cache,
        )


class _Passes:
    """How often a block is called, and in how many of these calls with gradient."""

    def __init__(self, block: nn.Module) -> None:
        self.all = self.graded = 0
        block.register_forward_pre_hook(self._called)

    def _called(self, *_: Any) -> None:
        self.all += 1
        self.graded += torch.is_grad_enabled()


@contextmanager
def _without_memory() -> Iterator[None]:
    """Tensors with shape, type and device CPU, and nothing in them."""
    with FakeTensorMode(allow_non_fake_inputs=True):
        yield


def _batch(preset: Preset, size: int) -> Batch:
    video, model = preset.video, preset.model
    side, num_latents = video.size // SPACE_STRIDE, (video.window_frames + 3) // 4

    def latents(length: int) -> Tensor:
        return torch.randn(size, model.out_channels, length, side, side)

    return Batch(
        latents_BCTHW=latents(num_latents),
        masked_BCTHW=latents(num_latents),
        reference_BC1HW=latents(1),
        reference_sequence_BCTHW=latents(num_latents),
        audio_BND=torch.randn(size, video.window_frames, model.audio_dim),
        waveform_BS=torch.randn(size, video.window_frames * SAMPLES_PER_FRAME),
        keep_mask_HW=torch.ones(side, side),
    )


def _prompts(preset: Preset) -> Prompts:
    text = torch.randn(1, preset.model.text_len, preset.model.text_dim)
    return Prompts(text_BLD=text, negative_text_BLD=text)


def _matching_draws(batch: Batch) -> MatchingDraws:
    noise = torch.randn_like(batch.latents_BCTHW)
    return MatchingDraws(t_B=torch.rand(len(noise), dtype=torch.float64), noise_BCTHW=noise)


def _decoder(preset: Preset) -> tuple[Any, nn.Module] | None:
    """The decoding codec with weights that are not there, in the type that it has on a GPU, and its network."""
    from lipforcing_core.models.codecs.catalogue import CODECS
    from lipforcing_core.models.codecs.taehv import TaehvCodec, TinyAutoencoder
    from lipforcing_core.models.codecs.wan_vae import WanVAE, WanVAECodec

    network: Any
    if preset.backends.decoder == "taehv":
        codec: Any = TaehvCodec(network := TinyAutoencoder(), "plan")
    elif preset.backends.decoder == "wan-vae":
        codec = WanVAECodec(network := WanVAE(), "plan")
    else:
        return None
    cast_weights(network, CODECS[preset.backends.decoder].decoder_dtype.on("cuda"))
    return codec, network
