"""What the calls of the stages cost, counted on the real losses and networks with tensors that have no memory.

Letters: B batch, C channels, T latent frames, H W latent size, N video frames, S audio samples.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from lipforcing_core.media.clock import SAMPLES_PER_FRAME
from lipforcing_core.models.codecs.protocol import SPACE_STRIDE
from lipforcing_core.presets.schema import Preset
from lipforcing_core.runtime.prompts import Prompts
from lipforcing_core.training.dataset import Batch
from lipforcing_core.training.draws import ForcingDraws, MatchingDraws, RolloutDraws, TeacherDraws
from lipforcing_core.training.losses.flow import flow_loss
from lipforcing_core.training.losses.forcing import forcing_loss
from lipforcing_core.training.losses.matching import critic_loss, critic_prediction, matching_loss
from lipforcing_core.training.plan.meter import Count, FakeMeter, Work
from lipforcing_core.training.plan.networks import (
    NetworkSpec,
    Weights,
    at_depth,
    cast_weights,
    count_weights,
)
from lipforcing_core.training.precision import compute_precision
from lipforcing_core.training.rollout import roll_out

Loss = Callable[[], Tensor]


@dataclass(frozen=True, kw_only=True)
class Counts:
    """One micro-batch through one network.

    passes: how often its weights are read from the first to the last block; graded_passes: in how many of these a
    gradient comes back.
    """

    weights: Weights
    forward: Work
    backward: Work
    passes: float
    graded_passes: float

    @property
    def peak_bytes(self) -> float:
        """Most bytes alive at once, weights and gradients not counted."""
        return max(self.forward.peak_bytes, self.forward.held_bytes + self.backward.peak_bytes)


@lru_cache(maxsize=64)
def count_teacher(spec: NetworkSpec, preset: Preset) -> Counts:
    """One micro-batch of the teacher's flow matching."""
    settings = preset.lora

    def prepare(network: Any) -> Loss:
        batch, prompts = make_batch(preset, settings.batch_size), make_prompts(preset)
        nobody = torch.zeros(settings.batch_size, dtype=torch.bool)
        draws = TeacherDraws(
            t_B=torch.rand(settings.batch_size, dtype=torch.float64),
            noise_BCTHW=torch.randn_like(batch.latents_BCTHW),
            text_dropped_B=nobody,
            audio_dropped_B=nobody,
        )
        return lambda: flow_loss(
            network, batch, prompts, draws, shift=preset.schedule.shift, settings=settings
        )

    return _in_full_depth(spec, prepare)


@lru_cache(maxsize=64)
def count_forcing(spec: NetworkSpec, preset: Preset) -> Counts:
    """One micro-batch of Diffusion Forcing.

    Attention is counted as a CPU computes it, with a copy of its window for every chunk. FlexAttention on a GPU spares
    most copies, so that without recomputation a GPU holds a little less.
    """
    settings = preset.diffusion_forcing

    def prepare(network: Any) -> Loss:
        batch, prompts = make_batch(preset, settings.batch_size), make_prompts(preset)
        latents = batch.latents_BCTHW
        draws = ForcingDraws(
            t_BT=torch.rand(settings.batch_size, latents.shape[2]), noise_BCTHW=torch.randn_like(latents)
        )
        return lambda: forcing_loss(network, batch, prompts, draws, settings=settings)

    return _in_full_depth(spec, prepare)


@lru_cache(maxsize=64)
def count_critic(spec: NetworkSpec, preset: Preset) -> Counts:
    """One micro-batch of the critic on a rollout that is there."""
    settings = preset.distill

    def prepare(network: Any) -> Loss:
        batch = make_batch(preset, settings.student.batch_size)
        conditions, draws = batch.conditions(make_prompts(preset).text_BLD), _matching_draws(batch)
        return lambda: critic_loss(
            network,
            batch.latents_BCTHW,
            conditions,
            draws,
            objective=settings.critic_objective,
            precision=settings.student.precision,
        )

    return _in_full_depth(spec, prepare)


@lru_cache(maxsize=64)
def count_look(spec: NetworkSpec, preset: Preset) -> Counts:
    """The prediction of critic or teacher for a noised rollout, without gradient."""
    settings = preset.distill.student

    def prepare(network: Any) -> Loss:
        batch = make_batch(preset, settings.batch_size)
        conditions, t_B = batch.conditions(make_prompts(preset).text_BLD), _matching_draws(batch).t_B
        return lambda: critic_prediction(
            network, batch.latents_BCTHW, t_B, conditions, precision=settings.precision
        )

    return _in_full_depth(spec, prepare)


@dataclass(frozen=True, kw_only=True)
class RolloutCounts:
    """One rollout of a micro-batch with gradient, ended at its first call, with its way back.

    call: what every further call of all chunks adds; call_passes: how often it reads the weights. cache_bytes: of the
    KV cache, which the rollout holds among others.
    """

    counts: Counts
    call: Work
    call_passes: float
    cache_bytes: float


@lru_cache(maxsize=64)
def count_rollout(spec: NetworkSpec, preset: Preset) -> RolloutCounts:
    """The rollout of a student over a training window.

    Of the calls of a chunk only the one at the exit has a gradient. Those before it are counted as copies of it.
    """
    settings, side = preset.distill.student, preset.video.size // SPACE_STRIDE

    def rolled_out(num_layers: int) -> RolloutCounts:
        with FakeMeter() as meter:
            network: Any = spec.build(num_layers)
            with compute_precision(settings.precision, torch.device("cpu")):
                cache = network.new_cache(settings.batch_size, side, side)
            calls = _Calls(network, meter.count)
            counts = _count(meter.count, network, _prepared_rollout(network, preset))
        return RolloutCounts(
            counts=counts,
            call=calls.work,
            call_passes=calls.num,
            cache_bytes=sum(part.numel() * part.element_size() for part in (*cache.keys, *cache.values)),
        )

    return at_depth(rolled_out, spec.model.num_layers)


def _prepared_rollout(network: Any, preset: Preset) -> Loss:
    settings = preset.distill.student
    batch = make_batch(preset, settings.batch_size)
    noise, conditions = (
        torch.randn_like(batch.latents_BCTHW),
        batch.conditions(make_prompts(preset).text_BLD),
    )
    renoise: tuple[tuple[Tensor, ...], ...] = tuple(() for _ in network.chunks(noise.shape[2]))
    draws = RolloutDraws(noise_BCTHW=noise, exit_step=0, renoise=renoise)

    def loss() -> Tensor:
        with compute_precision(settings.precision, noise.device):
            rollout = roll_out(network, conditions, draws, t_list=preset.schedule.t_list, with_grad=True)
        return matching_loss(rollout, fake=noise, real=noise).mean()

    return loss


class _Calls:
    """Looks on as a student denoises chunk after chunk. work: of all calls so far. num: how many these were."""

    def __init__(self, network: Any, count: Count) -> None:
        self._count, self._denoise = count, network.denoise_chunk
        self.work, self.num = Work(), 0
        network.denoise_chunk = self._watched

    def _watched(self, *args: Any) -> Tensor:
        before = self._count.so_far()
        velocity: Tensor = self._denoise(*args)
        added = self._count.so_far().plus(before, -1.0)
        self.work = replace(self.work.plus(added), peak_bytes=0.0, held_bytes=0.0)
        self.num += 1
        return velocity


@lru_cache(maxsize=16)
def count_decoder(preset: Preset) -> tuple[int, Work]:
    """The bytes of the codec that decodes rollouts for the reward, and the work for one sample.

    Nothing for a fitted codec, which is one small matrix.
    """
    with FakeMeter() as meter, torch.no_grad():
        decoder = _decoder(preset)
        if decoder is None:
            return 0, Work()
        codec, network = decoder
        latents = make_batch(preset, 1).latents_BCTHW
        meter.count.work()
        codec.decode(latents)
        work = meter.count.work()
    return sum(weight.numel() * weight.element_size() for weight in network.parameters()), work


def _in_full_depth(spec: NetworkSpec, prepare: Callable[[Any], Loss]) -> Counts:
    """A loss on a network of that kind. prepare: makes what it is computed from, which is not counted."""

    def count(num_layers: int) -> Counts:
        with FakeMeter() as meter:
            network = spec.build(num_layers)
            return _count(meter.count, network, prepare(network))

    return at_depth(count, spec.model.num_layers)


def _count(count: Count, network: Any, loss_of: Loss) -> Counts:
    """Forward and, where the result has a gradient, backward pass of a loss that is computed on a network."""
    passes = _Passes(network.blocks[0])
    count.work()
    loss = loss_of()
    forward = count.work()
    if loss.requires_grad:
        loss.backward()  # type: ignore[no-untyped-call]
    return Counts(
        weights=count_weights(network),
        forward=forward,
        backward=count.work(),
        passes=passes.all,
        graded_passes=passes.graded,
    )


class _Passes:
    """How often a block is called, and in how many of these calls with gradient."""

    def __init__(self, block: nn.Module) -> None:
        self.all = self.graded = 0
        block.register_forward_pre_hook(self._called)

    def _called(self, *_: Any) -> None:
        self.all += 1
        self.graded += torch.is_grad_enabled()


def make_batch(preset: Preset, size: int) -> Batch:
    """A batch of that size with the shapes of the preset."""
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


def make_prompts(preset: Preset) -> Prompts:
    """Prompts with the shapes of the preset."""
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
