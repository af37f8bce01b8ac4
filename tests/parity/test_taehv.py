"""The tiny autoencoder against the original: in one pass, and streamed latent by latent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lipforcing_core.models.codecs.causal_codec import FeatureCache
from lipforcing_core.models.codecs.protocol import TIME_STRIDE
from lipforcing_core.models.codecs.taehv import TinyAutoencoder
from tests.parity.filler import Tensors, Vectors, assert_close, fill_module, load_vectors


@pytest.fixture(scope="module")
def vectors(parity_dir: Path) -> Vectors:
    return load_vectors(parity_dir, "taehv")


@torch.no_grad()
def test_every_case(vectors: Vectors) -> None:
    assert vectors.cases()
    for case in vectors.cases():
        network, raw = build(vectors, case["filler"])
        stored = vectors.of(case["name"])
        data = Tensors({name: value.transpose(1, 2) for name, value in stored.items()})  # to BCTHW
        if "out.latent" in data:
            assert data["out.latent"].shape[2] == case["latents"]
            check(case, "latent", network.encode(data["in.frames"], padding="end"), data["out.latent"])
        if "out.latent_front_padded" in data:
            want = data["out.latent_front_padded"]
            check(case, "latent", network.encode(data["in.frames"]), want, "front padded")
            check(case, "latent", encode_streamed(network, data["in.frames"]), want, "front padded, streamed")

        if "in.z" in data:
            check_decoder(case, network, raw, data)
        data.assert_all_checked(case["name"])


def check_decoder(case: dict[str, Any], network: TinyAutoencoder, raw: list[Tensor], data: Tensors) -> None:
    counts = case["checks"].get("streaming_frames_per_latent")
    for how, decode in (("whole", decode_whole), ("streamed", decode_streamed)):
        raw.clear()
        parts = decode(network, data["in.z"])
        assert how == "whole" or counts in (None, [part.shape[2] for part in parts])
        for quantity, got in (("decoded", parts), ("decoder_raw", raw)):
            if f"out.{quantity}" in data:
                check(case, quantity, torch.cat(got, dim=2), data[f"out.{quantity}"], how)


def check(case: dict[str, Any], quantity: str, got: Tensor, want: Tensor, how: str = "whole") -> None:
    assert_close(got, want, case["atol"][quantity], f"{case['name']} {quantity} ({how})")


def encode_streamed(network: TinyAutoencoder, video_BCFHW: Tensor) -> Tensor:
    """The first latent from the frames beyond a multiple of the stride, which the network fills up in front."""
    stream: FeatureCache = {}
    frames = video_BCFHW.shape[2]
    sizes = [(frames - 1) % TIME_STRIDE + 1] + [TIME_STRIDE] * ((frames - 1) // TIME_STRIDE)
    return torch.cat([network.encode(part, stream) for part in video_BCFHW.split(sizes, dim=2)], dim=2)


def decode_whole(network: TinyAutoencoder, latent_BCTHW: Tensor) -> list[Tensor]:
    return [network.decode(latent_BCTHW)]


def decode_streamed(network: TinyAutoencoder, latent_BCTHW: Tensor) -> list[Tensor]:
    stream: FeatureCache = {}
    return [network.decode(part, stream) for part in latent_BCTHW.split(1, dim=2)]


def build(vectors: Vectors, filler: str) -> tuple[TinyAutoencoder, list[Tensor]]:
    """The network, and a list to which its decoder adds what it makes before clamping and trimming."""
    network = TinyAutoencoder()
    fill_module(network, vectors.meta["state_dict"], filler)
    raw: list[Tensor] = []
    network.decoder.register_forward_hook(lambda _module, _inputs, out: raw.append(out))
    return network.eval(), raw
