"""The worked example of the parity README, so that a failing parity test cannot be the filler's fault."""

from __future__ import annotations

import pytest
import torch

from tests.parity.filler import fill


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("sine", [0.0887558215, 0.1003458063, 0.0647415905, -0.0013116070]),
        ("chirp", [0.1775116430, 0.1736304926, -0.1454093339, 0.0408049990]),
    ],
)
def test_worked_example(kind: str, expected: list[float]) -> None:
    weight = fill("blocks.0.self_attn.q.weight", (96, 96), kind)
    assert torch.allclose(weight.flatten()[:4], torch.tensor(expected), atol=1e-9)


def test_norm_weight() -> None:
    weight = fill("blocks.0.self_attn.norm_q.weight", (96,), "sine")
    assert weight[:2].tolist() == pytest.approx([0.9177507412, 0.9737338418], abs=1e-7)
