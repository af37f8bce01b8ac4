"""Which pairs of many clips are worth a comparison, found without comparing all pairs.

Sound: clips that share codes are candidates (the hash table of Haitsma and Kalker). The 24 middle bits of a code count,
and of these keys one in two: the same on both sides, since the key itself makes the choice (Schleimer et al.,
"Winnowing", 2003). Picture: random
hyperplanes (Charikar 2002) turn the motion over a window into a sketch of 192 signs, whose Hamming distance tells the
angle between two windows. Windows that share one of nine parts of their sketches are compared by all of it. A key that
many clips share, as music or a trembling picture can give it, pairs every clip only with its next neighbours in order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from lipforcing_core.fingerprints.clips import (
    MAX_LOOK_BITS,
    MIN_STEPS,
    STILL_UNITS,
    Fingerprint,
    compare_pictures,
)
from lipforcing_core.fingerprints.picture import NUM_BLOCKS

SKETCH_WORDS, KEYS_PER_WORD, KEY_BITS = 3, 3, 20
MAX_SKETCH_BITS = 52
"""So many of 192 signs differ at an angle of 49 degrees, a correlation of two thirds."""
NEIGHBOURS = 24
"""With how many clips of the same key a clip is paired."""
SHARED_CODES = 2
"""How many pairs of equal codes make two clips candidates."""
_BATCH_CLIPS = 256
_BLOCK_OWNERS = 2048
_OWNER_BITS = np.uint64(32)
_SEED = 20021
_FIRST_BIT, _MIDDLE_BITS = np.uint32(4), np.uint32(2**24 - 1)
_MULTIPLIER = np.uint32(2654435761)


def candidate_pairs(prints: Sequence[Fingerprint]) -> np.ndarray:
    """Pairs of clips that may be near-duplicates: int64 [P, 2], sorted, the smaller index first.

    Those found by their picture are compared already and have a picture in common. The same prints in the same order
    give the same pairs.
    """
    by_picture = [
        code
        for code in _by_picture(prints).tolist()
        if _same_picture(*(prints[number] for number in divmod(code, len(prints))))
    ]
    codes = np.union1d(_by_sound(prints), np.array(by_picture, dtype=np.int64))
    return np.stack(np.divmod(codes, max(len(prints), 1)), axis=1)


def _same_picture(a: Fingerprint, b: Fingerprint) -> bool:
    found = compare_pictures(a.picture, b.picture)
    return found is not None and found.is_same


def _by_sound(prints: Sequence[Fingerprint]) -> np.ndarray:
    """Pairs that share codes, as ``first * number of prints + second``, sorted.

    Votes are counted for a block of first clips at a time: all pairs of a large corpus would take gigabytes.
    """
    owners_N, keys_N = _sound_entries(prints).view("<u4").reshape(-1, 2).T
    sharers_N = _sharers(keys_N)
    found = []
    for start in range(0, len(prints), _BLOCK_OWNERS):
        firsts = np.flatnonzero((owners_N >= start) & (owners_N < start + _BLOCK_OWNERS) & (sharers_N > 0))
        pairs = []
        for step in range(1, NEIGHBOURS + 1):
            firsts = firsts[sharers_N[firsts] >= step]
            seconds = owners_N[firsts + step].astype(np.int64)
            pairs.append(owners_N[firsts].astype(np.int64) * len(prints) + seconds)
        codes, votes = np.unique(np.concatenate(pairs), return_counts=True)
        found.append(codes[votes >= SHARED_CODES])
    return _joined(found, np.int64)


def _sound_entries(prints: Sequence[Fingerprint]) -> np.ndarray:
    """The chosen keys of all clips with their owners in the low 32 bits: uint64 [N], sorted."""
    longest = sum(len(print_.codes_N) for print_ in prints)
    entries_N, size = np.empty(longest, dtype="<u8"), 0  # what is not written to takes no memory
    for number, print_ in enumerate(prints):
        codes_N = print_.codes_N
        keys_N = np.unique((codes_N[codes_N != 0] >> _FIRST_BIT) & _MIDDLE_BITS)
        chosen_N = keys_N[(keys_N * _MULTIPLIER) >> np.uint32(31) == 0].astype(np.uint64)
        entries_N[size : size + len(chosen_N)] = (chosen_N << _OWNER_BITS) | np.uint64(number)
        size += len(chosen_N)
    entries_N = entries_N[:size]
    entries_N.sort()
    return entries_N


def _sharers(keys_N: np.ndarray) -> np.ndarray:
    """How many of the next ``NEIGHBOURS`` entries have the same key: uint8 [N], of sorted keys."""
    sharers_N = np.zeros(len(keys_N), dtype=np.uint8)
    for step in range(1, NEIGHBOURS + 1):
        same_N = keys_N[step:] == keys_N[:-step]
        if not same_N.any():
            break
        sharers_N[: len(same_N)] += same_N
    return sharers_N


def _by_picture(prints: Sequence[Fingerprint]) -> np.ndarray:
    looks_C = np.array([print_.picture.look for print_ in prints], dtype=np.uint64)
    sketches_NW, owners_N = _sketches(prints)
    found = []
    for word in sketches_NW.T:
        for part in range(KEYS_PER_WORD):
            keys_N = (word >> np.uint64(part * KEY_BITS)) & np.uint64(2**KEY_BITS - 1)
            for first, second in _neighbours(keys_N.astype(np.uint32), np.arange(len(keys_N))):
                a, b = owners_N[first], owners_N[second]
                alike = (a != b) & (np.bitwise_count(looks_C[a] ^ looks_C[b]) <= MAX_LOOK_BITS)
                first, second = first[alike], second[alike]
                bits = np.bitwise_count(sketches_NW[first] ^ sketches_NW[second]).sum(axis=1)
                close = bits <= MAX_SKETCH_BITS
                a, b = owners_N[first[close]], owners_N[second[close]]
                found.append(np.unique(a.astype(np.int64) * len(prints) + b))
    return np.unique(_joined(found, np.int64))


def _sketches(prints: Sequence[Fingerprint]) -> tuple[np.ndarray, np.ndarray]:
    """The sketches of all windows, uint64 [N, 3], and the clips that they belong to, int32 [N]."""
    rng = np.random.default_rng(_SEED)
    planes_KB = rng.standard_normal(((MIN_STEPS - 1) * NUM_BLOCKS, 64 * SKETCH_WORDS), dtype=np.float32)
    sketches, owners = [], []
    for start in range(0, len(prints), _BATCH_CLIPS):
        parts = [_windows(print_.picture.motion_TB) for print_ in prints[start : start + _BATCH_CLIPS]]
        bits_NB = np.concatenate(parts) @ planes_KB > 0
        sketches.append(np.packbits(bits_NB, axis=1).view(np.uint64))
        owners.append(
            np.repeat(np.arange(start, start + len(parts), dtype=np.int32), [len(p) for p in parts])
        )
    if not sketches:
        return np.zeros((0, SKETCH_WORDS), dtype=np.uint64), np.zeros(0, dtype=np.int32)
    return np.concatenate(sketches), np.concatenate(owners)


def _windows(motion_TB: np.ndarray) -> np.ndarray:
    """All windows of the shortest overlap that are not still: float32 [N, steps * blocks]."""
    length = MIN_STEPS - 1
    if len(motion_TB) < length:
        return np.zeros((0, length * NUM_BLOCKS), dtype=np.float32)
    view = np.lib.stride_tricks.sliding_window_view(motion_TB, length, axis=0)
    windows_NK = view.transpose(0, 2, 1).reshape(len(view), -1).astype(np.float32)
    moving_N = np.square(windows_NK).mean(axis=1) >= STILL_UNITS
    chosen: np.ndarray = windows_NK[moving_N]
    return chosen


def _neighbours(keys_N: np.ndarray, owners_N: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs of owners with equal keys, the smaller first, in parts; each owner with its next ones within a key."""
    order = np.argsort(keys_N, kind="stable")
    keys_N, owners_N = keys_N[order], owners_N[order].astype(np.int64)
    for step in range(1, NEIGHBOURS + 1):
        first = np.flatnonzero(keys_N[step:] == keys_N[:-step])
        if not len(first):
            return
        yield owners_N[first], owners_N[first + step]


def _joined(parts: Sequence[np.ndarray], kind: type[np.generic]) -> np.ndarray:
    return np.concatenate(parts) if parts else np.zeros(0, dtype=kind)
