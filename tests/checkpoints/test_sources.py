"""What names, folders and kinds stand for; what stands beside an adapter decides what is added to the base."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from lipforcing_core.base.errors import BadInputError, IncompatibleCheckpointError, MissingWeightsError
from lipforcing_core.checkpoints.adapters import adapter_alpha
from lipforcing_core.checkpoints.sources import Source, find_source, require_sources

PEFT = {
    "peft_type": "LORA", "r": 4, "lora_alpha": 16, "use_rslora": False, "alpha_pattern": {}, "rank_pattern": {},
    "use_dora": False, "fan_in_fan_out": False, "bias": "none", "lora_bias": False, "init_lora_weights": True,
    "layer_replication": None, "trainable_token_indices": None, "modules_to_save": ["patch_embedding"],
}  # fmt: skip
"""What peft 0.21 writes into ``adapter_config.json``, as far as it matters here."""


def write_adapter(folder: Path, *, ranks: tuple[int, ...] = (4, 4), **settings: Any) -> Source:
    """An adapter as ``save_pretrained`` of peft leaves it."""
    folder.mkdir(exist_ok=True)
    tensors = {}
    for index, rank in enumerate(ranks):
        tensors[f"base_model.model.l{index}.lora_A.weight"] = torch.ones(rank, 3)
        tensors[f"base_model.model.l{index}.lora_B.weight"] = torch.ones(2, rank)
    save_file(tensors, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps(PEFT | settings))
    (folder / "README.md").write_text("a model card")
    return find_source(str(folder), folder)


@pytest.fixture
def base(tmp_path: Path) -> Source:
    save_file({f"l{index}.weight": torch.zeros(2, 3) for index in range(2)}, tmp_path / "base.safetensors")
    return find_source(str(tmp_path / "base.safetensors"), tmp_path)


def test_the_folder_of_peft_is_an_adapter(tmp_path: Path, base: Source) -> None:
    """Also that of a trainer, which keeps its own state beside it."""
    folder = tmp_path / "adapter"
    write_adapter(folder)
    for name in ("optimizer.pt", "training_args.bin", "scheduler.pt"):
        (folder / name).write_bytes(b"")
    adapter = find_source(str(folder), tmp_path)
    assert adapter.files == [folder / "adapter_model.safetensors"]
    assert "l1.lora_B.weight" in adapter.open_adapter().tensors
    assert adapter_alpha(adapter, base) == 16
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
    assert find_source(str(folder), tmp_path).files == [folder / "adapter_model.bin"]


def test_the_file_of_peft_goes_before_others(tmp_path: Path, base: Source) -> None:
    adapter = write_adapter(tmp_path / "a")
    (tmp_path / "a" / "config.json").write_text('{"lora_alpha": 64}')
    assert adapter_alpha(adapter, base) == 16
    (tmp_path / "a" / "adapter_config.json").unlink()
    assert adapter_alpha(adapter, base) == 64
    (tmp_path / "a" / "config.json").unlink()
    with pytest.raises(
        BadInputError, match=r"no adapter_config\.json or config\.json beside it.*give --alpha"
    ):
        adapter_alpha(adapter, base)
    assert adapter_alpha(adapter, base, given=3) == 3


def test_a_rank_stabilised_adapter_counts_by_the_root_of_its_rank(tmp_path: Path, base: Source) -> None:
    adapter = write_adapter(tmp_path / "a", use_rslora=True)
    assert adapter_alpha(adapter, base) / 4 == pytest.approx(16 / math.sqrt(4))
    assert adapter_alpha(adapter, base, given=5) / 4 == pytest.approx(5 / math.sqrt(4))
    adapter = write_adapter(tmp_path / "a", ranks=(4, 2), use_rslora=True, rank_pattern={"l1": 2})
    with pytest.raises(
        IncompatibleCheckpointError, match=r"use_rslora is set and the ranks differ.*\(2, 4\)"
    ):
        adapter_alpha(adapter, base)


def test_ranks_that_differ_need_nothing_else(tmp_path: Path, base: Source) -> None:
    """Every layer is divided by the rank of its own tensors, as peft does."""
    adapter = write_adapter(tmp_path / "a", ranks=(4, 2), rank_pattern={"l1": 2})
    assert adapter_alpha(adapter, base) == 16


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("alpha_pattern", {"l1": 8}),
        ("use_dora", True),
        ("fan_in_fan_out", True),
        ("lora_bias", True),
        ("layer_replication", [[0, 2], [1, 3]]),
        ("trainable_token_indices", [1]),
        ("alora_invocation_tokens", [1]),
        ("init_lora_weights", "pissa_niter_16"),
        ("init_lora_weights", "olora"),
        ("peft_type", "ADALORA"),
    ],
)
def test_what_is_not_one_sum_is_refused_by_name(tmp_path: Path, base: Source, key: str, value: Any) -> None:
    adapter = write_adapter(tmp_path / "a", **{key: value})
    for given in (None, 16):  # another alpha does not mend it
        with pytest.raises(IncompatibleCheckpointError, match=rf"adapter_config\.json: {key} is "):
            adapter_alpha(adapter, base, given=given)


@pytest.mark.parametrize("settings", [{"bias": "all"}, {"init_lora_weights": "gaussian"}, {"unknown": 1}])
def test_what_does_not_change_the_sum_is_taken(
    tmp_path: Path, base: Source, settings: dict[str, Any]
) -> None:
    assert adapter_alpha(write_adapter(tmp_path / "a", **settings), base) == 16


@pytest.mark.parametrize("name", ["adapter_config.json", "config.json"])
@pytest.mark.parametrize(
    "text",
    ['{"lora_alpha": NaN}', '{"lora_alpha": 0}', '{"lora_alpha": [1]}', "{}", "[1]", "<html>", "\udcff"],
)
def test_a_file_without_a_usable_alpha_is_named(tmp_path: Path, base: Source, name: str, text: str) -> None:
    adapter = write_adapter(tmp_path / "a")
    (tmp_path / "a" / "adapter_config.json").unlink()
    (tmp_path / "a" / name).write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(IncompatibleCheckpointError, match=rf"/{name}: "):
        adapter_alpha(adapter, base)


@pytest.mark.parametrize("alpha", [math.nan, math.inf, 0.0, -1.0])
def test_an_alpha_that_is_given_is_a_number_above_0(tmp_path: Path, base: Source, alpha: float) -> None:
    with pytest.raises(BadInputError, match="must be a number above 0"):
        adapter_alpha(write_adapter(tmp_path / "a"), base, given=alpha)


def test_all_missing_sources_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(MissingWeightsError, match=r"^2 checkpoints are needed") as caught:
        require_sources(["wan2.1-t2v-14b", "omniavatar-ls-14b", str(tmp_path)], tmp_path)
    assert "`lipforcing weights fetch wan2.1-t2v-14b omniavatar-ls-14b`" in str(caught.value)
    require_sources([str(tmp_path), "nowhere"], tmp_path)


def test_hidden_files_do_not_count(tmp_path: Path) -> None:
    for name in ("net.pth", ".net.0123abcd.tmp.safetensors", ".a.safetensors.index.json"):
        (tmp_path / name).touch()
    assert find_source(str(tmp_path), tmp_path).files == [tmp_path / "net.pth"]


def test_a_kind_that_no_network_reads_is_refused(tmp_path: Path) -> None:
    (tmp_path / "net.pth").touch()
    with pytest.raises(BadInputError, match="no network of this project reads yunet"):
        find_source(str(tmp_path / "net.pth"), tmp_path, kind="yunet")
