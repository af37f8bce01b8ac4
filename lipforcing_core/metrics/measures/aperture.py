"""Sync without a network: how far the mouth is open, seen from pixels, against how loud the speech is.

SyncNet filters the data, weights the training and scores the result; this measure shares nothing with it. The
*aperture* of a frame is the darkness inside the inner mouth box of the aligned crop: pixels darker than 0.65 of the
frame's own skin level (75th percentile of the box) count by how much darker they are, but for the darkness that
reaches in from the box's upper or lower edge, which is the shadow of the nose or of the chin. A brighter or darker
picture therefore gives the same curve, and a blurred one nearly the same. On puppets of known lip gap the curve
correlates with the truth above 0.9, sharp or blurred (tests/metrics/measures/test_aperture.py).

Lag and offset signs are those of method F.6: positive where the matching sound lies earlier than the picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lipforcing_core.media.clock import SAMPLES_PER_FRAME
from lipforcing_core.metrics.backends import Backend
from lipforcing_core.metrics.manifest import EvalItem, PredictionRecord
from lipforcing_core.metrics.measures.given_speech import driven_by_unrelated, speech_given
from lipforcing_core.metrics.measures.pixel import luma
from lipforcing_core.metrics.measures.protocol import ClipMeasure, Direction
from lipforcing_core.metrics.regions import INNER_MOUTH_BOX, mouth_slices
from lipforcing_core.metrics.values import UndefinedMeasure

if TYPE_CHECKING:
    from lipforcing_core.metrics.scored import ScoredClip, ScoredPicture, ScoredTruth

DARK_SHARE = 0.65
GRID_HEIGHT, GRID_WIDTH = 41, 52  # the inner mouth box in a crop of 128 pixels
SKIN_PERCENTILE = 75.0
MAX_LAG_FRAMES = 5
FLOOR_DB = -40.0
SILENCE_DB = -30.0
MIN_FRAMES_PER_STATE = 3
MIN_OVERLAP_FRAMES = 16

_MIN_PEAK = 1e-4
_SMOOTHING = (0.25, 0.5, 0.25)
_FLAT = 1e-9


@dataclass(frozen=True, kw_only=True)
class ApertureSync:
    """Correlation of aperture and speech envelope.

    ``correlation`` is the largest over lags of at most five frames, at ``lag_frames``; being a maximum of eleven it
    is above zero even for unrelated sound. ``correlation_at_zero`` is that without any shift and has no such bias.
    """

    correlation: float
    lag_frames: int
    correlation_at_zero: float


def aperture_curve(frames: np.ndarray) -> np.ndarray:
    """Darkness of the inner mouth per frame: ``[F] float64`` in [0, 1], of ``[F, S, S, 3] uint8 RGB`` aligned crops."""
    rows, columns = mouth_slices(frames.shape[1:3], INNER_MOUTH_BOX)
    return np.array([_opening(luma(frame[rows, columns])) for frame in frames])


def speech_envelope(waveform: np.ndarray, num_frames: int) -> np.ndarray:
    """Loudness per video frame in dB below the clip's loud frames: ``[num_frames] float64`` in [-40, 0].

    RMS over 640 samples, smoothed over three frames, relative to the 95th percentile of the clip, so the volume of
    the recording does not matter. Raises ``UndefinedMeasure`` where the sound is too short or silent throughout.
    """
    if len(waveform) < num_frames * SAMPLES_PER_FRAME:
        available = len(waveform) // SAMPLES_PER_FRAME
        raise UndefinedMeasure(f"the sound covers {available} frames of {num_frames}")
    samples = waveform[: num_frames * SAMPLES_PER_FRAME].astype(np.float64)
    rms = np.sqrt((samples.reshape(num_frames, SAMPLES_PER_FRAME) ** 2).mean(axis=1))
    if rms.max(initial=0.0) < _MIN_PEAK:
        raise UndefinedMeasure("the sound is silent throughout")
    smooth = np.convolve(np.pad(rms, 1, mode="edge"), _SMOOTHING, mode="valid")
    loud = np.percentile(smooth, 95.0)
    floor = 10.0 ** (FLOOR_DB / 20.0)
    level_db: np.ndarray = 20.0 * np.log10(np.clip(smooth / loud, floor, 1.0))
    return level_db


def aperture_sync(
    aperture_F: np.ndarray, envelope_F: np.ndarray, *, max_lag_frames: int = MAX_LAG_FRAMES
) -> ApertureSync:
    """Pearson correlation of two curves of equal length at the best lag and at lag 0.

    At lag k frame t is compared with the sound of frame t - k. Raises ``UndefinedMeasure`` where the curves are too
    short, or where one of them is flat.
    """
    num_frames = len(aperture_F)
    if num_frames != len(envelope_F):
        raise ValueError(f"curves differ in length: {num_frames} and {len(envelope_F)}")
    if num_frames - max_lag_frames < MIN_OVERLAP_FRAMES:
        needed = MIN_OVERLAP_FRAMES + max_lag_frames
        raise UndefinedMeasure(f"{num_frames} frames are too few to correlate (at least {needed})")
    correlations = {}
    for lag in range(-max_lag_frames, max_lag_frames + 1):
        picture = aperture_F[max(0, lag) : num_frames + min(0, lag)]
        sound = envelope_F[max(0, -lag) : num_frames - max(0, lag)]
        correlations[lag] = correlation(picture, sound)
    best = min(correlations, key=lambda lag: (-correlations[lag], abs(lag)))
    return ApertureSync(correlation=correlations[best], lag_frames=best, correlation_at_zero=correlations[0])


def _aperture(picture: ScoredPicture) -> np.ndarray:
    return aperture_curve(picture.frames)


def _loudness(truth: ScoredTruth) -> np.ndarray:
    return speech_envelope(truth.speech, len(truth.frames))


def _against_driving_speech(clip: ScoredClip) -> ApertureSync:
    return aperture_sync(clip.once(_aperture), clip.truth.once(_loudness))


APERTURE_CORR = ClipMeasure(
    name="aperture_corr",
    label="Aperture-speech correlation",
    direction=Direction.HIGHER,
    backend=Backend.APERTURE,
    min_frames=MIN_OVERLAP_FRAMES + MAX_LAG_FRAMES,
    summary="Correlation of lip aperture seen in pixels with the loudness of the driving speech, at the best lag of "
    "up to five frames; a maximum over lags, so above zero by chance.",
    compute=lambda clip: clip.once(_against_driving_speech).correlation,
)

APERTURE_CORR_LAG0 = ClipMeasure(
    name="aperture_corr_lag0",
    label="Aperture-speech correlation, no lag",
    direction=Direction.HIGHER,
    backend=Backend.APERTURE,
    min_frames=MIN_OVERLAP_FRAMES + MAX_LAG_FRAMES,
    summary="Correlation of lip aperture seen in pixels with the loudness of the driving speech, without a shift.",
    compute=lambda clip: clip.once(_against_driving_speech).correlation_at_zero,
)

APERTURE_LAG_FRAMES = ClipMeasure(
    name="aperture_lag_frames",
    label="Aperture lag",
    unit="frames",
    direction=Direction.NONE,
    backend=Backend.APERTURE,
    min_frames=MIN_OVERLAP_FRAMES + MAX_LAG_FRAMES,
    summary="Lag of the best aperture-speech correlation; positive: the sound lies earlier than the picture.",
    compute=lambda clip: clip.once(_against_driving_speech).lag_frames,
)


def correlation(a: np.ndarray, b: np.ndarray, names: tuple[str, str] = ("the mouth", "the sound")) -> float:
    """Pearson correlation of two ``[n]`` curves; raises ``UndefinedMeasure`` by name where one is flat."""
    a, b = a - a.mean(), b - b.mean()
    lengths = float(np.linalg.norm(a)), float(np.linalg.norm(b))
    if min(lengths) < _FLAT * np.sqrt(len(a)):
        raise UndefinedMeasure(f"{names[int(np.argmin(lengths))]} does not change")
    return float(np.clip(a @ b / (lengths[0] * lengths[1]), -1.0, 1.0))


def _against_speech_given(clip: ScoredClip) -> float:
    envelope_F = speech_envelope(clip.once(speech_given), len(clip.frames))
    return correlation(clip.once(_aperture), envelope_F)


APERTURE_CORR_GIVEN = ClipMeasure(
    name="aperture_corr_given",
    label="Aperture-speech correlation (speech given)",
    direction=Direction.HIGHER,
    backend=Backend.APERTURE,
    summary="Aperture-speech correlation without a shift of a prediction made from unrelated speech, against that "
    "speech.",
    applies=driven_by_unrelated,
    compute=_against_speech_given,
)

APERTURE_TRUTH_CORR = ClipMeasure(
    name="aperture_truth_corr",
    label="Aperture-truth correlation",
    direction=Direction.HIGHER,
    backend=Backend.APERTURE,
    summary="Correlation of lip aperture in the prediction with lip aperture in the truth, frame by frame.",
    compute=lambda clip: correlation(
        clip.once(_aperture), clip.truth.once(_aperture), ("the mouth", "the mouth of the truth")
    ),
)


def _source_aperture(truth: ScoredTruth) -> np.ndarray:
    if truth.item.source_video is None:
        raise UndefinedMeasure("the item has no source video")
    return aperture_curve(truth.source_frames())


def _has_source(record: PredictionRecord, item: EvalItem) -> bool:
    return item.source_video is not None


SOURCE_LEAKAGE = ClipMeasure(
    name="source_leakage",
    label="Source leakage",
    direction=Direction.LOWER,
    backend=Backend.APERTURE,
    summary="Correlation of lip aperture in the prediction with lip aperture in the source video: 1 = the source's own "
    "speech shows through.",
    applies=_has_source,
    compute=lambda clip: correlation(
        clip.once(_aperture), clip.truth.once(_source_aperture), ("the mouth", "the mouth of the source")
    ),
)


def silence_opening(aperture_F: np.ndarray, envelope_F: np.ndarray) -> float:
    """How open the mouth is when nobody speaks, relative to when somebody does: 0 = shut, 1 = no difference.

    Mean aperture over silent frames (quieter than -30 dB, with quiet neighbours) over mean aperture over speaking
    frames (not quieter than that), both above the clip's closed level (5th percentile). A quiet frame beside a loud one
    is neither: lips begin to move before the sound and end after it. Raises ``UndefinedMeasure`` where there are
    fewer than three frames of either kind, or where the mouth never moves.
    """
    quiet = np.pad(envelope_F < SILENCE_DB, 1, constant_values=True)
    silent = quiet[:-2] & quiet[1:-1] & quiet[2:]
    speaking = ~quiet[1:-1]
    if min(silent.sum(), speaking.sum()) < MIN_FRAMES_PER_STATE:
        raise UndefinedMeasure(
            f"{silent.sum()} silent and {speaking.sum()} speaking frames; {MIN_FRAMES_PER_STATE} of each are needed"
        )
    opening = aperture_F - np.percentile(aperture_F, 5.0)
    while_speaking = opening[speaking].mean()
    if aperture_F.std() < _FLAT or while_speaking < _FLAT:
        raise UndefinedMeasure("the mouth does not move while somebody speaks")
    return float(opening[silent].mean() / while_speaking)


SILENCE_OPENING = ClipMeasure(
    name="silence_opening",
    label="Opening in silence",
    direction=Direction.LOWER,
    backend=Backend.APERTURE,
    min_frames=2 * MIN_FRAMES_PER_STATE,
    summary="Lip aperture while the driving speech is silent over that while it is not: 0 = shut, 1 = no difference.",
    compute=lambda clip: silence_opening(clip.once(_aperture), clip.truth.once(_loudness)),
)


def _opening(mouth: np.ndarray) -> float:
    """Mean darkness of a box of luma, without what is connected to its upper or lower edge."""
    import cv2
    from skimage.morphology import reconstruction

    mouth = cv2.resize(mouth, (GRID_WIDTH, GRID_HEIGHT), interpolation=cv2.INTER_AREA)
    dark_level = DARK_SHARE * np.percentile(mouth, SKIN_PERCENTILE)
    if dark_level <= 0:
        return 0.0
    darkness = np.clip(1.0 - mouth / dark_level, 0.0, 1.0)
    edges = np.zeros_like(darkness)
    edges[[0, -1]] = darkness[[0, -1]]
    joined_to_edge = reconstruction(edges, darkness)  # type: ignore[no-untyped-call]
    return float((darkness - joined_to_edge).mean())
