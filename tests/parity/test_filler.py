"""The worked example of the parity README, and that no stored case or value can be left out unnoticed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tests.parity.filler import Tensors, Vectors, fill


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


def test_a_result_that_nobody_reads_is_noticed() -> None:
    names = ("in.x", "mid.x", "out.x", "out.y")
    data = Tensors({name: torch.zeros(1) for name in names})
    assert data["out.x"] == 0
    with pytest.raises(AssertionError, match=r"no test looks at \['out\.y'\]"):
        data.assert_all_checked("case")
    assert data["out.y"] == 0
    data.assert_all_checked("case")


def test_a_case_without_results_is_noticed() -> None:
    with pytest.raises(AssertionError, match="no results"):
        Tensors({"in.x": torch.zeros(1)}).assert_all_checked("case")


def test_only_a_known_kind_may_be_left_out(tmp_path: Path) -> None:
    (tmp_path / "meta.json").write_text(json.dumps({"cases": [{"name": "a"}, {"name": "b", "kind": "long"}]}))
    vectors = Vectors(tmp_path)
    assert [case["name"] for case in vectors.cases_of_kind(None, known=(None, "long"))] == ["a"]
    with pytest.raises(pytest.skip.Exception):
        vectors.cases_of_kind("short", known=(None, "long", "short"))
    with pytest.raises(AssertionError, match="no test looks at"):
        vectors.cases_of_kind(None, known=(None,))
