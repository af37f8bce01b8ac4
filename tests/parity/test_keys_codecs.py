"""Full-size codec networks on the meta device have exactly the names and shapes of the public files."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from lipforcing_core.models.codecs.taehv import TinyAutoencoder
from lipforcing_core.models.codecs.wan_vae import WanVAE


@pytest.mark.parametrize(("name", "build"), [("wan2.1_vae", WanVAE), ("taew2_1", TinyAutoencoder)])
def test_public_names_and_shapes(parity_dir: Path, name: str, build: Callable[[], nn.Module]) -> None:
    path = parity_dir / "keys" / f"{name}.json.gz"
    if not path.is_file():
        pytest.skip(f"no key list {name}")
    with torch.device("meta"):
        network = build()
    got = {key: list(value.shape) for key, value in network.state_dict().items()}
    assert got == json.loads(gzip.decompress(path.read_bytes()))
