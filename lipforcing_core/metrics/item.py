"""Scoring one held-out item: all its predictions against its truth, independent of every other item."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from lipforcing_core.base.errors import BadInputError, MediaError
from lipforcing_core.base.products import content_key, file_sha256
from lipforcing_core.media.clock import SAMPLES_PER_FRAME, frames_for_samples
from lipforcing_core.media.decode import read_audio
from lipforcing_core.metrics import aperture, pixel
from lipforcing_core.metrics.aperture import UndefinedMeasure
from lipforcing_core.metrics.backends import Backends
from lipforcing_core.metrics.crops import (
    MIN_SCORED_FRAMES,
    UnscorableClip,
    cut_prediction,
    cut_truth,
    find_window,
)
from lipforcing_core.metrics.identity import mean_cosine
from lipforcing_core.metrics.item_result import IMAGE, VIDEO, ItemResult
from lipforcing_core.metrics.manifest import DrivenBy, EvalItem, PredictionRecord, check_unique, verified_path
from lipforcing_core.metrics.protocol import Protocol
from lipforcing_core.metrics.regions import mouth_slices
from lipforcing_core.metrics.registry import METRICS, Backend, MetricSpec, Scope
from lipforcing_core.metrics.sync_metrics import sync_values
from lipforcing_core.metrics.values import MetricValue, Unavailable

FRAME_STRIDE = 4
ITEM_VERSION = 2


def item_key(
    item: EvalItem, predictions: Iterable[PredictionRecord], protocol: Protocol, backends: Backends
) -> str:
    """Content key of ``evaluate_item``: the files' hashes, the protocol, the backends, the metrics' versions."""
    files = (item.truth_video, item.driving_audio, item.source_video, item.unrelated_audio)
    return content_key(
        ITEM_VERSION,
        item.clip_id,
        item.identity,
        [file_sha256(path) if path is not None and path.is_file() else None for path in files],
        sorted(
            (record.label, record.sha256 if record.path.is_file() else "missing")
            for record in predictions
            if record.clip_id == item.clip_id
        ),
        protocol,
        backends.ids,
        {name: spec.version for name, spec in METRICS.items()},
    )


def evaluate_item(
    item: EvalItem, predictions: Sequence[PredictionRecord], protocol: Protocol, backends: Backends
) -> ItemResult:
    """Score the item's predictions; records of other clips are ignored.

    What cannot be computed gives an ``Unavailable`` with its reason: a missing or short prediction, a mouth that
    does not move, an infinite PSNR. Raises ``BadInputError`` where a prediction is not the file that was listed, or
    the detector is not the protocol's.
    """
    records = [record for record in predictions if record.clip_id == item.clip_id]
    check_unique(records)
    if protocol.alignment != backends.ids["detector"]:
        raise BadInputError(
            f"protocol {protocol.name} aligns with {protocol.alignment}, the detector is {backends.ids['detector']}"
        )
    writer = _RowWriter(item.clip_id, protocol, backends)
    try:
        reference = _Reference(item, protocol, backends)
    except (UnscorableClip, MediaError) as problem:
        for record in records:
            writer.nothing(record, item, f"the truth cannot be scored: {problem}")
        return writer.result(item)
    for record in records:
        path = verified_path(record)
        if path is None:
            writer.nothing(record, item, f"the prediction {record.path.name} does not exist")
            continue
        try:
            frames = cut_prediction(path, reference.window, protocol, backends.detector)
        except (UnscorableClip, MediaError) as problem:
            writer.nothing(record, item, f"the prediction cannot be scored: {problem}")
            continue
        clip = _Clip(frames, reference, record, backends)
        for spec in _applicable(record, item):
            writer.measure(clip, spec)
        writer.features[record.label] = clip.features()
    return writer.result(item, reference.features())


class _Reference:
    """The truth of an item: its crops, its speech, and what is computed from them once for all systems."""

    def __init__(self, item: EvalItem, protocol: Protocol, backends: Backends) -> None:
        self.item, self.backends, self.size = item, backends, protocol.size
        self.window = find_window(item.truth_video, protocol, backends.detector)
        if protocol.num_frames is None:  # files often end with a fraction of a frame less sound than picture
            covered = frames_for_samples(len(read_audio(item.driving_audio)))
            if covered >= self.window.start + MIN_SCORED_FRAMES:
                self.window = self.window.until(covered)
        self.frames = cut_truth(item.truth_video, self.window, protocol.size)
        self.speech = self.cut_sound(item.driving_audio)

    def cut_sound(self, path: Path) -> np.ndarray:
        """The sound under the scored frames; raises ``UnscorableClip`` where it is shorter."""
        samples = slice(self.window.start * SAMPLES_PER_FRAME, self.window.stop * SAMPLES_PER_FRAME)
        waveform = read_audio(path)[samples]
        if len(waveform) < self.window.num_frames * SAMPLES_PER_FRAME:
            covered = len(waveform) // SAMPLES_PER_FRAME
            raise UnscorableClip(
                f"the sound of {path.name} covers {covered} of {self.window.num_frames} scored frames"
            )
        return waveform

    @cached_property
    def aperture_F(self) -> np.ndarray:
        return aperture.aperture_curve(self.frames)

    @cached_property
    def source_aperture_F(self) -> np.ndarray:
        if self.item.source_video is None:
            raise UndefinedMeasure("the item has no source video")
        try:
            return aperture.aperture_curve(cut_truth(self.item.source_video, self.window, self.size))
        except UnscorableClip as problem:
            raise UndefinedMeasure(f"the source cannot be scored: {problem}") from problem

    @cached_property
    def envelope_F(self) -> np.ndarray:
        return aperture.speech_envelope(self.speech, self.window.num_frames)

    @cached_property
    def identity_ND(self) -> np.ndarray:
        return self.backends.identity_features.embed(self.frames[::FRAME_STRIDE])

    def features(self) -> dict[str, np.ndarray]:
        return _features(self.frames, self.backends)


class _Clip:
    """One prediction beside its truth."""

    def __init__(
        self, frames: np.ndarray, reference: _Reference, record: PredictionRecord, backends: Backends
    ) -> None:
        self.frames, self.reference, self.record, self.backends = frames, reference, record, backends
        self.truth = reference.frames

    @cached_property
    def aperture_F(self) -> np.ndarray:
        return aperture.aperture_curve(self.frames)

    @cached_property
    def similarity(self) -> tuple[float, float]:
        return pixel.ssim_and_mouth_ssim(self.frames, self.truth)

    @cached_property
    def aperture_sync(self) -> aperture.ApertureSync:
        return aperture.aperture_sync(self.aperture_F, self.reference.envelope_F)

    @cached_property
    def sync(self) -> dict[str, float]:
        return sync_values(self.frames, self.reference.speech, self.backends.sync)

    @cached_property
    def speech_given(self) -> np.ndarray:
        path = self.reference.item.unrelated_audio
        if path is None:
            raise UndefinedMeasure("the item has no unrelated audio")
        try:
            return self.reference.cut_sound(path)
        except UnscorableClip as problem:
            raise UndefinedMeasure(str(problem)) from problem

    def sync_given(self) -> float:
        return sync_values(self.frames, self.speech_given, self.backends.sync)["sync_c"]

    def aperture_given(self) -> float:
        envelope_F = aperture.speech_envelope(self.speech_given, len(self.frames))
        return aperture.correlation(self.aperture_F, envelope_F)

    def perceptual(self, rows: slice = slice(None), columns: slice = slice(None)) -> float:
        a, b = (x[::FRAME_STRIDE, rows, columns] for x in (self.frames, self.truth))
        return float(self.backends.perceptual.distance(a, b).mean())

    def csim(self) -> float:
        embedded = self.backends.identity_features.embed(self.frames[::FRAME_STRIDE])
        return mean_cosine(embedded, self.reference.identity_ND)

    def features(self) -> dict[str, np.ndarray]:
        return _features(self.frames, self.backends)


_MEASURES: dict[str, Callable[[_Clip], float]] = {
    "ssim": lambda c: c.similarity[0],
    "mouth_ssim": lambda c: c.similarity[1],
    "psnr": lambda c: pixel.psnr(c.frames, c.truth),
    "mouth_psnr": lambda c: pixel.mouth_psnr(c.frames, c.truth),
    "mouth_sharpness": lambda c: pixel.mouth_sharpness_ratio(c.frames, c.truth),
    "lpips": lambda c: c.perceptual(),
    "mouth_lpips": lambda c: c.perceptual(*mouth_slices(c.truth.shape[1:3])),
    "csim": lambda c: c.csim(),
    "sync_c": lambda c: c.sync["sync_c"],
    "sync_d": lambda c: c.sync["sync_d"],
    "av_offset_frames": lambda c: c.sync["av_offset_frames"],
    "sync_c_given": lambda c: c.sync_given(),
    "aperture_corr": lambda c: c.aperture_sync.correlation,
    "aperture_corr_lag0": lambda c: c.aperture_sync.correlation_at_zero,
    "aperture_lag_frames": lambda c: float(c.aperture_sync.lag_frames),
    "aperture_corr_given": lambda c: c.aperture_given(),
    "aperture_truth_corr": lambda c: aperture.correlation(c.aperture_F, c.reference.aperture_F),
    "silence_opening": lambda c: aperture.silence_opening(c.aperture_F, c.reference.envelope_F),
    "source_leakage": lambda c: aperture.correlation(c.aperture_F, c.reference.source_aperture_F),
}


class _RowWriter:
    """Collects the rows of one item."""

    def __init__(self, clip_id: str, protocol: Protocol, backends: Backends) -> None:
        self._clip_id, self._protocol_id, self._backends = clip_id, protocol.id, backends
        self._values: list[MetricValue] = []
        self._unavailable: list[Unavailable] = []
        self.features: dict[str, dict[str, np.ndarray]] = {}

    def measure(self, clip: _Clip, spec: MetricSpec) -> None:
        system = clip.record.label
        try:
            value = _MEASURES[spec.name](clip)
        except (UndefinedMeasure, BadInputError) as problem:
            self._missing(system, spec, str(problem))
            return
        if np.isnan(value):
            self._missing(system, spec, "its value is not a number")
            return
        if np.isinf(value):
            self._missing(
                system, spec, "its value is infinite: prediction and truth are equal, or the truth is flat"
            )
            return
        self._values.append(
            MetricValue(
                system=system,
                clip_id=self._clip_id,
                metric=spec.name,
                value=float(value),
                n=len(clip.frames),
                protocol_id=self._protocol_id,
                backend=self._backends.id_of(spec.backend),
            )
        )

    def nothing(self, record: PredictionRecord, item: EvalItem, because: str) -> None:
        for spec in _applicable(record, item):
            self._missing(record.label, spec, because)

    def result(self, item: EvalItem, truth_features: dict[str, np.ndarray] | None = None) -> ItemResult:
        return ItemResult(
            clip_id=item.clip_id,
            identity=item.identity,
            values=tuple(self._values),
            unavailable=tuple(self._unavailable),
            truth_features=truth_features or {},
            features=self.features,
        )

    def _missing(self, system: str, spec: MetricSpec, because: str) -> None:
        self._unavailable.append(
            Unavailable(
                system=system,
                clip_id=self._clip_id,
                metric=spec.name,
                because=because,
                protocol_id=self._protocol_id,
                backend=self._backends.id_of(spec.backend),
            )
        )


def _applicable(record: PredictionRecord, item: EvalItem) -> list[MetricSpec]:
    """The per-clip metrics that make sense for a prediction, in the registry's order."""
    skipped = set() if record.driven_by is DrivenBy.UNRELATED else {"sync_c_given", "aperture_corr_given"}
    if item.source_video is None:
        skipped.add("source_leakage")
    return [
        spec
        for spec in METRICS.values()
        if spec.scope is Scope.CLIP and spec.backend is not Backend.CLOCK and spec.name not in skipped
    ]


def _features(frames: np.ndarray, backends: Backends) -> dict[str, np.ndarray]:
    return {
        IMAGE: backends.image_features.embed(frames[::FRAME_STRIDE]),
        VIDEO: backends.video_features.embed(frames),
    }
