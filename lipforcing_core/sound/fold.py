"""Several channels folded down to one so that speech survives, in one pass and in bounded memory.

While a source is read, its channels are reduced to at most three signals: left and right with the surrounds of their
side, and the centre (``layouts``). They are kept as 16-bit integers beside the second moments of every tenth of a
second. At the end ``fold_rule`` decides on what the whole source was like: left and right become the sides, and the
sides are added to the centre with the weights of ITU-R BS.775-3 for mono, 1.0 for the centre and 0.7071 for left and
right.

Memory, per sample of the source: 2 bytes for mono, 4 for stereo, 6 with a centre, and 4 for the result. Kept samples
are given back while the result is made, so the peak is 4 bytes, or 6 with a centre: at 16 kHz 230 MB an hour, or 350
MB.
"""

from __future__ import annotations

import math
import mmap
from dataclasses import dataclass

import numpy as np

from lipforcing_core.sound.fold_rule import SILENT_DBFS, WINDOWS_PER_SECOND, PairFold, fold_pair
from lipforcing_core.sound.layouts import reduction
from lipforcing_core.sound.rate import SAMPLE_RATE

SIDES_IN_MONO = math.sqrt(2.0)
"""The weight of the mean of left and right beside a centre of weight 1: 0.7071 for each."""

OPPOSITE_PHASE = "opposite_phase"
DEAD_CHANNEL = "dead_channel"
IDENTICAL_CHANNELS = "identical_channels"
CENTRE_ONLY = "centre_only"
CENTRE_DEAD = "centre_dead"
UNKNOWN_LAYOUT = "unknown_layout"
LOWERED = "lowered"
SILENT = "silent"

_FULL_SCALE = 32767.0
_PAGE = 1 << 19


@dataclass(frozen=True, kw_only=True)
class Folded:
    """One channel out of several.

    waveform_S: float32 in [-1, 1].
    how: ``mono`` (there was one channel), ``mean``, ``difference`` or ``left`` or ``right`` (of the two sides),
    ``centre``, or ``bs775`` (centre and sides together).
    notes: what somebody should know, of ``opposite_phase`` (a plain mean would have cancelled speech),
    ``dead_channel``, ``identical_channels``, ``centre_only``, ``centre_dead``, ``unknown_layout``, ``lowered`` (the
    sum was over full scale and all of it was made quieter) and ``silent`` (no tenth of a second reaches -80 dBFS).
    opposed: share of audible tenths of a second in which left and right are of opposite phase, 0 to 1.
    """

    waveform_S: np.ndarray
    how: str
    notes: tuple[str, ...]
    opposed: float


class FoldDown:
    """Folds the channels of one source; feed it the blocks in order, then ask once for the result.

    layout_name: as FFmpeg names it (``stereo``, ``5.1(side)``); empty if unknown. The result does not depend on how the
    samples are divided into blocks. Samples beyond [-1, 1] are clipped, and those that are no numbers count as zero.
    """

    def __init__(self, num_channels: int, layout_name: str, *, sample_rate: int = SAMPLE_RATE) -> None:
        self._reduction = reduction(num_channels, layout_name)
        weights_KC = self._reduction.weights_KC
        self._gain_K = np.maximum(weights_KC.sum(axis=1), 1.0)
        self._mix_KC = (weights_KC / self._gain_K[:, None]).astype(np.float32)
        self._window = max(1, sample_rate // WINDOWS_PER_SECOND)
        self._rest_CS = np.zeros((num_channels, 0), dtype=np.float32)
        self._kept = _Pages(len(weights_KC))
        self._moments: list[np.ndarray] = []
        self._energy_C = np.zeros(num_channels)
        self._loudest = 0.0

    def add(self, block_CS: np.ndarray) -> None:
        """Takes the next samples, float32 [C, S] in [-1, 1]; raises ValueError for another number of channels."""
        num_channels = len(self._energy_C)
        if block_CS.ndim != 2 or len(block_CS) != num_channels:
            raise ValueError(f"a block has the shape {list(block_CS.shape)}, not [{num_channels}, S]")
        clean_CS = np.clip(np.nan_to_num(np.asarray(block_CS, dtype=np.float32), posinf=1.0), -1.0, 1.0)
        joined_CS = np.concatenate([self._rest_CS, clean_CS], axis=1)
        whole = joined_CS.shape[1] // self._window * self._window
        if whole:
            self._take(joined_CS[:, :whole].reshape(num_channels, -1, self._window))
        self._rest_CS = joined_CS[:, whole:].copy()

    def finish(self) -> Folded:
        """The one channel of all that was added; the object is spent afterwards."""
        if self._rest_CS.shape[1]:
            self._take(self._rest_CS[:, None])
        weights_K, how, notes, opposed = self._decide()
        waveform_S, peak = self._kept.spend((weights_K * self._gain_K).astype(np.float32))
        if peak > 1.0:
            waveform_S /= np.float32(peak)
            notes += (LOWERED,)
        return Folded(waveform_S=waveform_S, how=how, notes=notes, opposed=opposed)

    def _take(self, windows_CNS: np.ndarray) -> None:
        """Keeps whole windows: their reduced samples and their moments."""
        num_channels, num_windows, length = windows_CNS.shape
        centred_CNS = windows_CNS - windows_CNS.mean(axis=2, keepdims=True, dtype=np.float64)
        energy_CN = np.einsum("cns,cns->cn", centred_CNS, centred_CNS)
        self._energy_C += energy_CN.sum(axis=1)
        self._loudest = max(self._loudest, float(energy_CN.max()) / length)
        reduced_KNS = np.einsum("kc,cns->kns", self._mix_KC * self._gain_K[:, None], centred_CNS)
        self._moments.append(np.einsum("kns,lns->nkl", reduced_KNS, reduced_KNS))
        self._kept.add(self._mix_KC @ windows_CNS.reshape(num_channels, num_windows * length))

    def _decide(self) -> tuple[np.ndarray, str, tuple[str, ...], float]:
        """Weights of the kept signals, and how, notes and opposed of the result."""
        names = self._reduction.names
        notes: tuple[str, ...] = () if self._reduction.is_known else (UNKNOWN_LAYOUT,)
        if self._loudest < 10.0 ** (SILENT_DBFS / 10.0):
            notes += (SILENT,)
        if len(names) == 1:
            return np.ones(1), "mono", notes, 0.0
        moments_NKK = (
            np.concatenate(self._moments) if self._moments else np.zeros((0, len(names), len(names)))
        )
        level_K = np.ones(len(names)) if self._reduction.is_known else self._live_level()
        moments_NKK = moments_NKK * np.outer(level_K, level_K)
        pair = fold_pair(moments_NKK[:, 0, 0], moments_NKK[:, 1, 1], moments_NKK[:, 0, 1])
        sides_K, how = _weights(pair, len(names)), _words(pair)
        if len(names) == 3:
            weights_K, how, notes = _with_centre(moments_NKK, sides_K, pair, how, notes)
        else:
            weights_K, notes = sides_K, notes + _notes(pair)
        return weights_K * level_K, how, notes, pair.opposed

    def _live_level(self) -> np.ndarray:
        """For channels of an unknown layout: what makes the sum of a side the mean of its channels that live."""
        live_C = self._energy_C > 1e-3 * self._energy_C.max()
        live_K = (self._reduction.weights_KC * live_C).sum(axis=1)
        level_K: np.ndarray = 1.0 / np.maximum(live_K, 1.0)
        return level_K


def _with_centre(
    moments_NKK: np.ndarray, sides_K: np.ndarray, sides: PairFold, how: str, notes: tuple[str, ...]
) -> tuple[np.ndarray, str, tuple[str, ...]]:
    """The sides, already one signal, beside the centre: the same rule once more."""
    centre_K = np.array([0.0, 0.0, 1.0])
    beside_K = SIDES_IN_MONO * sides_K
    pair = fold_pair(
        moments_NKK[:, 2, 2],
        np.einsum("nkl,k,l->n", moments_NKK, beside_K, beside_K),
        moments_NKK[:, 2] @ beside_K,
    )
    if pair.is_dead and pair.how == "second":
        return sides_K, how, (*notes, CENTRE_DEAD, *_notes(sides))
    if pair.is_dead:
        return centre_K, "centre", (*notes, CENTRE_ONLY)
    if pair.how == "mean":
        return centre_K + beside_K, "bs775", notes + _notes(sides)
    if pair.how == "difference":
        return centre_K - beside_K, "bs775", (*notes, OPPOSITE_PHASE)
    return centre_K, "centre", (*notes, OPPOSITE_PHASE)


def _weights(pair: PairFold, num_signals: int) -> np.ndarray:
    first, second = {
        "mean": (0.5, 0.5),
        "difference": (0.5, -0.5),
        "first": (1.0, 0.0),
        "second": (0.0, 1.0),
    }[pair.how]
    return np.array([first, second, 0.0][:num_signals])


def _words(pair: PairFold) -> str:
    return {"first": "left", "second": "right"}.get(pair.how, pair.how)


def _notes(pair: PairFold) -> tuple[str, ...]:
    found = {
        OPPOSITE_PHASE: pair.is_opposite,
        DEAD_CHANNEL: pair.is_dead,
        IDENTICAL_CHANNELS: pair.is_identical,
    }
    return tuple(note for note, is_so in found.items() if is_so)


class _Pages:
    """Signals as 16-bit integers in pages of one size, so that memory grows and shrinks by the page."""

    def __init__(self, num_signals: int) -> None:
        self._num_signals = num_signals
        self._pages: list[np.ndarray] = []
        self.num_samples = 0

    def add(self, signals_KS: np.ndarray) -> None:
        """Appends float32 [K, S] in [-1, 1]."""
        done = 0
        while done < signals_KS.shape[1]:
            at = self.num_samples % _PAGE
            if at == 0:
                self._pages.append(self._new_page())
            part_KS = signals_KS[:, done : done + _PAGE - at]
            self._pages[-1][:, at : at + part_KS.shape[1]] = np.rint(part_KS * _FULL_SCALE)
            done += part_KS.shape[1]
            self.num_samples += part_KS.shape[1]

    def _new_page(self) -> np.ndarray:
        """A page straight from the system, which gets it back at once: an allocator may keep what is given back."""
        memory = mmap.mmap(-1, self._num_signals * _PAGE * np.dtype(np.int16).itemsize)
        return np.frombuffer(memory, dtype=np.int16).reshape(self._num_signals, _PAGE)

    def spend(self, weights_K: np.ndarray) -> tuple[np.ndarray, float]:
        """The weighted sum of the signals as float32 [S] and its largest magnitude; the pages are given back."""
        waveform_S = np.empty(self.num_samples, dtype=np.float32)
        peak = 0.0
        self._pages.reverse()
        for start in range(0, self.num_samples, _PAGE):
            page_KS = self._pages.pop()[:, : self.num_samples - start]
            part_S = (weights_K / np.float32(_FULL_SCALE)) @ page_KS.astype(np.float32)
            waveform_S[start : start + len(part_S)] = part_S
            peak = max(peak, float(np.max(np.abs(part_S))))
        return waveform_S, peak
