"""Who is who where the corpus does not say: clips of similar faces get one identity, so that splits share nobody.

Clips without an official identity are clustered by single linkage: two clips whose cosine reaches the threshold are one
person, and so is whoever is linked to them. Single linkage joins rather too much than too little, and it keeps the
promise that matters: no two clips in different splits are as alike as the threshold.

New sources change nothing about old clips. Every identity that was given once is remembered with its clips in the
workspace. New clips that resemble somebody known, by an official name or from an earlier run, join the most similar
one; only others found new identities, named after the smallest of their clip ids. Where new clips link two people who
are remembered in different splits, the old ones stay where they are, and the report says that the two look like one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from lipforcing_core.base.products import StepStore, atomic_path, content_key, one_process

_BLOCK_CLIPS = 1024
_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A clip and the direction of its face, float32 of length 1. ``identity``: the official one."""

    clip_id: str
    vector_D: np.ndarray
    identity: str | None = None


@dataclass(frozen=True, kw_only=True)
class Known:
    """Clips whose identity is settled: ids, identities, and directions float32 [N, D]."""

    clip_ids: tuple[str, ...] = ()
    identities: tuple[str, ...] = ()
    vectors_ND: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), dtype=np.float32))


def identify(clips: Iterable[Seen], remembered: Known, *, cosine: float) -> dict[str, str]:
    """The identity of every clip without an official one, by clip id; the order of the clips does not matter."""
    ordered = sorted(clips, key=lambda clip: clip.clip_id)
    old = dict(zip(remembered.clip_ids, remembered.identities, strict=True))
    given = {c.clip_id: old[c.clip_id] for c in ordered if c.identity is None and c.clip_id in old}
    new = [c for c in ordered if c.identity is None and c.clip_id not in old]
    if not new:
        return given
    official = [c for c in ordered if c.identity is not None]
    anchors = [c.identity or "" for c in official] + list(remembered.identities)
    vectors = [c.vector_D for c in official] + list(remembered.vectors_ND)
    new_ND = np.stack([c.vector_D for c in new])
    groups = single_linkage(new_ND, cosine)
    nearest = _nearest(new_ND, np.stack(vectors), cosine) if vectors else [(-2.0, -1)] * len(new)
    best: dict[int, tuple[float, int]] = {}
    for group, (alike, anchor) in zip(groups.tolist(), nearest, strict=True):
        if anchor >= 0 and alike > best.get(group, (-2.0, -1))[0]:
            best[group] = (alike, anchor)
    for clip, group in zip(new, groups.tolist(), strict=True):
        found = best.get(group)
        given[clip.clip_id] = anchors[found[1]] if found else f"person-{new[group].clip_id}"
    return given


def single_linkage(vectors_ND: np.ndarray, cosine: float) -> np.ndarray:
    """The cluster of every row, named by the smallest row in it: int64 [N]. Rows linked by the cosine are together.

    A block of rows at a time is held against all, so that memory grows with their number and not with its square.
    """
    clusters_N = np.arange(len(vectors_ND))
    for start in range(0, len(vectors_ND), _BLOCK_CLIPS):
        linked = vectors_ND[start : start + _BLOCK_CLIPS] @ vectors_ND.T >= cosine
        for row, links_N in enumerate(linked, start=start):
            joined = np.union1d(clusters_N[links_N], clusters_N[row])
            if len(joined) > 1:
                clusters_N[np.isin(clusters_N, joined)] = joined[0]
    return clusters_N


def _nearest(new_ND: np.ndarray, anchors_ND: np.ndarray, cosine: float) -> list[tuple[float, int]]:
    """The most similar anchor of every new row with its cosine; -1 where none reaches the threshold."""
    found = []
    for start in range(0, len(new_ND), _BLOCK_CLIPS):
        alike = new_ND[start : start + _BLOCK_CLIPS] @ anchors_ND.T
        first = alike.argmax(axis=1)
        for row, anchor in zip(alike, first.tolist(), strict=True):
            found.append((float(row[anchor]), anchor if row[anchor] >= cosine else -1))
    return found


def look_alikes(
    vectors_ND: np.ndarray, identities: Sequence[str], splits: Sequence[str], *, cosine: float
) -> list[str]:
    """A line for each two identities of different splits whose clips are as alike as one person; the first few."""
    names_N, sides_N = (_numbered(words) for words in (identities, splits))
    pairs: set[tuple[str, str]] = set()
    for start in range(0, len(vectors_ND), _BLOCK_CLIPS):
        stop = start + _BLOCK_CLIPS
        alike = vectors_ND[start:stop] @ vectors_ND.T >= cosine
        alike &= (sides_N[start:stop, None] != sides_N) & (names_N[start:stop, None] != names_N)
        for row, other in np.argwhere(alike).tolist():
            a, b = sorted((start + row, other), key=lambda n: identities[n])
            pairs.add((f"{identities[a]} ({splits[a]})", f"{identities[b]} ({splits[b]})"))
    lines = [f"{a} and {b} look like one person, and stand in different splits" for a, b in sorted(pairs)]
    if len(lines) > _SHOWN:
        lines[_SHOWN:] = [
            f"{len(lines) - _SHOWN} more pairs of identities look like one person across splits"
        ]
    return lines


def _numbered(words: Sequence[str]) -> np.ndarray:
    """A number for every word, the same for the same word: numbers are compared much faster."""
    return np.unique(np.array(words, dtype=object), return_inverse=True)[1]


def remembered_identities(store: StepStore, backend: str, cosine: float) -> Known:
    """What earlier runs in a workspace have given with a network and a threshold."""
    try:
        with np.load(_memory(store, backend, cosine), allow_pickle=False) as stored:
            return Known(
                clip_ids=tuple(stored["clip_ids"].tolist()),
                identities=tuple(stored["identities"].tolist()),
                vectors_ND=stored["vectors_ND"].astype(np.float32),
            )
    except FileNotFoundError:
        return Known()


def settle(clips: Sequence[Seen], store: StepStore, backend: str, *, cosine: float) -> dict[str, str]:
    """``identify`` with what the workspace remembers, and remember the result for later runs."""
    path = _memory(store, backend, cosine)
    with one_process(path.with_suffix(".lock")):
        known = remembered_identities(store, backend, cosine)
        given = identify(clips, known, cosine=cosine)
        old = set(known.clip_ids)
        new = [c for c in clips if c.clip_id in given and c.clip_id not in old]
        new.sort(key=lambda clip: clip.clip_id)
        if new:
            vectors_ND = np.stack([*known.vectors_ND, *(c.vector_D for c in new)])
            identities = [*known.identities, *(given[c.clip_id] for c in new)]
            with atomic_path(path) as temporary:
                np.savez(
                    temporary,
                    clip_ids=np.array([*known.clip_ids, *(c.clip_id for c in new)]),
                    identities=np.array(identities),
                    vectors_ND=vectors_ND,
                )
    return given


def _memory(store: StepStore, backend: str, cosine: float) -> Path:
    return store.root / "identities" / f"{content_key('identities', backend, cosine)}.npz"
