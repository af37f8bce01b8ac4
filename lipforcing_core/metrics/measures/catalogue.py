"""All measures, in the order of tables. A new one is its specification beside its function, and one entry here."""

from __future__ import annotations

from lipforcing_core.base.catalogue import Catalogue
from lipforcing_core.metrics.measures import (
    aperture,
    distribution,
    identity,
    perceptual,
    pixel,
    speed,
    sync,
)
from lipforcing_core.metrics.measures.protocol import ClipMeasure, Measure, SetMeasure, SpeedMeasure
from lipforcing_core.metrics.protocol import MIN_SCORED_FRAMES

MEASURES: Catalogue[Measure] = Catalogue(
    kind="measure",
    entries=(
        pixel.SSIM,
        pixel.MOUTH_SSIM,
        pixel.PSNR,
        pixel.MOUTH_PSNR,
        pixel.MOUTH_SHARPNESS,
        perceptual.LPIPS,
        perceptual.MOUTH_LPIPS,
        identity.CSIM,
        sync.SYNC_C,
        sync.SYNC_D,
        sync.AV_OFFSET_FRAMES,
        sync.SYNC_C_GIVEN,
        aperture.APERTURE_CORR,
        aperture.APERTURE_CORR_LAG0,
        aperture.APERTURE_LAG_FRAMES,
        aperture.APERTURE_CORR_GIVEN,
        aperture.APERTURE_TRUTH_CORR,
        aperture.SILENCE_OPENING,
        aperture.SOURCE_LEAKAGE,
        distribution.FID,
        distribution.FVD,
        speed.FPS_MODEL,
        speed.FPS_PIPELINE,
        speed.FPS_END_TO_END,
        speed.TTFF_PIPELINE_S,
        speed.TTFF_END_TO_END_S,
        speed.CHUNK_LATENCY_P50_MS,
        speed.CHUNK_LATENCY_P95_MS,
        speed.CHUNK_LATENCY_P99_MS,
        speed.MISSED_DEADLINES,
    ),
)


def clip_measures() -> list[ClipMeasure]:
    """Those computed on one prediction beside its truth."""
    return [measure for measure in MEASURES if isinstance(measure, ClipMeasure)]


def set_measures() -> list[SetMeasure]:
    """Those computed on the features of a set."""
    return [measure for measure in MEASURES if isinstance(measure, SetMeasure)]


def speed_measures() -> list[SpeedMeasure]:
    """Those computed on where the time of a clip went."""
    return [measure for measure in MEASURES if isinstance(measure, SpeedMeasure)]


def smallest_window() -> int:
    """Frames below which a window that somebody asks for cannot be scored by every measure."""
    return max(MIN_SCORED_FRAMES, *(measure.min_frames for measure in MEASURES))
