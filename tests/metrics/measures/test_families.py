"""How the functions of the families are wired into measures, and the table's words, frozen."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from lipforcing_core.base.ledger import ChunkStages, Stage, StageLedger
from lipforcing_core.metrics.manifest import DrivenBy, EvalItem, PredictionRecord
from lipforcing_core.metrics.measures.aperture import (
    APERTURE_CORR,
    APERTURE_CORR_GIVEN,
    APERTURE_CORR_LAG0,
    APERTURE_LAG_FRAMES,
    APERTURE_TRUTH_CORR,
    SILENCE_OPENING,
    SOURCE_LEAKAGE,
    aperture_curve,
    aperture_sync,
    correlation,
    silence_opening,
    speech_envelope,
)
from lipforcing_core.metrics.measures.catalogue import MEASURES, clip_measures, smallest_window
from lipforcing_core.metrics.measures.distribution import FID, FVD
from lipforcing_core.metrics.measures.perceptual import LPIPS, MOUTH_LPIPS
from lipforcing_core.metrics.measures.pixel import MOUTH_PSNR, MOUTH_SHARPNESS, MOUTH_SSIM, PSNR, SSIM
from lipforcing_core.metrics.measures.speed import FPS_MODEL
from lipforcing_core.metrics.regions import mouth_slices
from lipforcing_core.metrics.scored import ScoredClip, ScoredPicture
from lipforcing_core.metrics.values import UndefinedMeasure
from tests.metrics.measures.test_aperture import drawn_mouth, tone, wandering
from tests.metrics.measures.test_pixel import blurred, noisy, textured
from warehouse.dimensions import metric_rows

FROZEN = json.loads(Path(__file__).with_name("rows_of_metrics.json").read_text())
"""The rows of the measures that have been published; a new measure is none of them."""


def test_names_order_versions_and_words_have_not_changed() -> None:
    """A changed definition needs a new version, and a new version a new line in the frozen rows; new ones come last."""
    assert metric_rows()[: len(FROZEN)] == FROZEN


def side_by_side(prediction: np.ndarray, truth: np.ndarray, **backends: object) -> ScoredClip:
    return ScoredClip(prediction, ScoredPicture(truth, SimpleNamespace(**backends)))


def test_pixel_measures_compare_the_prediction_with_the_truth() -> None:
    truth = textured(0)
    clip = side_by_side(blurred(truth, 1.5), truth)
    assert MOUTH_SHARPNESS.compute(clip) < 1.0
    assert SSIM.compute(clip) != MOUTH_SSIM.compute(clip)
    noise = side_by_side(noisy(truth, 9), truth)
    assert SSIM.compute(noise) > SSIM.compute(clip)
    assert 20 < PSNR.compute(noise) < 40
    assert PSNR.compute(noise) != MOUTH_PSNR.compute(noise)


class FirstRow:
    """A distance that is how many levels two frames differ in their first pixel."""

    backend_id = "first pixel"

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def distance(self, prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
        assert prediction.shape == truth.shape
        self.shapes.append(prediction.shape)
        return prediction[:, 0, 0, 0].astype(float) - truth[:, 0, 0, 0]


def test_perceptual_distance_is_the_mean_over_every_fourth_frame_of_the_crop_or_the_mouth() -> None:
    rows, columns = mouth_slices((64, 64))
    prediction, truth = np.zeros((2, 9, 64, 64, 3), np.uint8)
    prediction[:, 0, 0] = np.arange(9)[:, None]
    prediction[:, rows.start, columns.start] = 10 + np.arange(9)[:, None]
    network = FirstRow()
    clip = side_by_side(prediction, truth, perceptual=network)
    assert LPIPS.compute(clip) == 4.0  # frames 0, 4 and 8
    assert MOUTH_LPIPS.compute(clip) == 14.0
    size = (rows.stop - rows.start, columns.stop - columns.start)
    assert network.shapes == [(3, 64, 64, 3), (3, *size, 3)]


def test_features_of_single_frames_are_of_every_fourth_and_those_of_windows_of_all() -> None:
    frames = np.arange(10)
    networks = SimpleNamespace(
        image_features=SimpleNamespace(embed=lambda x: ("image", x.tolist())),
        video_features=SimpleNamespace(embed=lambda x: ("video", x.tolist())),
    )
    assert FID.features.embed(frames, networks) == ("image", [0, 4, 8])
    assert FVD.features.embed(frames, networks) == ("video", list(range(10)))
    assert (FID.features.name, FVD.features.name) == ("image", "video")
    assert (FID.features.vector_of, FVD.features.vector_of) == ("frames", "windows")
    for measure in (FID, FVD):
        assert (measure.minimum, measure.min_vectors, measure.rests_on_covariance) == (0.0, 2, True)
        a = [np.array([[0.0], [2.0]])]
        b = [np.array([[5.0], [7.0]])]
        assert measure.statistic(a, b, np.zeros(1))(np.ones(1)) == pytest.approx(25.0)


@pytest.fixture(scope="module")
def speaking() -> ScoredClip:
    """A mouth that follows its speech, two frames late; the truth does so at once; the source moves otherwise."""
    gaps = wandering(1, 40)
    gaps[20:30] = 0.0
    truth = ScoredPicture(drawn_mouth(gaps), SimpleNamespace())
    truth.speech = tone(gaps)
    truth.item = SimpleNamespace(source_video="source", unrelated_audio="other")
    truth.source_frames = lambda: drawn_mouth(wandering(2, 40))
    truth.sound_of = lambda path: tone(wandering(3, 40)) if path == "other" else None
    return ScoredClip(drawn_mouth(np.roll(gaps, 2)), truth)


def test_aperture_measures_compare_what_they_say(speaking: ScoredClip) -> None:
    own, truth = aperture_curve(speaking.frames), aperture_curve(speaking.truth.frames)
    loudness = speech_envelope(speaking.truth.speech, 40)
    expected = aperture_sync(own, loudness)
    assert expected.lag_frames == 2
    assert APERTURE_CORR.compute(speaking) == expected.correlation
    assert APERTURE_CORR_LAG0.compute(speaking) == expected.correlation_at_zero
    assert APERTURE_LAG_FRAMES.compute(speaking) == 2
    assert APERTURE_TRUTH_CORR.compute(speaking) == correlation(own, truth)
    assert SILENCE_OPENING.compute(speaking) == silence_opening(own, loudness)
    source = aperture_curve(drawn_mouth(wandering(2, 40)))
    assert SOURCE_LEAKAGE.compute(speaking) == pytest.approx(correlation(own, source))
    given = speech_envelope(tone(wandering(3, 40)), 40)
    assert APERTURE_CORR_GIVEN.compute(speaking) == pytest.approx(correlation(own, given))


def test_one_chunk_that_was_not_timed_apart_leaves_the_model_without_a_speed() -> None:
    chunks = (
        ChunkStages(num_frames=9, stage_s={Stage.DENOISE: 0.5}),
        ChunkStages(num_frames=12, stage_s={Stage.GENERATE: 0.5}),
    )
    with pytest.raises(UndefinedMeasure, match="not timed apart"):
        FPS_MODEL.compute(StageLedger(chunks=chunks, wall_s=2.0))


def test_the_fewest_frames_that_a_measure_can_have_a_value_for() -> None:
    known = {row["metric"] for row in FROZEN}
    shortest = {m.name: m.min_frames for m in MEASURES if m.min_frames != 1 and m.name in known}
    assert shortest == {
        **dict.fromkeys(("aperture_corr", "aperture_corr_lag0", "aperture_lag_frames"), 21),
        **dict.fromkeys(("sync_c", "sync_d", "av_offset_frames", "sync_c_given"), 6),
        "silence_opening": 6,
        "fvd": 16,
    }
    assert smallest_window() == 25


def test_which_measures_make_sense_for_which_prediction(tmp_path: Path) -> None:
    item = EvalItem(clip_id="c", identity="p", truth_video=tmp_path, driving_audio=tmp_path)
    with_source = replace(item, source_video=tmp_path)
    own = PredictionRecord(clip_id="c", system="s", path=tmp_path, sha256="0" * 64)
    control = replace(own, driven_by=DrivenBy.UNRELATED)
    of_controls, of_sources = {"sync_c_given", "aperture_corr_given"}, {"source_leakage"}
    every = {measure.name for measure in clip_measures()}
    for record, shown, missing in (
        (own, item, of_controls | of_sources),
        (own, with_source, of_controls),
        (control, item, of_sources),
        (control, with_source, set()),
        (replace(own, driven_by=DrivenBy.OWN), with_source, of_controls),
    ):
        applying = {measure.name for measure in clip_measures() if measure.applies(record, shown)}
        assert applying == every - missing
