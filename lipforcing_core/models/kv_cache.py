"""Rolling memory of the causal student: keys and values of past latents, per layer (method B.3).

Letters: B batch, T latent frames, P tokens of a latent frame, N heads, E head width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.models.window import WindowConfig


class Past(Protocol):
    """What a chunk sees of the past: a ``KVCache``, or a ``PastSnapshot`` of one."""

    @property
    def window(self) -> WindowConfig:
        """Which of all past latents those are."""
        ...

    @property
    def batch(self) -> int:
        """B."""
        ...

    @property
    def num_past(self) -> int:
        """How many past latents the chunk sees."""
        ...

    @property
    def num_latents(self) -> int:
        """How many latents of the clip came before the chunk."""
        ...

    def past(self, layer: int) -> tuple[Tensor, Tensor]:
        """Keys and values that the chunk sees, ``[B, num_past, P, N, E]``, in the order of their positions."""
        ...

    def snapshot(self) -> PastSnapshot:
        """The same as values that do not change."""
        ...


@dataclass(frozen=True, kw_only=True)
class PastSnapshot:
    """The past of one chunk as values: what is stored or evicted later does not change it.

    A call that is repeated in the backward pass (activation checkpointing) must see what it saw at first.
    """

    window: WindowConfig
    num_latents: int
    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]

    @property
    def batch(self) -> int:
        """B."""
        return self.keys[0].shape[0]

    @property
    def num_past(self) -> int:
        """How many past latents the chunk sees."""
        return self.keys[0].shape[1]

    def past(self, layer: int) -> tuple[Tensor, Tensor]:
        """Keys and values that the chunk sees, ``[B, num_past, P, N, E]``, in the order of their positions."""
        return self.keys[layer], self.values[layer]

    def snapshot(self) -> PastSnapshot:
        """Itself."""
        return self


class KVCache:
    """Fixed buffers ``[B, capacity, P, N, E]`` per layer: the sink in front, then the most recent latents in order.

    Keys are stored normed but not rotated, since a latent's position changes as the window moves past it
    (B.2). Nothing is ever allocated after construction but short-lived copies; ``reset`` starts a new clip
    in place. Sizes are Python integers, so reading costs no synchronisation with the device.

    ``capacity`` is ``window.past_budget`` (sink + what one chunk can see) by default. A larger one keeps more than
    is read: with room for the whole clip nothing is evicted, and the reads of earlier chunks can be repeated. Results
    do not depend on it.
    """

    def __init__(
        self,
        *,
        window: WindowConfig,
        num_layers: int,
        batch: int,
        tokens_per_latent: int,
        num_heads: int,
        head_dim: int,
        capacity: int | None = None,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        budget = window.past_budget
        if capacity is None:
            capacity = budget
        if capacity is None:
            raise BadInputError(
                "an unlimited window needs a cache capacity: give the number of latents of the clip"
            )
        if budget is not None and capacity < budget:
            raise BadInputError(
                f"cache capacity {capacity} is less than the {budget} past latents that are read"
            )
        self.window = window
        self.capacity = capacity
        shape = (batch, capacity, tokens_per_latent, num_heads, head_dim)
        self.keys = [torch.zeros(shape, dtype=dtype, device=device) for _ in range(num_layers)]
        self.values = [torch.zeros(shape, dtype=dtype, device=device) for _ in range(num_layers)]
        self.held = 0
        self.num_latents = 0

    @property
    def batch(self) -> int:
        """B."""
        return self.keys[0].shape[0]

    @property
    def num_past(self) -> int:
        """How many past latents the next chunk sees."""
        budget = self.window.past_budget
        return self.held if budget is None else min(self.held, budget)

    def past(self, layer: int) -> tuple[Tensor, Tensor]:
        """Keys and values that the next chunk sees, ``[B, num_past, P, N, E]``, in the order of their positions."""
        return self._window(self.keys[layer]), self._window(self.values[layer])

    def snapshot(self) -> PastSnapshot:
        """Copies of what the next chunk sees."""
        pasts = [self.past(layer) for layer in range(len(self.keys))]
        return PastSnapshot(
            window=self.window,
            num_latents=self.num_latents,
            keys=tuple(key.clone() for key, _ in pasts),
            values=tuple(value.clone() for _, value in pasts),
        )

    def write(self, layer: int, k_BTPNE: Tensor, v_BTPNE: Tensor) -> None:
        """Put a chunk's keys and values behind the others, evicting the oldest after the sink where full.

        Detached. Counts only change with ``advance``, once all layers are written.
        """
        self._append(self.keys[layer], k_BTPNE.detach())
        self._append(self.values[layer], v_BTPNE.detach())

    def advance(self, num_latents: int) -> None:
        """Account for a chunk of ``num_latents`` that ``write`` stored in every layer."""
        self.held = min(self.held + num_latents, self.capacity)
        self.num_latents += num_latents

    def reset(self) -> None:
        """Forget the clip; the buffers stay."""
        self.held = 0
        self.num_latents = 0

    def _window(self, buffer: Tensor) -> Tensor:
        if self.num_past == self.held:
            return buffer[:, : self.held]
        sink = self.window.sink_latents
        recent = self.num_past - sink
        return torch.cat([buffer[:, :sink], buffer[:, self.held - recent : self.held]], dim=1)

    def _append(self, buffer: Tensor, new: Tensor) -> None:
        num_new = new.shape[1]
        if self.held + num_new <= self.capacity:
            buffer[:, self.held : self.held + num_new] = new
            return
        if self.window.past_budget is None:
            raise BadInputError(
                f"the cache holds {self.capacity} latents and is full: make it as long as the clip"
            )
        sink = self.window.sink_latents
        if self.held < sink:
            buffer[:, self.held : sink] = new[:, : sink - self.held]
        room = self.capacity - sink
        if new.shape[1] < room:
            kept = room - new.shape[1]
            new = torch.cat([buffer[:, self.held - kept : self.held], new], dim=1)
        buffer[:, sink:] = new[:, new.shape[1] - room :]
