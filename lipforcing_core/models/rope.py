"""Rotary positions over time, rows and columns (method A.2).

Adjacent channels (2i, 2i+1) of a head form a pair that is turned by an angle. Of the c = E/2 pairs of a
head the first c - 2*(c//3) follow the temporal position, the next c//3 the row, the last c//3 the column;
pair i of an axis with d channels turns by position * 10000^(-2i/d).

Letters: T latent frames, P tokens of a latent frame, N heads, E head width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from lipforcing_core.base.errors import BadInputError

MAX_POSITIONS = 1024
_RANGES_REMEMBERED = 16


class Rotation(NamedTuple):
    """Cosine and sine of the angle of every token and pair, ``[..., T, P, 1, E/2]`` float32.

    ``turn``: both as complex numbers, for eager code; None in compiled code.
    """

    cos: Tensor
    sin: Tensor
    turn: Tensor | None

    def frames(self, start: int, stop: int | None = None) -> Rotation:
        """The rotations of latents ``[start, stop)`` along the time axis."""
        along_time = (..., slice(start, stop), slice(None), slice(None), slice(None))
        turn = None if self.turn is None else self.turn[along_time]
        return Rotation(self.cos[along_time], self.sin[along_time], turn)


class RotaryTables(nn.Module):
    """Tables for ``MAX_POSITIONS`` positions per axis: computed in float64, kept in float32, not in checkpoints.

    They are rebuilt after every move or cast of the model: casting a model to bf16, or materialising it with
    ``to_empty`` from the meta device, leaves them exact. Rotations of ranges are remembered, since a stream asks
    for the same one in every call; a compiler is given the arithmetic instead, which it fuses with the turning.
    """

    time_cos: Tensor

    def __init__(self, head_dim: int) -> None:
        super().__init__()
        self.head_dim = head_dim
        for name, table in rotary_tables(head_dim).items():
            self.register_buffer(name, table.float(), persistent=False)
        self._known: dict[tuple[range, int, int], Rotation] = {}

    @property
    def device(self) -> torch.device:
        """Where the tables are, and rotations will be."""
        return self.time_cos.device

    def __getstate__(self) -> dict[str, Any]:
        """Without the remembered rotations, which need not travel with copies of a model."""
        return self.__dict__ | {"_known": {}}

    def forward(self, positions: range | Sequence[Sequence[int]], rows: int, columns: int) -> Rotation:
        """Rotations for latents at the given temporal positions.

        ``positions``: a range gives ``[T, P, 1, E/2]``; G lists of equal length give ``[G, T, P, 1, E/2]``.
        Raises ``BadInputError`` for positions below 0 or beyond ``MAX_POSITIONS``.
        """
        if torch.compiler.is_compiling():
            return self._rotation(positions, rows, columns, eager=False)
        if not isinstance(positions, range):
            return self._rotation(positions, rows, columns, eager=True)
        key = (positions, rows, columns)
        if key not in self._known:
            if len(self._known) >= _RANGES_REMEMBERED:
                self._known.clear()
            with torch.inference_mode(False), torch.no_grad():  # may serve inference first and training later
                self._known[key] = self._rotation(positions, rows, columns, eager=True)
        return self._known[key]

    def _rotation(
        self, positions: range | Sequence[Sequence[int]], rows: int, columns: int, *, eager: bool
    ) -> Rotation:
        cos, sin = (self._grid(kind, positions, rows, columns) for kind in ("cos", "sin"))
        return Rotation(cos, sin, torch.complex(cos, sin) if eager else None)

    def _grid(self, kind: str, positions: range | Sequence[Sequence[int]], rows: int, columns: int) -> Tensor:
        time: Tensor = getattr(self, f"time_{kind}")
        row: Tensor = getattr(self, f"row_{kind}")[:rows]
        column: Tensor = getattr(self, f"column_{kind}")[:columns]
        ranges = [positions] if isinstance(positions, range) else positions
        first, last = min(min(p) for p in ranges), max(max(p) for p in ranges)
        if first < 0 or max(last, rows - 1, columns - 1) >= MAX_POSITIONS:
            raise BadInputError(
                f"rotary positions are 0 to {MAX_POSITIONS - 1}; asked for {first} to {last}, {rows}x{columns}"
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
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self._known.clear()
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
    if rotation.turn is None:
        return rotate_real(x, rotation)
    pairs = torch.view_as_complex(torch.unflatten(x.float(), -1, (-1, 2)))
    return torch.view_as_real(pairs * rotation.turn).flatten(-2).to(x.dtype)


def rotate_real(x: Tensor, rotation: Rotation) -> Tensor:
    """``rotate`` without complex numbers."""
    even, odd = torch.unflatten(x.float(), -1, (-1, 2)).unbind(-1)
    cos, sin, _ = rotation
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1).flatten(-2).to(x.dtype)
