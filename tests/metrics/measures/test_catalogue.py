"""The table of measures: complete, light to load, and the only place that a new measure is entered in."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from apps.cli.show import scores_table
from flows.summaries import EvaluateSummary
from lipforcing_core.base.catalogue import Catalogue
from lipforcing_core.base.errors import BadInputError
from lipforcing_core.metrics.backends import Backend, load_backends
from lipforcing_core.metrics.measures.catalogue import MEASURES, set_measures, smallest_window
from lipforcing_core.metrics.measures.protocol import ClipMeasure, Direction, Measure, Scope
from lipforcing_core.metrics.scored import ScoredClip
from lipforcing_core.metrics.suite import Evaluation, check_window
from tests.metrics.drawn import (
    NUM_FRAMES,
    PRECROPPED,
    BrightnessExpert,
    evaluate_all,
    make_item,
    predictions_of,
)
from warehouse.dictionary import data_dictionary
from warehouse.dimensions import metric_rows


def _redness(clip: ScoredClip) -> float:
    return float(clip.frames[..., 0].mean())


REDNESS = ClipMeasure(
    name="redness",
    label="Redness of the crop",
    unit="levels",
    direction=Direction.NONE,
    backend=Backend.PIXELS,
    version=7,
    min_frames=NUM_FRAMES,
    summary="Mean of the red channel | over the crop.",
    compute=_redness,
)


@contextmanager
def entered(catalogue: Catalogue[Measure], measure: Measure) -> Iterator[None]:
    """One more entry in a table; the frozen class is circumvented, as no user should."""
    before = catalogue.entries
    object.__setattr__(catalogue, "entries", (*before, measure))
    try:
        yield
    finally:
        object.__setattr__(catalogue, "entries", before)


def evaluate_one(folder: Path) -> Evaluation:
    item = make_item(folder / "item", 0)
    backends = replace(load_backends("embedded", {}, detector=None), sync=BrightnessExpert())
    return evaluate_all([item], predictions_of(item)[:1], PRECROPPED, backends)


def test_a_new_measure_costs_its_function_and_one_entry(tmp_path: Path) -> None:
    with entered(MEASURES, REDNESS):
        evaluation = evaluate_one(tmp_path)
        (clip,) = [v for v in evaluation.values if v.metric == "redness" and v.clip_id == "clip0"]
        assert 0 < clip.value < 255
        assert (clip.n, clip.backend) == (NUM_FRAMES, "pixels-v1")
        (whole,) = [v for v in evaluation.values if v.metric == "redness" and v.clip_id is None]
        assert whole.value == pytest.approx(clip.value)
        row = next(row for row in metric_rows() if row["metric"] == "redness")
        assert row["label"] == "Redness of the crop"
        assert (row["unit"], row["version"], row["higher_is_better"]) == ("levels", 7, None)
        assert (row["definition"], row["computed_by"]) == (REDNESS.summary, "pixels")
        page = data_dictionary()
        assert (
            "| redness | Redness of the crop | levels | - | Mean of the red channel \\| over the crop. |"
            in page
        )
        table = scores_table(EvaluateSummary.of("run", tmp_path, evaluation))
        labels = list(table.columns[0].cells)
        assert labels[-1] == "Redness of the crop"
        assert smallest_window() == NUM_FRAMES
        with pytest.raises(
            BadInputError, match=f"25 frames is too short to be scored; ask for at least {NUM_FRAMES}"
        ):
            check_window(25)
    assert "redness" not in MEASURES


def test_the_table_is_complete_and_consistent() -> None:
    assert [measure.name for measure in set_measures()][:2] == ["fid", "fvd"]
    for measure in MEASURES:
        assert measure.summary.endswith(".")
        assert re.fullmatch(r"[a-z0-9_]+", measure.name)
        assert (measure.scope is Scope.SET) == (measure in set_measures())
        assert measure.is_wall_clock == (measure.backend is Backend.CLOCK)
    assert len(set(MEASURES.names)) == len(MEASURES.names) >= 30
    published = [measure.published_name for measure in MEASURES if measure.published_name]
    assert len(set(published)) == len(published)
    assert set(published) >= {"FPS", "TTFF", "Sync-C", "Sync-D", "CSIM", "FID", "FVD", "SSIM"}
    assert MEASURES["ssim"].higher_is_better is True
    assert MEASURES["fid"].higher_is_better is False
    assert MEASURES["mouth_sharpness"].higher_is_better is None
    assert MEASURES["fid"].backend is Backend.IMAGE_FEATURES
    with pytest.raises(
        BadInputError, match=r"unknown measure 'sync-c' \(did you mean 'sync_c'\?\); known: .*sync_c"
    ):
        MEASURES["sync-c"]


DIRECTIONS = {
    "higher": "ssim mouth_ssim psnr mouth_psnr csim sync_c sync_c_given aperture_corr aperture_corr_lag0 "
    "aperture_corr_given aperture_truth_corr fps_model fps_pipeline fps_end_to_end",
    "lower": "lpips mouth_lpips sync_d silence_opening source_leakage fid fvd ttff_pipeline_s ttff_end_to_end_s "
    "chunk_latency_p50_ms chunk_latency_p95_ms chunk_latency_p99_ms missed_deadlines",
    "none": "mouth_sharpness av_offset_frames aperture_lag_frames",
}


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_which_end_is_better(direction: str) -> None:
    """The order counts too: it is that of tables and reports, in which a new measure comes last."""
    known = DIRECTIONS[direction].split()
    assert {MEASURES[name].direction for name in known} == {direction}
    found = [measure.name for measure in MEASURES if measure.direction == direction]
    assert found[: len(known)] == known


def test_every_measure_of_today_has_its_direction_told_here() -> None:
    told = " ".join(DIRECTIONS.values()).split()
    assert len(told) == len(set(told)) == 30


def test_one_limit_for_the_window_said_at_once() -> None:
    assert smallest_window() == 25
    check_window(25)
    check_window(None)
    with pytest.raises(
        BadInputError, match="a window of 16 frames is too short to be scored; ask for at least 25"
    ):
        check_window(16)


def test_the_smallest_windows_of_measures() -> None:
    smallest = {name: MEASURES[name].min_frames for name in " ".join(DIRECTIONS.values()).split()}
    expected = dict.fromkeys(("sync_c", "sync_d", "av_offset_frames", "sync_c_given"), 6)
    expected |= dict.fromkeys(("aperture_corr", "aperture_corr_lag0", "aperture_lag_frames"), 21)
    expected |= {"silence_opening": 6, "fvd": 16}
    assert smallest == dict.fromkeys(smallest, 1) | expected


def test_the_table_is_light() -> None:
    code = (
        "import sys; from lipforcing_core.metrics.measures.catalogue import MEASURES; "
        "from lipforcing_core.metrics.backends import NETWORK_SETS; "
        "print([name for name in ('torch', 'cv2', 'scipy', 'skimage', 'av', 'onnxruntime', 'pandas') "
        "if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
