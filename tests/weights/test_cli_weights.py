"""The weights commands on small files, as a user types them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner, Result

from flows import cli
from lipforcing_core.errors import BadInputError, IncompatibleCheckpointError, LipForcingError
from lipforcing_core.weights.registry import all_weights, find_weight
from tests.weights.full_size import key_list, write_sparse


def weights(workspace: Path, *arguments: str) -> Result:
    return CliRunner().invoke(
        cli.app, ["--workspace", str(workspace), "weights", *arguments], env={"COLUMNS": "80"}
    )


def failure(result: Result) -> LipForcingError:
    assert isinstance(result.exception, LipForcingError), result.output
    return result.exception


def test_list_fits_80_columns_and_names_everything(tmp_path: Path) -> None:
    result = weights(tmp_path, "list")
    assert result.exit_code == 0
    *rows, _ = result.output.splitlines()  # the last line is a path
    assert max(len(row) for row in rows) <= 80
    for spec in all_weights():
        assert f"\n{spec.name} " in f"\n{result.output}"


def test_show(tmp_path: Path) -> None:
    result = weights(tmp_path, "show", "umt5-xxl")
    spec = find_weight("umt5-xxl")
    for part in (spec.licence, spec.page, spec.files[0].sha256, spec.files[1].path):
        assert part in result.output


def test_fetch_asks_for_a_restrictive_licence_first(tmp_path: Path) -> None:
    error = failure(weights(tmp_path, "fetch", "wan2.1-vae", "arcface-r100"))
    assert "--accept-licence" in str(error)
    assert not (tmp_path / "weights").exists()


def test_verify_tells_a_wrong_file_from_a_missing_one(parity_dir: Path, tmp_path: Path) -> None:
    assert "No weights are here" in weights(tmp_path, "verify").output
    taew, syncnet = (find_weight(name).path(tmp_path / "weights") for name in ("taew2.1", "syncnet-v2"))
    write_sparse(taew, key_list(parity_dir, "taew2_1"))
    assert "128 tensors fit taehv; no public hash" in weights(tmp_path, "verify").output
    syncnet.parent.mkdir(parents=True)
    syncnet.write_bytes(b"<html>")
    result = weights(tmp_path, "verify", "taew2.1", "syncnet-v2", "wan2.1-vae")
    assert isinstance(failure(result), BadInputError)
    assert "not usable: syncnet-v2, wan2.1-vae" in str(result.exception)
    assert "wrong" in result.output
    assert "lipforcing weights fetch wan2.1-vae" in result.output
    write_sparse(syncnet, key_list(parity_dir, "syncnet_v2"))
    assert "102 tensors fit" in weights(tmp_path, "verify", "syncnet-v2", "--no-hashes").output
    assert "sha256 is" in weights(tmp_path, "verify", "syncnet-v2").output


@pytest.fixture
def small(tmp_path: Path) -> dict[str, torch.Tensor]:
    values = {"model.a": torch.arange(6.0).reshape(2, 3), "model.b": torch.tensor(1)}
    torch.save({"state": {"net": values}}, tmp_path / "net.pth")
    return values


def test_convert(tmp_path: Path, small: dict[str, torch.Tensor]) -> None:
    output = tmp_path / "out.safetensors"
    options = ["--root", "state/net", "--key-map", "strip-model", "--dtype", "bf16", "-o", str(output)]
    result = weights(tmp_path, "convert", str(tmp_path / "net.pth"), *options)
    assert result.exit_code == 0, result.exception
    assert "2 tensors" in result.output
    read = load_file(output)
    assert torch.equal(read["a"], small["model.a"].bfloat16())
    assert read["b"].dtype == torch.int64
    error = failure(weights(tmp_path, "convert", str(tmp_path / "net.pth"), "-o", str(output)))
    assert isinstance(error, IncompatibleCheckpointError)
    error = failure(
        weights(tmp_path, "convert", str(output), "--kind", "taew2.1", "-o", str(tmp_path / "x.safetensors"))
    )
    assert "a is unexpected" in str(error)
    assert not (tmp_path / "x.safetensors").exists()


def test_export(tmp_path: Path) -> None:
    base = {"l.weight": torch.ones(2, 3), "l.bias": torch.zeros(2)}
    lora = {"l.lora_A.default.weight": torch.ones(1, 3), "l.lora_B.default.weight": torch.ones(2, 1)}
    save_file(base, tmp_path / "base.safetensors")
    torch.save({"key": "k", "step": 3, "modules": {"model": lora}, "optimisers": [1]}, tmp_path / "step.pt")
    paths = [str(tmp_path / name) for name in ("base.safetensors", "step.pt", "out.safetensors")]
    arguments = ["export", *paths[:2], "-o", paths[2], "--root", "modules/model"]
    assert "give --alpha" in str(failure(weights(tmp_path, *arguments)))
    result = weights(tmp_path, *arguments, "--alpha", "2")
    assert result.exit_code == 0, result.exception
    read = load_file(tmp_path / "out.safetensors")
    assert read["l.weight"].tolist() == [[3.0] * 3] * 2
    assert torch.equal(read["l.bias"], base["l.bias"])
