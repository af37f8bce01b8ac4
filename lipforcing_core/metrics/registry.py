"""Every metric by name: unit, direction, definition, version, scope. The data dictionary is made from this."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from lipforcing_core.base.errors import BadInputError


class Direction(StrEnum):
    """Which end of a metric is better."""

    HIGHER = "higher"
    LOWER = "lower"
    NONE = "none"


class Scope(StrEnum):
    """What a metric is computed on: a clip (a set then has the mean over clips), or a set only."""

    CLIP = "clip"
    SET = "set"


class Backend(StrEnum):
    """What computes a metric; its id is stored with every value."""

    PIXELS = "pixels"
    APERTURE = "aperture"
    PERCEPTUAL = "perceptual"
    IMAGE_FEATURES = "image features"
    VIDEO_FEATURES = "video features"
    IDENTITY_FEATURES = "identity features"
    SYNC_EXPERT = "sync expert"
    CLOCK = "clock"


@dataclass(frozen=True, kw_only=True)
class MetricSpec:
    """One metric. ``published_name`` is its name in the paper's tables; ``unit`` is None where it has none."""

    name: str
    label: str
    unit: str | None
    direction: Direction
    definition: str
    backend: Backend
    version: int = 1
    scope: Scope = Scope.CLIP
    published_name: str | None = None

    @property
    def higher_is_better(self) -> bool | None:
        """The direction as a flag; None where neither end is better."""
        return None if self.direction is Direction.NONE else self.direction is Direction.HIGHER

    @property
    def is_wall_clock(self) -> bool:
        """Whether the value depends on the machine it was measured on."""
        return self.backend is Backend.CLOCK


def metric_spec(name: str) -> MetricSpec:
    """The metric called ``name``; raises ``BadInputError`` that lists the known names."""
    try:
        return METRICS[name]
    except KeyError:
        raise BadInputError(f"unknown metric {name!r}; known: {', '.join(METRICS)}") from None


def _spec(
    name: str,
    label: str,
    unit: str | None,
    direction: Direction,
    backend: Backend,
    definition: str,
    *,
    scope: Scope = Scope.CLIP,
    published_name: str | None = None,
) -> MetricSpec:
    return MetricSpec(
        name=name,
        label=label,
        unit=unit,
        direction=direction,
        backend=backend,
        definition=definition,
        scope=scope,
        published_name=published_name,
    )


_HIGHER, _LOWER, _NONE = Direction.HIGHER, Direction.LOWER, Direction.NONE
_SPEECH = "the driving speech"

_ALL = (
    _spec(
        "ssim", "SSIM", None, _HIGHER, Backend.PIXELS, published_name="SSIM",
        definition="Structural similarity of luma to the truth (Gaussian window, sigma 1.5), mean over the aligned "
        "crop and over frames.",
    ),
    _spec(
        "mouth_ssim", "SSIM (mouth)", None, _HIGHER, Backend.PIXELS,
        "SSIM averaged over the region that models redraw (mouth mask).",
    ),
    _spec(
        "psnr", "PSNR", "dB", _HIGHER, Backend.PIXELS,
        "Peak signal-to-noise ratio to the truth, squared error pooled over the aligned clip.",
    ),
    _spec(
        "mouth_psnr", "PSNR (mouth)", "dB", _HIGHER, Backend.PIXELS,
        "PSNR over the region that models redraw (mouth mask).",
    ),
    _spec(
        "mouth_sharpness", "Mouth sharpness", None, _NONE, Backend.PIXELS,
        "Laplacian energy in the mouth box, prediction over truth: 1 = as sharp, below 1 = blurred, above 1 = noisy.",
    ),
    _spec(
        "lpips", "LPIPS", None, _LOWER, Backend.PERCEPTUAL,
        "Perceptual distance to the truth on the aligned crop, mean over every fourth frame; the backend names "
        "the network.",
    ),
    _spec(
        "mouth_lpips", "LPIPS (mouth)", None, _LOWER, Backend.PERCEPTUAL,
        "Perceptual distance to the truth on the mouth box, mean over every fourth frame.",
    ),
    _spec(
        "csim", "CSIM", None, _HIGHER, Backend.IDENTITY_FEATURES, published_name="CSIM",
        definition="Cosine between identity embeddings of prediction and truth, mean over every fourth frame; the "
        "backend names the network.",
    ),
    _spec(
        "sync_c", "Sync-C", None, _HIGHER, Backend.SYNC_EXPERT, published_name="Sync-C",
        definition=f"Confidence of the sync expert that lips and {_SPEECH} belong together: median minus minimum "
        "distance over offsets of up to 15 frames. Blind to a constant offset.",
    ),
    _spec(
        "sync_d", "Sync-D", None, _LOWER, Backend.SYNC_EXPERT, published_name="Sync-D",
        definition=f"Smallest mean distance between lip and sound embeddings over offsets of up to 15 frames, "
        f"against {_SPEECH}.",
    ),
    _spec(
        "av_offset_frames", "AV offset", "frames", _NONE, Backend.SYNC_EXPERT,
        "Offset at which the sync expert finds the best match; positive: the sound lies earlier than the picture.",
    ),
    _spec(
        "sync_c_given", "Sync-C (speech given)", None, _HIGHER, Backend.SYNC_EXPERT,
        "Sync-C of a prediction made from unrelated speech, against that unrelated speech.",
    ),
    _spec(
        "aperture_corr", "Aperture-speech correlation", None, _HIGHER, Backend.APERTURE,
        f"Correlation of lip aperture seen in pixels with the loudness of {_SPEECH}, at the best lag of up to five "
        "frames; a maximum over lags, so above zero by chance.",
    ),
    _spec(
        "aperture_corr_lag0", "Aperture-speech correlation, no lag", None, _HIGHER, Backend.APERTURE,
        f"Correlation of lip aperture seen in pixels with the loudness of {_SPEECH}, without a shift.",
    ),
    _spec(
        "aperture_lag_frames", "Aperture lag", "frames", _NONE, Backend.APERTURE,
        "Lag of the best aperture-speech correlation; positive: the sound lies earlier than the picture.",
    ),
    _spec(
        "aperture_corr_given", "Aperture-speech correlation (speech given)", None, _HIGHER, Backend.APERTURE,
        "Aperture-speech correlation without a shift of a prediction made from unrelated speech, against that speech.",
    ),
    _spec(
        "aperture_truth_corr", "Aperture-truth correlation", None, _HIGHER, Backend.APERTURE,
        "Correlation of lip aperture in the prediction with lip aperture in the truth, frame by frame.",
    ),
    _spec(
        "silence_opening", "Opening in silence", None, _LOWER, Backend.APERTURE,
        f"Lip aperture while {_SPEECH} is silent over that while it is not: 0 = shut, 1 = no difference.",
    ),
    _spec(
        "source_leakage", "Source leakage", None, _LOWER, Backend.APERTURE,
        "Correlation of lip aperture in the prediction with lip aperture in the source video: 1 = the source's own "
        "speech shows through.",
    ),
    _spec(
        "fid", "FID", None, _LOWER, Backend.IMAGE_FEATURES, scope=Scope.SET, published_name="FID",
        definition="Frechet distance between image features of every fourth aligned frame of predictions and truths. "
        "Biased upwards for few vectors: compare at equal n only.",
    ),
    _spec(
        "fvd", "FVD", None, _LOWER, Backend.VIDEO_FEATURES, scope=Scope.SET, published_name="FVD",
        definition="Frechet distance between video features of aligned windows of predictions and truths. "
        "Biased upwards for few vectors: compare at equal n only.",
    ),
    _spec(
        "fps_model", "FPS (model only)", "frames/s", _HIGHER, Backend.CLOCK,
        "Frames over the time of the denoising network alone, its cache update included.",
    ),
    _spec(
        "fps_pipeline", "FPS", "frames/s", _HIGHER, Backend.CLOCK, published_name="FPS",
        definition="Frames over the time of encoding, denoising, decoding and cache update, as the paper times it; "
        "face tracking, pasting and files are not in it.",
    ),
    _spec(
        "fps_end_to_end", "FPS (end to end)", "frames/s", _HIGHER, Backend.CLOCK,
        "Frames over the whole wall time, from opening the files to the finished file.",
    ),
    _spec(
        "ttff_pipeline_s", "TTFF", "s", _LOWER, Backend.CLOCK, published_name="TTFF",
        definition="From the first encode to the end of the first chunk's decode, as the paper times it.",
    ),
    _spec(
        "ttff_end_to_end_s", "TTFF (end to end)", "s", _LOWER, Backend.CLOCK,
        "From opening the files to the first frames being ready to show.",
    ),
    _spec(
        "chunk_latency_p50_ms", "Chunk latency, median", "ms", _LOWER, Backend.CLOCK,
        "Median time from the start of a chunk to its frames being ready.",
    ),
    _spec(
        "chunk_latency_p95_ms", "Chunk latency, p95", "ms", _LOWER, Backend.CLOCK,
        "95th percentile of the time from the start of a chunk to its frames being ready.",
    ),
    _spec(
        "chunk_latency_p99_ms", "Chunk latency, p99", "ms", _LOWER, Backend.CLOCK,
        "99th percentile of the time from the start of a chunk to its frames being ready.",
    ),
    _spec(
        "missed_deadlines", "Missed deadlines", "frames", _LOWER, Backend.CLOCK,
        "Frames not ready when due, 40 ms apart, if playback starts with the first chunk and never waits.",
    ),
)  # fmt: skip

METRICS = {spec.name: spec for spec in _ALL}
"""All metrics in the order of tables."""
