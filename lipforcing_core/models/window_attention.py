"""Self-attention of a whole clip in which every chunk sees only its window: two ways to compute the same.

``grouped``: chunks of equal size are samples of one dense attention, each with a copy of its window. Needs no mask.
``masked``: one attention over the clip, in which a mask hides what is outside the windows. Needs FlexAttention to be
quick, and then spares most of the copies.

Letters: B batch, T latent frames, P tokens of a latent frame, N heads, E head width, G chunks of a group, Q K latents
per chunk as queries and keys, S latents as keys, copies included.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from lipforcing_core.models.attention import Mask, attention, frame_mask
from lipforcing_core.models.rope import RotaryTables, Rotation, rotate
from lipforcing_core.models.wan import LayerMixer
from lipforcing_core.models.window import Positions, WindowConfig, plan_groups, plan_mask


def grouped(
    window: WindowConfig,
    num_latents: int,
    positions: Positions,
    rope: RotaryTables,
    grid: tuple[int, int],
    device: torch.device,
) -> LayerMixer:
    """One dense attention per group of ``plan_groups``; raises as ``rope`` does."""
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


def masked(
    window: WindowConfig,
    num_latents: int,
    positions: Positions,
    rope: RotaryTables,
    grid: tuple[int, int],
    device: torch.device,
) -> LayerMixer:
    """One attention with the mask of ``plan_mask``; raises as ``rope`` does, so beyond 1024 latents."""
    plan = plan_mask(window, num_latents, positions)
    rows, columns = grid
    visible_TS = torch.tensor(plan.visible, device=device)
    return partial(
        _attend_masked,
        torch.tensor(plan.keys, device=device),
        rope((plan.query_positions,), *grid),
        rope((plan.key_positions,), *grid),
        frame_mask(visible_TS, rows * columns, rope.head_dim),
    )


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
    return x_BTPNE.index_select(1, index_GK.flatten()).unflatten(1, index_GK.shape)


def _attend_masked(
    keys_S: Tensor,
    query_rotation: Rotation,
    key_rotation: Rotation,
    mask: Mask,
    _layer: int,
    q_BTPNE: Tensor,
    k_BTPNE: Tensor,
    v_BTPNE: Tensor,
) -> Tensor:
    q = rotate(q_BTPNE, query_rotation)
    k_BSPNE = rotate(k_BTPNE.index_select(1, keys_S), key_rotation)
    v_BSPNE = v_BTPNE.index_select(1, keys_S)
    return attention(q.flatten(1, 2), k_BSPNE.flatten(1, 2), v_BSPNE.flatten(1, 2), mask).view_as(q)
