"""Values that are no numbers never pass for values: each becomes a row that says why, and the rest goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.ledger import ChunkStages, Stage, StageLedger
from lipforcing_core.metrics.aggregate import aggregate
from lipforcing_core.metrics.backends import Backends, load_backends
from lipforcing_core.metrics.item import evaluate_item
from lipforcing_core.metrics.item_result import ItemResult
from lipforcing_core.metrics.speed import speed_rows
from lipforcing_core.metrics.values import (
    Cell,
    MetricValue,
    PairedDifference,
    Unavailable,
    UndefinedMeasure,
    why_no_number,
)
from tests.metrics.drawn import PRECROPPED, Score, make_item, predictions_of

CELL = Cell(system="s", clip_id="c", metric="ssim", protocol_id="p", backend="b")
NAN, INF = float("nan"), float("inf")


def _raising(error: Exception) -> Callable[[], float]:
    def compute() -> float:
        raise error

    return compute


def test_a_number_becomes_a_row_with_its_place_and_count() -> None:
    row = CELL.measured(lambda: np.float32(0.5), 30)
    assert row == MetricValue(
        system="s", clip_id="c", metric="ssim", value=0.5, n=30, protocol_id="p", backend="b"
    )
    assert type(row.value) is float


@pytest.mark.parametrize(
    ("compute", "because"),
    [
        (lambda: NAN, "not a number"),
        (lambda: INF, "infinite"),
        (lambda: -INF, "infinite"),
        (_raising(UndefinedMeasure("the mouth does not change")), "the mouth does not change"),
        (_raising(BadInputError("needs 6 frames")), "needs 6 frames"),
    ],
)
def test_what_is_no_number_becomes_a_row_that_says_why(compute: Callable[[], float], because: str) -> None:
    row = CELL.measured(compute, 30)
    assert isinstance(row, Unavailable)
    assert because in row.because
    assert row == CELL.missing(row.because)
    assert (row.system, row.clip_id, row.metric, row.protocol_id, row.backend) == ("s", "c", "ssim", "p", "b")


def test_a_mistake_in_a_measure_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        CELL.measured(lambda: 1 / 0, 30)


def test_finite_numbers_need_no_sentence() -> None:
    assert why_no_number(0.0) is None
    assert why_no_number(-1e300) is None


@pytest.mark.parametrize("change", [{"difference": NAN}, {"ci_low": -INF}, {"ci_high": NAN}])
def test_a_difference_that_is_no_number_is_refused(change: dict[str, float]) -> None:
    good = PairedDifference(
        system_a="a",
        system_b="b",
        metric="ssim",
        difference=0.1,
        ci_low=None,
        ci_high=0.2,
        n=3,
        num_identities=2,
        protocol_id="p",
        backend="b",
    )
    with pytest.raises(ValueError, match="ssim of a and b"):
        replace(good, **change)


class BrokenNetwork:
    """Gives NaN for every vector, distance and score."""

    backend_id = "broken@test"

    def embed(self, frames: np.ndarray) -> np.ndarray:
        return np.full((len(frames), 3), np.nan, np.float32)

    def distance(self, prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
        return np.full(len(prediction), np.inf)

    def score(self, frames: np.ndarray, waveform: np.ndarray) -> Score:
        return Score(confidence=NAN, distance=INF, offset_frames=NAN)


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> ItemResult:
    item = make_item(tmp_path_factory.mktemp("values") / "item", 0)
    return evaluate_item(item, predictions_of(item), PRECROPPED, broken_backends())


def broken_backends() -> Backends:
    broken = BrokenNetwork()
    return Backends(
        detector=None,
        sync=broken,
        perceptual=broken,
        image_features=broken,
        video_features=broken,
        identity_features=broken,
    )


def test_networks_that_give_no_numbers_cost_their_measures_and_nothing_else(result: ItemResult) -> None:
    of_student = {row.metric: row.because for row in result.unavailable if row.system == "student"}
    assert of_student == {
        "lpips": why_no_number(INF),
        "mouth_lpips": why_no_number(INF),
        "csim": why_no_number(NAN),
        "sync_c": why_no_number(NAN),
        "sync_d": why_no_number(INF),
        "av_offset_frames": why_no_number(NAN),
    }
    measured = {row.metric for row in result.values if row.system == "student"}
    assert measured >= {"ssim", "psnr", "aperture_corr", "silence_opening"}


def test_sets_of_broken_features_name_the_clip(result: ItemResult, tmp_path: Path) -> None:
    backends = load_backends("embedded", {}, detector=None)
    rng = np.random.default_rng(0)
    sound = {kind: rng.random((6, 3)).astype(np.float32) for kind in ("image", "video")}
    healthy = replace(result, truth_features=sound, features=dict.fromkeys(result.features, sound))
    other = replace(healthy, clip_id="clip1", identity="person1")
    bad = dict(sound, image=np.full((6, 3), np.inf, np.float32))
    broken = replace(other, features=other.features | {"student": bad})
    whole = aggregate([healthy, broken], PRECROPPED, backends, pairs=[("student", "copy")])
    reasons = {(row.metric, row.system): row.because for row in whole.unavailable if row.metric == "fid"}
    assert reasons == {
        ("fid", system): "feature vectors of clip1 hold values that are not numbers"
        for system in result.features
    }
    assert {row.metric for row in whole.values} >= {"fvd", "ssim"}
    assert "fid" not in {row.metric for row in whole.differences}
    truth = replace(other, truth_features=bad)
    whole = aggregate([healthy, truth], PRECROPPED, backends)
    assert "fid" not in {row.metric for row in whole.values}


def test_a_mean_that_overflows_is_unavailable() -> None:
    backends = load_backends("embedded", {}, detector=None)
    results = [
        ItemResult(
            clip_id=f"c{k}",
            identity=f"p{k}",
            values=(
                MetricValue(
                    system="s",
                    clip_id=f"c{k}",
                    metric="psnr",
                    value=1.7e308,
                    n=1,
                    protocol_id="p",
                    backend="b",
                ),
            ),
            unavailable=(),
        )
        for k in range(2)
    ]
    with np.errstate(over="ignore", invalid="ignore"):
        whole = aggregate(results, PRECROPPED, backends)
    assert whole.values == ()
    assert [row.because for row in whole.unavailable] == [why_no_number(INF)]


def test_times_of_nothing_are_unavailable() -> None:
    still = StageLedger(chunks=(ChunkStages(num_frames=9, stage_s={Stage.READ: 0.0}),), wall_s=0.0)
    values, missing = speed_rows({("s", "c"): still}, protocol_id="p", machine="m")
    assert {row.metric for row in missing} == {
        "fps_model",
        "fps_pipeline",
        "fps_end_to_end",
        "ttff_pipeline_s",
    }
    assert {row.because for row in missing} == {"no model stage was timed"}
    assert {row.metric: row.value for row in values}["missed_deadlines"] == 0
