"""The suite on small drawn talking heads whose truth is known."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.ledger import ChunkStages, Stage, StageLedger
from lipforcing_core.faces.detectors.protocol import Face
from lipforcing_core.media.decode import read_audio
from lipforcing_core.media.encode import write_wav
from lipforcing_core.metrics.aggregate import aggregate
from lipforcing_core.metrics.backends import Backends, load_backends
from lipforcing_core.metrics.item import evaluate_item, item_key
from lipforcing_core.metrics.item_result import ItemResult
from lipforcing_core.metrics.manifest import EvalItem, record_prediction
from lipforcing_core.metrics.protocol import gt_box_aligned
from lipforcing_core.metrics.speed import speed_rows
from lipforcing_core.metrics.suite import Evaluation
from tests.metrics.drawn import (
    NUM_FRAMES,
    PRECROPPED,
    BrightnessExpert,
    evaluate_all,
    gaps,
    head,
    make_item,
    predictions_of,
    write_speech,
    write_video,
)


class FixedDetector:
    """A face that is always at the same place, or never there."""

    backend_id = "fixed@test"

    def __init__(self, present: bool = True) -> None:
        self.present = present

    def detect(self, frame: np.ndarray) -> list[Face]:
        return [Face(box_xyxy=(60.0, 60.0, 260.0, 260.0), score=1.0)] if self.present else []


@pytest.fixture(scope="module")
def items(tmp_path_factory) -> list[EvalItem]:
    root = tmp_path_factory.mktemp("items")
    return [make_item(root / str(index), index) for index in range(3)]


@pytest.fixture(scope="module")
def backends() -> Backends:
    return replace(load_backends("embedded", {}, detector=None), sync=BrightnessExpert())


@pytest.fixture(scope="module")
def evaluation(items, backends) -> Evaluation:
    predictions = [record for item in items for record in predictions_of(item)]
    return evaluate_all(items, predictions, PRECROPPED, backends, pairs=[("student", "copy")])


def by_name(evaluation: Evaluation, system: str, clip_id: str | None = None) -> dict:
    return {v.metric: v for v in evaluation.values if v.system == system and v.clip_id == clip_id}


def test_the_truth_scores_perfectly_against_itself(evaluation):
    oracle = by_name(evaluation, "oracle")
    for metric in ("ssim", "mouth_ssim", "mouth_sharpness", "csim", "aperture_truth_corr"):
        assert oracle[metric].value == pytest.approx(1.0), metric
    for metric in ("lpips", "mouth_lpips", "fid", "fvd"):
        assert oracle[metric].value == pytest.approx(0.0, abs=1e-6), metric


def test_systems_are_ordered_as_they_were_made(evaluation):
    student, copy = by_name(evaluation, "student"), by_name(evaluation, "copy")
    assert student["mouth_sharpness"].value < 0.8
    for metric in ("sync_c", "aperture_corr_lag0", "aperture_truth_corr"):
        assert student[metric].value > copy[metric].value + 0.2, metric
    assert student["silence_opening"].value < 0.2
    assert copy["source_leakage"].value == pytest.approx(1.0)
    assert student["fid"].value > copy["fid"].value


def test_rows_say_what_they_rest_on(evaluation):
    clip, whole = by_name(evaluation, "student", "clip1")["ssim"], by_name(evaluation, "student")["ssim"]
    assert (clip.n, clip.ci_low, clip.num_identities) == (NUM_FRAMES, None, None)
    assert (whole.n, whole.num_identities, whole.protocol_id) == (3, 3, PRECROPPED.id)
    assert whole.ci_low <= whole.value <= whole.ci_high
    fid = by_name(evaluation, "student")["fid"]
    assert (fid.backend, fid.n, fid.num_vectors) == ("random-conv-v1@seed0", 3, 3 * 7)
    assert by_name(evaluation, "student")["sync_c"].backend == "brightness@test"


def test_an_infinite_psnr_is_unavailable_and_not_a_number(evaluation):
    reasons = [entry for entry in evaluation.unavailable if entry.system == "oracle"]
    assert {(entry.metric, entry.clip_id) for entry in reasons} == {
        (metric, f"clip{k}") for metric in ("psnr", "mouth_psnr") for k in range(3)
    }
    assert all("equal" in entry.because for entry in reasons)
    assert "psnr" in by_name(evaluation, "student")


def test_unrelated_speech_is_a_system_of_its_own_and_scored_against_both(evaluation):
    control = by_name(evaluation, "student+unrelated_audio")
    assert control["sync_c"].value == by_name(evaluation, "student")["sync_c"].value
    assert {"sync_c_given", "aperture_corr_given"} <= set(control)
    assert "sync_c_given" not in by_name(evaluation, "student")


def test_paired_differences_equal_the_difference_of_the_means(evaluation):
    student, copy = by_name(evaluation, "student"), by_name(evaluation, "copy")
    metrics = {difference.metric for difference in evaluation.differences}
    assert {"ssim", "sync_c", "fid", "fvd"} <= metrics
    for difference in evaluation.differences:
        expected = student[difference.metric].value - copy[difference.metric].value
        assert difference.difference == pytest.approx(expected, abs=1e-9)
        assert (difference.system_a, difference.system_b, difference.n) == ("student", "copy", 3)


def test_items_alone_and_in_any_order_give_the_same_sets(items, backends, evaluation, tmp_path):
    results = []
    for item in reversed(items):
        evaluate_item(item, predictions_of(item), PRECROPPED, backends).save(tmp_path)
        results.append(ItemResult.load(tmp_path))
    whole = aggregate(results, PRECROPPED, backends, pairs=[("student", "copy")])
    assert sorted(whole.values, key=repr) == sorted(
        (v for v in evaluation.values if v.clip_id is None), key=repr
    )
    assert whole.differences == evaluation.differences


def test_missing_predictions_leave_their_clip_out_for_all(items, backends):
    kept = {
        ("copy", "clip0"),
        ("copy", "clip1"),
        ("oracle", "clip0"),
        ("oracle", "clip1"),
        ("oracle", "clip2"),
    }
    records = [r for item in items for r in predictions_of(item) if (r.label, r.clip_id) in kept]
    gone = next(r for r in records if (r.label, r.clip_id) == ("copy", "clip1"))
    records[records.index(gone)] = replace(gone, path=gone.path.with_name("gone.mp4"))
    found = evaluate_all(items, records, PRECROPPED, backends)
    assert found.missing == (("copy", "clip2"),)
    whole = [value for value in found.values if value.clip_id is None]
    assert {value.system for value in whole} == {"copy", "oracle"}
    assert {value.n for value in whole} == {1}
    assert all(value.no_interval_because for value in whole)
    reasons = [u for u in found.unavailable if (u.system, u.clip_id) == ("copy", "clip1")]
    assert len(reasons) == len(by_name(found, "copy", "clip0"))
    assert all("gone.mp4 does not exist" in u.because for u in reasons)


def test_predictions_that_do_not_fit_are_unavailable_with_the_reason(items, backends, tmp_path):
    item = items[0]
    frames = head(0, gaps(0))
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    records = [
        record_prediction(item.clip_id, "short", write_video(tmp_path / "short.mp4", frames[:20])),
        record_prediction(item.clip_id, "large", write_video(tmp_path / "l.mp4", head(0, gaps(0), 128))),
        record_prediction(item.clip_id, "broken", broken),
        record_prediction(
            item.clip_id, "still", write_video(tmp_path / "still.mp4", frames[:1] * NUM_FRAMES)
        ),
    ]
    result = evaluate_item(item, records, PRECROPPED, backends)
    reasons = {u.system: u.because for u in result.unavailable if u.metric == "ssim"}
    assert "ends at frame 20, the scored window at 26" in reasons["short"]
    assert "128 x 128, those of the truth 96 x 96" in reasons["large"]
    assert "broken.mp4" in reasons["broken"]
    still = {u.metric: u.because for u in result.unavailable if u.system == "still"}
    assert set(still) >= {"aperture_corr", "aperture_truth_corr", "silence_opening"}
    assert "mouth does not change" in still["aperture_corr"]
    assert still["sync_c"] == "its value is not a number"
    assert "ssim" in {v.metric for v in result.values if v.system == "still"}


def test_a_truth_that_cannot_be_scored_makes_the_clip_unavailable(items, backends):
    long = replace(PRECROPPED, num_frames=NUM_FRAMES + 1)
    result = evaluate_item(items[0], predictions_of(items[0]), long, backends)
    assert result.values == ()
    assert {u.because for u in result.unavailable} == {
        f"the truth cannot be scored: the truth has {NUM_FRAMES} frames in a window of {NUM_FRAMES + 1}"
    }


def test_sound_that_ends_within_the_last_frame_costs_that_frame_only(items, backends, tmp_path):
    """As most files have it: 30 frames of picture, 29.6 of sound."""
    sound = read_audio(items[0].driving_audio)[:-256]
    write_wav(tmp_path / "driving.wav", sound)
    item = replace(items[0], driving_audio=tmp_path / "driving.wav")
    result = evaluate_item(item, predictions_of(items[0]), PRECROPPED, backends)
    assert {value.metric for value in result.values} >= {"ssim", "sync_c"}
    pinned = evaluate_item(
        item, predictions_of(items[0]), replace(PRECROPPED, num_frames=NUM_FRAMES), backends
    )
    assert pinned.values == ()
    assert {u.because for u in pinned.unavailable} == {
        f"the truth cannot be scored: the sound of driving.wav covers {NUM_FRAMES - 1} of {NUM_FRAMES} scored frames"
    }


def test_requests_that_do_not_fit_are_refused(items, backends):
    records = predictions_of(items[0])
    changed = replace(records[0], sha256="0" * 64)
    with pytest.raises(BadInputError, match="sha256"):
        evaluate_item(items[0], [changed], PRECROPPED, backends)
    with pytest.raises(BadInputError, match="not evaluated: clip0"):
        evaluate_all(items[1:], records, PRECROPPED, backends)
    with pytest.raises(BadInputError, match="no predictions of teacher"):
        evaluate_all(items, records, PRECROPPED, backends, pairs=[("student", "teacher")])
    with pytest.raises(BadInputError, match="two predictions"):
        evaluate_all(items, records * 2, PRECROPPED, backends)
    with pytest.raises(BadInputError, match="aligns with lbp"):
        evaluate_item(items[0], records, gt_box_aligned(detector_id="lbp"), backends)


def test_item_key_follows_content(items, backends):
    item, records = items[0], predictions_of(items[0])
    key = item_key(item, records, PRECROPPED, backends)
    assert key == item_key(item, [*reversed(records), *predictions_of(items[1])], PRECROPPED, backends)
    assert key != item_key(item, records[:-1], PRECROPPED, backends)
    assert key != item_key(item, records, replace(PRECROPPED, size=512), backends)
    assert key != item_key(replace(item, driving_audio=item.unrelated_audio), records, PRECROPPED, backends)
    gone = [replace(records[0], path=Path("gone.mp4")), *records[1:]]
    assert key != item_key(item, gone, PRECROPPED, backends)


def test_speed_rows_are_averaged_with_the_rest(items, backends):
    ledgers = {
        ("student", item.clip_id): StageLedger(
            chunks=(ChunkStages(num_frames=30, stage_s={Stage.GENERATE: 1.0 + k}),), wall_s=10.0
        )
        for k, item in enumerate(items[:2])
    }
    speed, _ = speed_rows(ledgers, protocol_id=PRECROPPED.id, machine="test machine")
    results = [
        ItemResult(clip_id=item.clip_id, identity=item.identity, values=(), unavailable=()) for item in items
    ]
    whole = aggregate(results, PRECROPPED, backends, speed=speed)
    fps = next(v for v in whole.values if v.metric == "fps_pipeline")
    assert (fps.value, fps.n, fps.backend) == (pytest.approx((30 + 15) / 2), 2, "test machine")


def test_alignment_is_found_on_the_truth_and_used_for_all(tmp_path):
    frames = [cv2.resize(frame, (320, 320)) for frame in head(5, gaps(5), 256)]
    item = EvalItem(
        clip_id="c",
        identity="p",
        truth_video=write_video(tmp_path / "truth.mp4", frames),
        driving_audio=write_speech(tmp_path / "a.wav", gaps(5)),
    )
    detector = FixedDetector()
    backends = replace(load_backends("embedded", {}, detector=detector), sync=BrightnessExpert())
    protocol = gt_box_aligned(detector_id=detector.backend_id)
    records = [record_prediction("c", "oracle", item.truth_video)]
    scored = evaluate_item(item, records, protocol, backends)
    assert {v.metric: v.value for v in scored.values}["ssim"] == pytest.approx(1.0)
    assert "source_leakage" not in {v.metric for v in scored.values} | {u.metric for u in scored.unavailable}
    detector.present = False
    faceless = evaluate_item(item, records, protocol, backends)
    assert faceless.values == ()
    assert "no face" in faceless.unavailable[0].because
