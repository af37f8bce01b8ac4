"""I3D, the preparation of its input and the Frechet distance against the golden vectors of the reference."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from lipforcing_core.metrics.frechet import frechet_distance, frechet_from_moments, moments
from lipforcing_core.metrics.networks.i3d import I3D, preprocess
from tests.parity.filler import Tensors, Vectors, assert_close, fill_module, load_vectors

KINDS = (None, "frechet")  # clips have no kind


@pytest.fixture(scope="module")
def vectors(parity_dir: Path) -> Vectors:
    return load_vectors(parity_dir, "i3d_fvd")


@torch.inference_mode()
def test_every_clip(vectors: Vectors) -> None:
    clips = vectors.cases_of_kind(None, known=KINDS)
    network = I3D(vectors.meta["config"]["num_classes"]).eval()
    for filler in sorted({case["filler"] for case in clips}):
        fill_module(network, vectors.meta["state_dict"], filler)
        for case in clips:
            if case["filler"] == filler:
                check_clip(network, case, vectors.of(case["name"]))


def check_clip(network: I3D, case: dict[str, Any], data: Tensors) -> None:
    name, atol = case["name"], case["atol"]
    prepared = preprocess((data["in.video_uint8"].float() / 255).permute(0, 4, 1, 2, 3))
    assert list(prepared.shape) == case["preprocessed_shape"]
    for key, step in stored_samples(data):
        sampled = prepared[:, :, ::3, ::step, ::step]  # the README of the vectors: every third frame
        assert_close(sampled, data[key], atol["preprocessed"], f"{name} preprocessed")
    features = network.features(prepared)
    assert_close(features, data["out.features_pooled"], atol["features_pooled"], f"{name} features")
    assert_close(network.logits(features), data["out.logits"], atol["logits"], f"{name} logits")
    data.assert_all_checked(name)


def stored_samples(data: Tensors) -> list[tuple[str, int]]:
    """Which part of the preprocessed video is stored: names, and the distance of the pixels in them."""
    found = [(key, int(m[1])) for key in data if (m := re.fullmatch(r"mid\.preprocessed_every(\d+)", key))]
    assert found
    return found


def test_every_frechet_distance(vectors: Vectors) -> None:
    """The reference in three ways; what float32 costs it shows in its distance of equal sets, which should be 0."""
    for case in vectors.cases_of_kind("frechet", known=KINDS):
        name, atol, data = case["name"], case["atol"], vectors.of(case["name"])
        a, b = data["in.a"].numpy(), data["in.b"].numpy()
        assert_close(torch.from_numpy(moments(a).covariance), data["out.cov_a"], atol, f"{name} covariance")
        for got in (frechet_distance(a, b), frechet_from_moments(moments(a), moments(b))):
            assert got == pytest.approx(case["float64"], abs=atol), name
            for way, allowed in (
                ("float64", atol),
                ("scipy_sqrtm", atol),
                ("float32", atol + abs(case.get("identical_inputs", 0.0))),
            ):
                want = float(data[f"out.frechet_{way}"])
                assert got == pytest.approx(want, abs=allowed), f"{name} {way}"
        data.assert_all_checked(name)


def test_official_names_and_shapes(parity_dir: Path) -> None:
    path = parity_dir / "keys" / "i3d_400.json.gz"
    if not path.is_file():
        pytest.skip("no key list i3d_400")
    with torch.device("meta"):
        network = I3D()
    shapes = {name: list(value.shape) for name, value in network.state_dict().items()}
    assert shapes == json.loads(gzip.decompress(path.read_bytes()))
