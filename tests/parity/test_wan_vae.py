"""The Wan VAE against the original: in one pass, and streamed in the groups of the reference."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lipforcing_core.models.codecs.causal_codec import FeatureCache
from lipforcing_core.models.codecs.wan_vae import WanVAE, WanVAEConfig
from tests.parity.filler import Vectors, assert_close, filled_state, load_vectors

REFERENCE_GROUP = 4  # frames encoded at once, after the first, whatever the stride of the network


@pytest.fixture(scope="module")
def vectors(parity_dir: Path) -> Vectors:
    return load_vectors(parity_dir, "wan_vae")


@torch.no_grad()
def test_every_case(vectors: Vectors) -> None:
    assert vectors.cases()
    networks = cache(lambda dim, filler: build(vectors, dim, filler))
    for case in vectors.cases():
        network, data = networks(case["dim"], case["filler"]), vectors.of(case["name"])
        if "in.video" in data and "out.latent" in data:
            video, want = whole_groups(data["in.video"]), data["out.latent"]
            assert want.shape[2] == case["latent_frames"]
            check(case, "latent", network.encode(video), want)
            check(case, "latent", encode_streamed(network, video), want, "streamed")
        for given, name in (("in.z", "decoded_unclamped"), ("out.latent", "recon_unclamped")):
            if f"out.{name}" in data:
                check(case, "decoded", network.decode(data[given]), data[f"out.{name}"], name)
                streamed = decode_streamed(network, data[given])
                counts = case["checks"].get("frames_emitted_per_latent")
                assert counts in (None, [part.shape[2] for part in streamed])
                check(case, "decoded", torch.cat(streamed, dim=2), data[f"out.{name}"], f"{name} streamed")
        data.assert_all_checked(case["name"])


def whole_groups(video_BCFHW: Tensor) -> Tensor:
    """Frame 0 and whole groups: the reference ignores what follows, this network refuses what is no whole stride."""
    num_frames = video_BCFHW.shape[2]
    return video_BCFHW[:, :, : num_frames - (num_frames - 1) % REFERENCE_GROUP]


def check(case: dict[str, Any], quantity: str, got: Tensor, want: Tensor, how: str = "whole") -> None:
    assert_close(got, want, case["atol"][quantity], f"{case['name']} {quantity} ({how})")


def encode_streamed(network: WanVAE, video_BCFHW: Tensor) -> Tensor:
    stream: FeatureCache = {}
    sizes = [1] + [REFERENCE_GROUP] * (video_BCFHW.shape[2] // REFERENCE_GROUP)
    return torch.cat([network.encode(part, stream) for part in video_BCFHW.split(sizes, dim=2)], dim=2)


def decode_streamed(network: WanVAE, latent_BCTHW: Tensor) -> list[Tensor]:
    stream: FeatureCache = {}
    return [network.decode(part, stream) for part in latent_BCTHW.split(1, dim=2)]


def build(vectors: Vectors, dim: int, filler: str) -> WanVAE:
    settings = dict(vectors.meta["config"])
    settings.pop("real_dim", None)  # the width of the published network, which is that of some cases
    lists = {name: tuple(value) for name, value in settings.items() if isinstance(value, list)}
    with torch.device("meta"):  # the full-width network has 127 million weights to leave uninitialised
        network = WanVAE(WanVAEConfig(dim=dim, **(settings | lists)))
    state = filled_state(vectors.meta["state_dict"][f"dim{dim}"], filler)
    network.load_state_dict(state, strict=True, assign=True)
    return network.eval()
