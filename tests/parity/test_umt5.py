"""The text encoder against Wan 2.1's."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lipforcing_core.models.text_encoders.umt5 import (
    UMT5_XXL,
    UMT5Config,
    UMT5Network,
    relative_bucket,
)
from lipforcing_core.weights.keymaps import umt5_key
from tests.parity.filler import Vectors, assert_close, fill_module, load_vectors


@pytest.fixture(scope="module")
def vectors(parity_dir: Path) -> Vectors:
    return load_vectors(parity_dir, "umt5")


@torch.no_grad()
def test_every_case(vectors: Vectors) -> None:
    assert vectors.cases()
    for case in vectors.cases():
        network = UMT5Network(UMT5Config(**case["config"])).eval()
        fill_module(network, vectors.meta["state_dict"][case["name"]], case["filler"])
        data = vectors.of(case["name"])
        valid = data["in.mask"].bool()
        assert valid.sum(dim=1).tolist() == case["lengths"]
        got = network(data["in.ids"], data["in.mask"])
        assert_close(got, data["out.prompt_emb"], case["atol"], case["name"])
        assert_close(got[valid], data["out.hidden"][valid], case["atol"], f"{case['name']} hidden")
        data.assert_all_checked(case["name"])


def test_names_of_transformers(vectors: Vectors) -> None:
    pairs = vectors.meta.get("key_mapping_to_transformers_UMT5EncoderModel")
    if not pairs:
        pytest.skip("the umt5 vectors list no names of transformers")
    assert {theirs: umt5_key(theirs) for theirs in pairs.values()} == {v: k for k, v in pairs.items()}


def test_buckets_of_relative_positions(vectors: Vectors) -> None:
    """Stored once, for the buckets and distance of the public model, whatever the cases have."""
    want = vectors.tensors["rel_bucket"]
    reach = len(want) // 2
    offsets = torch.arange(-reach, reach + 1)
    assert torch.equal(relative_bucket(offsets, UMT5_XXL.num_buckets, UMT5_XXL.max_distance), want)
