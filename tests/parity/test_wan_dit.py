"""The bidirectional transformer against the original Wan 2.1 text-to-video model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from lipforcing_core.models.conditions import Conditions, pad_text
from lipforcing_core.models.config import DiTConfig
from lipforcing_core.models.wan import WanTransformer
from tests.parity.filler import Vectors, assert_close, fill_module, load_vectors


@pytest.fixture(scope="module")
def vectors(parity_dir: Path) -> Vectors:
    return load_vectors(parity_dir, "wan_dit")


@torch.no_grad()
def test_every_case(vectors: Vectors) -> None:
    """Samples of a padded batch are run one by one: without padding there is nothing to mask."""
    assert vectors.cases()
    for case in vectors.cases():
        model = build(vectors, case["filler"])
        data = vectors.of(case["name"])
        tokens: list[Tensor] = []
        for block in model.blocks:
            block.register_forward_hook(lambda _m, _i, out, tokens=tokens: tokens.append(out.flatten(1, 2)))
        for sample in range(len(case["x_shapes"])):
            tokens.clear()
            text = pad_text(data[f"in.context{sample}"][None], model.config.text_len)
            encoded = model.encode_conditions(Conditions(text_BLD=text))
            got = model(data[f"in.x{sample}"][None], data["in.t"][sample].double() / 1000, encoded)
            assert_close(got[0], data[f"out.y{sample}"], case["atol"], f"{case['name']} sample {sample}")
            for layer, value in enumerate(tokens):
                want = data.get(f"mid.block{layer}")
                if want is not None and case["atol_mid"] is not None:
                    own = want[[sample], : value.shape[1]]  # the reference pads all samples to one length
                    what = f"{case['name']} sample {sample} block {layer}"
                    assert_close(value, own, case["atol_mid"], what)


def build(vectors: Vectors, filler: str) -> WanTransformer:
    settings = dict(vectors.meta["config"])
    model = WanTransformer(
        DiTConfig(
            in_channels=settings.pop("in_dim"),
            out_channels=settings.pop("out_dim"),
            patch_size=tuple(settings.pop("patch_size")),
            audio_dim=None,
            **settings,
        )
    )
    fill_module(model, vectors.meta["state_dict"], filler)
    return model.eval()
