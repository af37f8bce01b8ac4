"""Which latents a chunk sees, and at which positions (method B.1, B.2, B.4): arithmetic on latent indices."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import repeat
from typing import Literal, get_args

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.suggestions import unknown

Positions = Literal["window", "absolute", "own_window"]
RolloutPositions = Literal["window", "absolute"]


@dataclass(frozen=True, kw_only=True)
class WindowConfig:
    """Sizes in latent frames. ``window_latents`` counts the chunk being generated; ``None`` sees the whole past.

    Raises ``BadInputError`` where the window does not hold the sink and a chunk.
    """

    chunk_latents: int = 3
    window_latents: int | None = 7
    sink_latents: int = 1

    def __post_init__(self) -> None:
        if self.sink_latents < 0 or self.chunk_latents < 1:
            raise BadInputError(
                f"sink_latents={self.sink_latents} must not be negative, chunk_latents={self.chunk_latents} not below 1"
            )
        if self.window_latents is not None and self.window_latents < self.chunk_latents + self.sink_latents:
            raise BadInputError(
                f"window_latents={self.window_latents} must hold the sink ({self.sink_latents}) "
                f"and the chunk ({self.chunk_latents})"
            )

    @property
    def past_budget(self) -> int | None:
        """Most past latents a chunk can see: 4 for window 7; ``None`` = unlimited."""
        return None if self.window_latents is None else self.window_latents - self.chunk_latents

    def chunks(self, num_latents: int) -> list[tuple[int, int]]:
        """Half-open latent ranges of the chunks; what does not divide evenly makes the first longer (B.1)."""
        first = (
            num_latents
            if num_latents < self.chunk_latents
            else (self.chunk_latents + num_latents % self.chunk_latents)
        )
        starts = [0, *range(first, num_latents, self.chunk_latents)]
        return list(zip(starts, [*starts[1:], num_latents], strict=True))

    def past(self, num_past: int) -> list[int]:
        """The past latents that the chunk starting at ``num_past`` sees: all, or sink and latest (B.2)."""
        budget = self.past_budget
        if budget is None or num_past <= budget:
            return list(range(num_past))
        recent = budget - self.sink_latents
        return [*range(self.sink_latents), *range(num_past - recent, num_past)]


@dataclass(frozen=True)
class ChunkGroup:
    """Chunks of equal length that see equally many latents: one attention call (letters: G chunks).

    ``queries[g]``, ``keys[g]``: latent indices; ``*_positions``: their temporal rotary positions.
    ``key_positions`` is a range where all chunks of the group share it.
    """

    queries: tuple[tuple[int, ...], ...]
    keys: tuple[tuple[int, ...], ...]
    query_positions: range | tuple[tuple[int, ...], ...]
    key_positions: range | tuple[tuple[int, ...], ...]

    def chunks(self) -> Iterator[tuple[Sequence[int], Sequence[int], Sequence[int], Sequence[int]]]:
        """Of each chunk: queries, keys, and the positions of both."""
        at = (
            repeat(positions, len(self.queries)) if isinstance(positions, range) else positions
            for positions in (self.query_positions, self.key_positions)
        )
        return zip(self.queries, self.keys, *at, strict=True)


Member = tuple[tuple[int, ...], tuple[int, ...]]
"""Latents as queries, and the latents that all of them see."""


@dataclass(frozen=True)
class MaskPlan:
    """All chunks in one attention over the clip (letters: T latents as queries, S as keys).

    ``keys[s]``: a latent's index; the first T are the clip in order, then come copies at other positions.
    ``visible[t][s]``: whether latent t sees ``keys[s]``. Positions are rotary ones, of latents and of ``keys``; a range
    where they are 0, 1, 2 ...
    """

    query_positions: range | tuple[int, ...]
    keys: tuple[int, ...]
    key_positions: range | tuple[int, ...]
    visible: tuple[tuple[bool, ...], ...]


@lru_cache(maxsize=64)
def plan_groups(window: WindowConfig, num_latents: int, positions: Positions) -> tuple[ChunkGroup, ...]:
    """All latents of a clip, grouped by size: few groups, however long the clip (finite window)."""
    by_size: dict[tuple[int, int], list[Member]] = {}
    who_sees_whom = _rollout_members if positions == "window" else _reference_members
    for queries, keys in who_sees_whom(window, num_latents):
        by_size.setdefault((len(queries), len(keys)), []).append((queries, keys))
    groups = []
    index = position_of_latents(window, num_latents, positions)
    for (num_queries, num_keys), members in by_size.items():
        queries_G = tuple(queries for queries, _ in members)
        keys_G = tuple(keys for _, keys in members)
        if index is None:
            at = (range(num_keys - num_queries, num_keys), range(num_keys))
            groups.append(ChunkGroup(queries_G, keys_G, *at))
        else:
            groups.append(ChunkGroup(queries_G, keys_G, _lookup(index, queries_G), _lookup(index, keys_G)))
    return tuple(groups)


@lru_cache(maxsize=64)
def plan_mask(window: WindowConfig, num_latents: int, positions: Positions) -> MaskPlan:
    """The attention of ``plan_groups`` as a mask.

    Rotary attention depends on distances alone. So the positions of any chunk may be shifted until its queries stand
    where the clip has them, which puts nearly all its keys where the clip has them too. Those that are elsewhere get a
    copy: with ``window`` positions the sink, one copy per chunk, since it stays 4 latents away however far the clip
    has gone.
    """
    place = position_of_latents(window, num_latents, positions) or list(range(num_latents))
    column = {(latent, place[latent]): latent for latent in range(num_latents)}
    columns_seen: list[set[int]] = [set() for _ in range(num_latents)]
    for group in plan_groups(window, num_latents, positions):
        for queries, keys, query_positions, key_positions in group.chunks():
            shift = place[queries[0]] - query_positions[0]
            seen = {
                column.setdefault((latent, position + shift), len(column))
                for latent, position in zip(keys, key_positions, strict=True)
            }
            for latent in queries:
                columns_seen[latent] = seen
    return MaskPlan(
        query_positions=_as_range(place),
        keys=tuple(latent for latent, _ in column),
        key_positions=_as_range([position for _, position in column]),
        visible=tuple(tuple(s in seen for s in range(len(column))) for seen in columns_seen),
    )


def position_of_latents(window: WindowConfig, num_latents: int, positions: Positions) -> list[int] | None:
    """One position per latent, whoever looks at it; ``None`` for ``window``, where it depends on the querying chunk.

    ``absolute``: the latent's index in the clip. ``own_window``: that of a sink latent too, and of any other its
    distance to the start of its own chunk's window, ``max(0, stop - (window - sink))``, as in the full-sequence
    dynamic mode of the reference implementation (B.4). The distance is negative in a first chunk that is longer than
    the window. Raises ``BadInputError`` for any other word.
    """
    if positions not in get_args(Positions):
        raise BadInputError(unknown("positions", positions, get_args(Positions)))
    if positions == "window":
        return None
    if positions == "absolute" or window.window_latents is None:
        return list(range(num_latents))
    reach = window.window_latents - window.sink_latents
    return [
        i if i < window.sink_latents else i - max(0, stop - reach)
        for start, stop in window.chunks(num_latents)
        for i in range(start, stop)
    ]


def _rollout_members(window: WindowConfig, num_latents: int) -> Iterator[Member]:
    """What generation shows to every chunk: its past (B.2) and itself."""
    for start, stop in window.chunks(num_latents):
        queries = tuple(range(start, stop))
        yield queries, (*window.past(start), *queries)


def _reference_members(window: WindowConfig, num_latents: int) -> Iterator[Member]:
    """What the reference's full-sequence mask shows (B.4): sink, the last window - sink latents, and the latent itself.

    The same as in generation, but for two odd windows. In a first chunk that is longer than window - sink, latents do
    not see all of each other; and a sink that is longer than the first chunk is seen by it, its own future included.
    Latents of a chunk that see the same are one member.
    """
    if window.window_latents is None:
        sink, reach = range(0), num_latents
    else:
        sink = range(min(window.sink_latents, num_latents))
        reach = window.window_latents - window.sink_latents
    for start, stop in window.chunks(num_latents):
        shared = {*sink, *range(max(0, stop - reach), stop)}
        seen = {i: tuple(sorted(shared | {i})) for i in range(start, stop)}
        for keys in dict.fromkeys(seen.values()):
            yield tuple(i for i in seen if seen[i] == keys), keys


def _as_range(positions: list[int]) -> range | tuple[int, ...]:
    counted = range(len(positions))
    return counted if positions == list(counted) else tuple(positions)


def _lookup(index: list[int], latents_G: tuple[tuple[int, ...], ...]) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(index[i] for i in latents) for latents in latents_G)
