"""What the training side asks of a network. Any module that offers these calls can be trained, whatever is inside.

Letters: B batch, C channels, T latent frames, H W latent size.
"""

from __future__ import annotations

from typing import Protocol, TypeVar

from torch import Tensor

from lipforcing_core.models.conditions import Conditions, EncodedConditions

P_contra = TypeVar("P_contra", contravariant=True)
P_co = TypeVar("P_co", covariant=True)
C = TypeVar("C", bound="ChunkCache[object]")


class VelocityNetwork(Protocol):
    """Predicts the velocity of a whole clip: teacher and critic, for example a ``WanTransformer``."""

    def encode_conditions(self, cond: Conditions, /) -> EncodedConditions:
        """Everything that does not depend on the noise level, differentiable in the encoders' weights."""
        ...

    def __call__(self, x_BCTHW: Tensor, t_B: Tensor, encoded: EncodedConditions, /) -> Tensor:
        """Velocity ``[B, C, T, H, W]`` of noisy latents at one noise level per sample."""
        ...


class ClipStudent(Protocol):
    """A causal network that is run over a whole clip in parallel: Diffusion Forcing."""

    def encode_conditions(self, cond: Conditions, /) -> EncodedConditions:
        """As for ``VelocityNetwork``."""
        ...

    def forward_full(self, x_BCTHW: Tensor, t_BT: Tensor, encoded: EncodedConditions, /) -> Tensor:
        """Velocity ``[B, C, T, H, W]`` of all chunks at once, with one noise level per latent."""
        ...


class ChunkCache(Protocol[P_co]):
    """The memory of a student between two chunks."""

    def snapshot(self) -> P_co:
        """The past that the next chunk sees, as values that later writes do not change."""
        ...


class ChunkStudent(Protocol[C, P_contra]):
    """A causal network that generates chunk by chunk: Self-Forcing. Generic in its kind of cache and of past."""

    def chunks(self, num_latents: int, /) -> list[tuple[int, int]]:
        """Half-open latent ranges of the chunks of a clip."""
        ...

    def encode_conditions(self, cond: Conditions, /) -> EncodedConditions:
        """As for ``VelocityNetwork``."""
        ...

    def new_cache(self, batch: int, height: int, width: int, /) -> C:
        """An empty cache for latents of ``height x width``."""
        ...

    def denoise_chunk(
        self, x_BCTHW: Tensor, t: Tensor, encoded: EncodedConditions, past: P_contra, /
    ) -> Tensor:
        """Velocity of a chunk from its past; a function of its arguments and the weights alone."""
        ...

    def store_chunk(self, x0_BCTHW: Tensor, encoded: EncodedConditions, cache: C, /) -> None:
        """Append the clean chunk to the cache, in one pass at t = 0. The caller switches gradients off."""
        ...
