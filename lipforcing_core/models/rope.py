"""Rotary positions over time, rows and columns (method A.2).

Adjacent channels (2i, 2i+1) of a head form a pair that is turned by an angle. Of the c = E/2 pairs of a
head the first c - 2*(c//3) follow the temporal position, the next c//3 the row, the last c//3 the column;
pair i of an axis with d channels turns by position * 10000^(-2i/d).

Letters: T latent frames, P tokens of a latent frame, N heads, E head width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from lipforcing_core.errors import BadInputError

MAX_POSITIONS = 1024


class Rotation(NamedTuple):
    """Cosine and sine of the angle of every token and pair, ``[..., T, P, 1, E/2]`` float32."""

    cos: Tensor
    sin: Tensor

    def frames(self, start: int, stop: int | None = None) -> Rotation:
        """The rotations of latents ``[start, stop)`` along the time axis."""
        return Rotation(self.cos[..., start:stop, :, :, :], self.sin[..., start:stop, :, :, :])


class RotaryTables(nn.Module):
    """Tables for ``MAX_POSITIONS`` positions per axis: computed in float64, kept in float32, not in
    checkpoints.

    They are rebuilt after every move or cast of the model: casting a model to bf16, or materialising it with
    ``to_empty`` from the meta device, leaves them exact.
    """

    def __init__(self, head_dim: int) -> None:
        super().__init__()
        self.head_dim = head_dim
        for name, table in rotary_tables(head_dim).items():
            self.register_buffer(name, table.float(), persistent=False)

    def forward(self, positions: range | Sequence[Sequence[int]], rows: int, columns: int) -> Rotation:
        """Rotations for latents at the given temporal positions.

        ``positions``: a range gives ``[T, P, 1, E/2]``; G lists of equal length give ``[G, T, P, 1, E/2]``.
        Raises ``BadInputError`` beyond ``MAX_POSITIONS``.
        """
        return Rotation(*(self._grid(kind, positions, rows, columns) for kind in ("cos", "sin")))

    def _grid(self, kind: str, positions: range | Sequence[Sequence[int]], rows: int, columns: int) -> Tensor:
        time: Tensor = getattr(self, f"time_{kind}")
        row: Tensor = getattr(self, f"row_{kind}")[:rows]
        column: Tensor = getattr(self, f"column_{kind}")[:columns]
        last = positions.stop - 1 if isinstance(positions, range) else max(max(p) for p in positions)
        if max(last, rows - 1, columns - 1) >= MAX_POSITIONS:
            raise BadInputError(
                f"rotary positions end at {MAX_POSITIONS - 1}; asked for {last}, {rows}x{columns}"
            )
        if isinstance(positions, range):
            chosen = time[positions.start : positions.stop]
        else:
            chosen = time[torch.tensor(positions, device=time.device)]
        grid = (*chosen.shape[:-1], rows, columns, -1)
        angles = torch.cat(
            [
                chosen[..., None, None, :].expand(grid),
                row[:, None, :].expand(grid),
                column.expand(grid),
            ],
            dim=-1,
        )
        return angles.flatten(-3, -2).unsqueeze(-2)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> RotaryTables:
        super()._apply(fn, recurse)
        for name, table in rotary_tables(self.head_dim).items():
            setattr(self, name, table.to(dtype=torch.float32, device=getattr(self, name).device))
        return self


def rotary_tables(head_dim: int, num_positions: int = MAX_POSITIONS) -> dict[str, Tensor]:
    """``{time,row,column}_{cos,sin}`` -> ``[num_positions, pairs]`` float64, on the CPU."""
    pairs = head_dim // 2
    split = {"time": pairs - 2 * (pairs // 3), "row": pairs // 3, "column": pairs // 3}
    position = torch.arange(num_positions, dtype=torch.float64, device="cpu")
    tables: dict[str, Tensor] = {}
    for axis, count in split.items():
        exponent = torch.arange(count, dtype=torch.float64, device="cpu") / count
        angle = torch.outer(position, 10000.0**-exponent)
        tables[f"{axis}_cos"], tables[f"{axis}_sin"] = angle.cos(), angle.sin()
    return tables


def rotate(x: Tensor, rotation: Rotation) -> Tensor:
    """Turn queries or keys ``[..., T, P, N, E]``; arithmetic in float32, result in the type of ``x``.

    Eager code multiplies complex numbers (one kernel; 3 to 4 times quicker on a CPU than slices); compiled
    code gets the real form, which a compiler fuses with its neighbours.
    """
    if torch.compiler.is_compiling():
        return rotate_real(x, rotation)
    pairs = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * torch.complex(rotation.cos, rotation.sin)).flatten(-2).to(x.dtype)


def rotate_real(x: Tensor, rotation: Rotation) -> Tensor:
    """``rotate`` without complex numbers."""
    even, odd = x.float().unflatten(-1, (-1, 2)).unbind(-1)
    cos, sin = rotation
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1).flatten(-2).to(x.dtype)
