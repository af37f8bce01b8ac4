"""The evaluation flow at its edges: lists that users give, and what is printed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from apps.cli.show import scores_table
from flows.summaries import EvaluateSummary, few_samples
from lipforcing_core.base.errors import BadInputError
from lipforcing_core.metrics.protocol import gt_box_aligned
from lipforcing_core.metrics.suite import Evaluation
from lipforcing_core.metrics.values import MetricValue
from tasks.items import read_items

PROTOCOL = gt_box_aligned(detector_id="d")


def value(
    metric: str, number: float, backend: str, *, system: str = "a", vectors: int | None = None
) -> MetricValue:
    return MetricValue(
        system=system, clip_id=None, metric=metric, value=number, n=2,
        protocol_id=PROTOCOL.id, backend=backend, num_vectors=vectors,
    )  # fmt: skip


def evaluation(*values: MetricValue) -> Evaluation:
    return Evaluation(protocol=PROTOCOL, values=values, unavailable=(), differences=(), missing=())


def test_items_separated_by_semicolons_are_recognised(tmp_path: Path) -> None:
    path = tmp_path / "items.csv"
    path.write_text("clip_id;identity;truth_video;driving_audio\nc;i;a.mp4;a.wav\n")
    with pytest.raises(BadInputError, match=r"driving_audio missing .* look separated by ';'"):
        read_items(path)


def test_a_list_of_items_that_is_no_regular_file_says_so(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(BadInputError, match=r"pipe: is a pipe, a socket or a device"):
        read_items(tmp_path / "pipe")
    with pytest.raises(
        BadInputError, match=r"none\.csv does not exist; it is a CSV with the columns clip_id"
    ):
        read_items(tmp_path / "none.csv")
    path = tmp_path / "items.csv"
    path.write_text("clip_id,identity,truth_video,driving_audio\nc,i,pipe,a.wav\n")
    with pytest.raises(BadInputError, match=r"row 1: truth_video \S+/pipe is a pipe, a socket or a device"):
        read_items(path)


def test_distances_from_few_samples_are_said_once() -> None:
    inception, random = "inception-v3-fid@sha256:0", "random-conv3d-v1@seed0"
    found = few_samples(
        evaluation(
            value("fid", 9.0, inception, vectors=12),
            value("fid", 8.0, inception, system="b", vectors=12),
            value("fvd", 8.0, random, vectors=33),
            value("ssim", 0.5, "pixels-v1"),
        )
    )
    assert found == [
        "FID from 12 frames, no more than the 2048 features of inception-v3-fid@sha256:0: the covariance is singular "
        "and the value biased upward; compare only with equal n"
    ]


def test_zero_has_no_sign() -> None:
    made = evaluation(value("aperture_corr", -0.0, "aperture-v1"))
    table = scores_table(EvaluateSummary.of("run", Path(), made))
    assert list(table.columns[2].cells) == ["0"]
