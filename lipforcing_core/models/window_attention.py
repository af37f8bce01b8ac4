"""Self-attention of a whole clip in which every chunk sees only its window: two ways to compute the same.

``groups``: chunks of equal size are samples of one dense attention, each with a copy of its window. Needs no mask.
``mask``: one attention over the clip, in which a mask hides what is outside the windows. Needs FlexAttention to be
quick, and then spares most of the copies.

Letters: B batch, T latent frames, P tokens of a latent frame, N heads, E head width, G chunks of a group, Q K latents
per chunk as queries and keys, S latents as keys, copies included.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Literal

import torch
from torch import Tensor

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.suggestions import unknown
from lipforcing_core.models.attention import Mask, attention, flex_serves
from lipforcing_core.models.frame_mask import block_mask, dense_mask
from lipforcing_core.models.rope import MAX_POSITIONS, RotaryTables, Rotation, rotate
from lipforcing_core.models.wan import LayerMixer
from lipforcing_core.models.window import Positions, WindowConfig, plan_groups, plan_mask

Way = Literal["groups", "mask"]


def best_way(rope: RotaryTables, num_latents: int) -> Way:
    """``mask`` where FlexAttention serves and the clip is no longer than the rotary tables, ``groups`` elsewhere."""
    fits = num_latents <= MAX_POSITIONS
    return "mask" if fits and flex_serves(rope.device, rope.head_dim) else "groups"


def attend_windows(
    way: Way,
    window: WindowConfig,
    num_latents: int,
    positions: Positions,
    rope: RotaryTables,
    grid: tuple[int, int],
) -> LayerMixer:
    """The self-attention of all layers for clips of ``num_latents`` with ``grid`` (rows, columns) of tokens each.

    On the device of ``rope``; raises ``BadInputError`` for positions beyond its tables, and for unknown words.
    """
    if way not in _WAYS:
        raise BadInputError(unknown("way", way, _WAYS))
    return _WAYS[way](window, num_latents, positions, rope, grid)


def _grouped(
    window: WindowConfig, num_latents: int, positions: Positions, rope: RotaryTables, grid: tuple[int, int]
) -> LayerMixer:
    device = rope.device
    plan = plan_groups(window, num_latents, positions)
    groups = [
        (
            torch.tensor(group.queries, device=device),
            torch.tensor(group.keys, device=device),
            rope(group.query_positions, *grid),
            rope(group.key_positions, *grid),
        )
        for group in plan
    ]
    planned = [latent for group in plan for queries in group.queries for latent in queries]
    in_order = planned == sorted(planned)
    order = None if in_order else torch.tensor(planned, device=device).argsort()
    return partial(_attend_groups, groups, order)


def _attend_groups(
    groups: list[tuple[Tensor, Tensor, Rotation, Rotation]],
    order: Tensor | None,
    _layer: int,
    q_BTPNE: Tensor,
    k_BTPNE: Tensor,
    v_BTPNE: Tensor,
) -> Tensor:
    """``order`` puts the latents back in order where the groups have them in another."""
    batch = q_BTPNE.shape[0]
    outputs = []
    for queries_GQ, keys_GK, query_rotation, key_rotation in groups:
        q = rotate(_gather(q_BTPNE, queries_GQ), query_rotation)
        k = rotate(_gather(k_BTPNE, keys_GK), key_rotation)
        v = _gather(v_BTPNE, keys_GK)
        # (B G) (Q P) N E
        out = attention(*(part.flatten(2, 3).flatten(0, 1) for part in (q, k, v)))
        outputs.append(out.reshape(batch, -1, *q_BTPNE.shape[2:]))
    out_BTPNE = torch.cat(outputs, dim=1)
    return out_BTPNE if order is None else out_BTPNE.index_select(1, order)


def _gather(x_BTPNE: Tensor, index_GK: Tensor) -> Tensor:
    return torch.unflatten(x_BTPNE.index_select(1, index_GK.flatten()), 1, index_GK.shape)


def _masked(
    window: WindowConfig, num_latents: int, positions: Positions, rope: RotaryTables, grid: tuple[int, int]
) -> LayerMixer:
    device, (rows, columns) = rope.device, grid
    plan = plan_mask(window, num_latents, positions)
    mask_of = _mask_of.__wrapped__ if torch.compiler.is_compiling() else _mask_of
    mask = mask_of(plan.visible, rows * columns, device, flex_serves(device, rope.head_dim))
    keys_S = torch.tensor(plan.keys, device=device) if len(plan.keys) > num_latents else None
    query_rotation, key_rotation = (
        rope(positions if isinstance(positions, range) else (positions,), *grid)
        for positions in (plan.query_positions, plan.key_positions)
    )
    return partial(_attend_masked, keys_S, query_rotation, key_rotation, mask)


@lru_cache(maxsize=8)
def _mask_of(visible: tuple[tuple[bool, ...], ...], tokens: int, device: torch.device, flex: bool) -> Mask:
    """Made once for all steps of a training, of which some may be inference."""
    with torch.inference_mode(False):
        return (block_mask if flex else dense_mask)(torch.tensor(visible, device=device), tokens)


def _attend_masked(
    keys_S: Tensor | None,
    query_rotation: Rotation,
    key_rotation: Rotation,
    mask: Mask,
    _layer: int,
    q_BTPNE: Tensor,
    k_BTPNE: Tensor,
    v_BTPNE: Tensor,
) -> Tensor:
    """``keys_S``: which latents are keys; None where they are those of the clip, in order."""
    q = rotate(q_BTPNE, query_rotation)
    k_BSPNE, v_BSPNE = (
        part if keys_S is None else part.index_select(1, keys_S) for part in (k_BTPNE, v_BTPNE)
    )
    k_BSPNE = rotate(k_BSPNE, key_rotation)
    return attention(q.flatten(1, 2), k_BSPNE.flatten(1, 2), v_BSPNE.flatten(1, 2), mask).view_as(q)


_WAYS: dict[Way, Callable[..., LayerMixer]] = {"groups": _grouped, "mask": _masked}
