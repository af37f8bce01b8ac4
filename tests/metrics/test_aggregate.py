"""From clips to sets, by hand: which clips count, what is averaged, how distances and differences come about."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace

import numpy as np
import pytest

from lipforcing_core.metrics.aggregate import SET_RESAMPLES, SetResult, aggregate
from lipforcing_core.metrics.bootstrap import bootstrap_mean, bootstrap_statistic
from lipforcing_core.metrics.frechet import frechet_distance
from lipforcing_core.metrics.item_result import ItemResult
from lipforcing_core.metrics.protocol import gt_box_aligned
from lipforcing_core.metrics.values import MetricValue

PROTOCOL = gt_box_aligned(detector_id="lbp")
BACKENDS = SimpleNamespace(id_of=lambda backend: f"{backend.value}@1")


def value(system: str, clip_id: str, number: float, metric: str = "ssim", backend: str = "px") -> MetricValue:
    return MetricValue(
        system=system,
        clip_id=clip_id,
        metric=metric,
        value=number,
        n=30,
        protocol_id=PROTOCOL.id,
        backend=backend,
    )


def vectors(seed: int, n: int = 5, shift: float = 0.0) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal((n, 3)) + shift).astype(np.float32)


def item(
    clip_id: str, identity: str, scores: Mapping[str, float], *, seed: int = 0, n: int = 5
) -> ItemResult:
    """A clip with an SSIM and features of every system; predictions lie one further from the truth each."""
    return ItemResult(
        clip_id=clip_id,
        identity=identity,
        values=tuple(value(system, clip_id, number) for system, number in scores.items()),
        unavailable=(),
        truth_features={"image": vectors(seed, n), "video": vectors(seed + 1, n)},
        features={
            system: {
                "image": vectors(seed + 2 + k, n, shift=k),
                "video": vectors(seed + 5 + k, n, shift=2.0 * k),
            }
            for k, system in enumerate(scores)
        },
    )


ITEMS = [
    item("c0", "anna", {"a": 0.5, "b": 0.4}, seed=0),
    item("c1", "anna", {"a": 0.7, "b": 0.7}, seed=10),
    item("c2", "ben", {"a": 0.9, "b": 0.1}, seed=20, n=7),
]


def rows(whole: SetResult, metric: str) -> dict[str, MetricValue]:
    return {row.system: row for row in whole.values if row.metric == metric}


def test_a_mean_is_over_clips_and_its_interval_over_people() -> None:
    whole = aggregate(ITEMS, PROTOCOL, BACKENDS, seed=3)
    row = rows(whole, "ssim")["a"]
    expected = bootstrap_mean([0.5, 0.7, 0.9], ["anna", "anna", "ben"], seed=3)
    assert (row.value, row.ci_low, row.ci_high) == (expected.value, expected.low, expected.high)
    assert (row.n, row.num_identities, row.clip_id, row.num_vectors) == (3, 2, None, None)
    assert (row.protocol_id, row.backend) == (PROTOCOL.id, "px")
    assert aggregate(ITEMS, PROTOCOL, BACKENDS, seed=4) != whole


def test_a_difference_is_first_minus_second_on_the_same_clips() -> None:
    whole = aggregate(ITEMS, PROTOCOL, BACKENDS, pairs=[("a", "b"), ("b", "a"), ("a", "nobody")])
    found = {(d.system_a, d.system_b): d for d in whole.differences if d.metric == "ssim"}
    assert set(found) == {("a", "b"), ("b", "a")}
    assert found["a", "b"].difference == pytest.approx((0.1 + 0.0 + 0.8) / 3)
    assert found["b", "a"].difference == pytest.approx(-0.3)
    assert found["a", "b"].ci_low == pytest.approx(0.05)
    assert found["a", "b"].ci_high == pytest.approx(0.8)
    assert (found["a", "b"].n, found["a", "b"].num_identities) == (3, 2)


@pytest.mark.parametrize(("metric", "kind"), [("fid", "image"), ("fvd", "video")])
def test_a_distance_is_between_all_vectors_of_a_system_and_of_the_truths(metric: str, kind: str) -> None:
    whole = aggregate(ITEMS, PROTOCOL, BACKENDS, pairs=[("b", "a")])
    truth = np.concatenate([result.truth_features[kind] for result in ITEMS])
    expected = {
        system: frechet_distance(truth, np.concatenate([result.features[system][kind] for result in ITEMS]))
        for system in ("a", "b")
    }
    found = rows(whole, metric)
    for system in ("a", "b"):
        assert found[system].value == pytest.approx(expected[system], rel=1e-9)
        assert (found[system].n, found[system].num_vectors, found[system].num_identities) == (3, 17, 2)
        assert found[system].backend == f"{kind} features@1"
    (difference,) = [d for d in whole.differences if d.metric == metric]
    assert difference.difference == pytest.approx(expected["b"] - expected["a"], rel=1e-9)
    assert expected["b"] > expected["a"]


def test_people_are_resampled_whole_for_a_distance() -> None:
    """With two people a resample takes one twice or both once, and three distances make the interval."""
    whole = aggregate(ITEMS, PROTOCOL, BACKENDS, seed=5, pairs=[("a", "b")])
    by_person = [ITEMS[:2], ITEMS[2:]]

    def distance(system: str, weights: np.ndarray) -> float:
        taken = [r for person, w in zip(by_person, weights, strict=True) for r in person * int(w)]
        truths, others = (
            np.concatenate([of(result)["image"] for result in taken])
            for of in (lambda r: r.truth_features, lambda r: r.features[system])
        )
        return frechet_distance(truths, others)

    row = rows(whole, "fid")["b"]
    expected = bootstrap_statistic(
        lambda w: distance("b", w), 2, n=3, seed=5, num_resamples=SET_RESAMPLES, minimum=0.0
    )
    assert (row.ci_low, row.ci_high) == (pytest.approx(expected.low), pytest.approx(expected.high))
    (difference,) = [d for d in whole.differences if d.metric == "fid"]
    expected = bootstrap_statistic(
        lambda w: distance("a", w) - distance("b", w), 2, n=3, seed=5, num_resamples=SET_RESAMPLES
    )
    assert expected.low < 0
    assert difference.ci_low == pytest.approx(expected.low)
    assert difference.ci_high == pytest.approx(expected.high)


def test_a_clip_that_one_system_lacks_counts_for_nobody() -> None:
    partial = [*ITEMS, item("c3", "cleo", {"a": 0.0})]
    whole = aggregate(partial, PROTOCOL, BACKENDS)
    assert rows(whole, "ssim")["a"].value == pytest.approx(0.7)
    assert {row.n for row in whole.values} == {3}


def test_a_measure_that_one_system_lacks_on_a_clip_leaves_that_clip_out_for_this_measure_only() -> None:
    first, *rest = ITEMS
    lacking = ItemResult(**{**vars(first), "values": tuple(row for row in first.values if row.system == "a")})
    whole = aggregate([lacking, *rest], PROTOCOL, BACKENDS)
    assert rows(whole, "ssim")["a"].value == pytest.approx(0.8)
    assert rows(whole, "ssim")["a"].n == 2
    assert rows(whole, "fid")["a"].n == 3


def test_without_a_common_clip_everybody_is_told() -> None:
    split = [
        ItemResult(**{**vars(result), "values": tuple(row for row in result.values if row.system == system)})
        for result, system in zip(ITEMS[:2], ("a", "b"), strict=True)
    ]
    whole = aggregate(split, PROTOCOL, BACKENDS, pairs=[("a", "b")])
    assert rows(whole, "ssim") == {}
    reasons = {row.system: row.because for row in whole.unavailable if row.metric == "ssim"}
    assert reasons == dict.fromkeys("ab", "no clip has this metric for every system")
    assert [d for d in whole.differences if d.metric == "ssim"] == []


def test_scores_of_two_backends_are_never_mixed() -> None:
    results = [
        ItemResult(
            clip_id=f"c{k}",
            identity=f"p{k}",
            values=(value("a", f"c{k}", 1.0 + k, backend="new"), value("a", f"c{k}", 5.0 + k, backend="old")),
            unavailable=(),
        )
        for k in range(2)
    ]
    whole = aggregate(results, PROTOCOL, BACKENDS)
    assert [(row.backend, row.value) for row in whole.values] == [("new", 1.5), ("old", 5.5)]


def test_rows_stand_in_the_order_of_the_table_of_measures() -> None:
    result = ItemResult(
        clip_id="c0",
        identity="p",
        values=(value("a", "c0", 3.0, "sync_c"), value("a", "c0", 20.0, "psnr"), value("a", "c0", 0.5)),
        unavailable=(),
    )
    speed = [value("a", "c0", 30.0, "fps_model"), value("a", "elsewhere", 1.0, "fps_model")]
    whole = aggregate([result], PROTOCOL, BACKENDS, speed=speed)
    assert [row.metric for row in whole.values] == ["ssim", "psnr", "sync_c", "fps_model"]
    assert whole.values[-1].value == 30.0
    assert {row.no_interval_because for row in whole.values} == {"only one identity to resample"}
    assert whole.unavailable == ()


def test_too_few_vectors_are_told() -> None:
    whole = aggregate([item("c0", "anna", {"a": 0.5}, n=1)], PROTOCOL, BACKENDS)
    reasons = {(row.metric, row.because) for row in whole.unavailable}
    sentence = "1 feature vectors in the clips that every system has; at least 2 are needed"
    assert reasons == {("fid", sentence), ("fvd", sentence)}
    two = aggregate([item("c0", "anna", {"a": 0.5}, n=2)], PROTOCOL, BACKENDS)
    assert {row.metric for row in two.values} == {"ssim", "fid", "fvd"}


@pytest.mark.parametrize("whose", ["truth", "system"])
def test_a_clip_too_short_for_a_window_is_left_out_of_that_distance(whose: str) -> None:
    short = item("c9", "dora", {"a": 0.2, "b": 0.2}, seed=30)
    owner = short.truth_features if whose == "truth" else short.features["b"]
    owner["video"] = np.zeros((0, 3), np.float32)
    whole = aggregate([*ITEMS, short], PROTOCOL, BACKENDS)
    assert rows(whole, "fvd")["a"].num_vectors == 17
    assert rows(whole, "fid")["a"].num_vectors == 22


@pytest.mark.parametrize("whose", ["truth", "system"])
@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_a_single_number_that_is_none_makes_a_distance_unavailable(whose: str, number: float) -> None:
    broken = item("c9", "dora", {"a": 0.2, "b": 0.2}, seed=30)
    owner = broken.truth_features if whose == "truth" else broken.features["b"]
    owner["image"][3, 1] = number
    whole = aggregate([*ITEMS, broken], PROTOCOL, BACKENDS)
    reasons = {row.system: row.because for row in whole.unavailable if row.metric == "fid"}
    assert reasons == dict.fromkeys("ab", "feature vectors of c9 hold values that are not numbers")
    assert set(rows(whole, "fvd")) == {"a", "b"}
