"""The weights commands on small files, as a user types them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner, Result

from apps.cli import main as cli
from lipforcing_core.base.errors import (
    BadInputError,
    IncompatibleCheckpointError,
    LipForcingError,
    MissingWeightsError,
)
from lipforcing_core.checkpoints.convert import plan_merge
from lipforcing_core.checkpoints.networks import preset_fit
from lipforcing_core.checkpoints.sources import find_source
from lipforcing_core.weights.registry import all_weights, find_weight
from tests.checkpoints.full_size import key_list, write_sparse


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


def test_show_says_what_each_file_of_a_pack_is_for(tmp_path: Path) -> None:
    lines = weights(tmp_path, "show", "insightface-buffalo-l").output.splitlines()
    said = {
        Path(line.strip()).name: lines[index + 1]
        for index, line in enumerate(lines)
        if line.endswith(".onnx")
    }
    assert len(said) == 5
    for name, use in {
        "det_10g": "face detector buffalo_l",
        "2d106det": "106 landmarks",
        "1k3d68": "not used here",
        "genderage": "not used here",
        "w600k_r50": "open_arcface reads it",
    }.items():
        assert use in said[f"{name}.onnx"]


def test_fetch_says_first_that_there_is_no_address(tmp_path: Path) -> None:
    """Before it asks to accept a licence, also that of other weights, and before anything is fetched."""
    spec = find_weight("scrfd-500m")
    for arguments in (["scrfd-500m"], ["arcface-r100", "scrfd-500m"], ["scrfd-500m", "--accept-licence"]):
        error = failure(weights(tmp_path, "fetch", *arguments))
        assert str(error).startswith("scrfd-500m has no direct address")
        assert spec.page in str(error)
        assert "--accept-licence" not in str(error)
    assert not (tmp_path / "weights").exists()
    here = find_weight("yunet").path(tmp_path / "weights")
    here.parent.mkdir(parents=True)
    here.touch()
    assert weights(tmp_path, "fetch", "yunet").exit_code == 0, "got by hand before"


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
    assert f"`lipforcing weights convert {tmp_path / 'net.pth'} --root state/net -o NEW.safetensors`" in str(
        error
    )
    error = failure(weights(tmp_path, "convert", str(output), "--root", "net", "-o", str(output)))
    assert "safetensors files hold no containers" in str(error)
    error = failure(
        weights(tmp_path, "convert", str(output), "--kind", "taew2.1", "-o", str(tmp_path / "x.safetensors"))
    )
    assert "a is unexpected" in str(error)
    assert not (tmp_path / "x.safetensors").exists()
    error = failure(
        weights(
            tmp_path, "convert", str(output), "--kind", "taew2.1", "--key-map", "adapter", "-o", str(output)
        )
    )
    assert "taew2.1 has its own key map and root" in str(error)


def test_what_was_converted_can_be_converted_again(parity_dir: Path, tmp_path: Path) -> None:
    """And is smaller, where the released file holds more than the network uses."""
    shapes = key_list(parity_dir, "taew2_1")
    larger = shapes | {"decoder.7.conv.weight": [512, *shapes["decoder.7.conv.weight"][1:]]}
    write_sparse(find_weight("taew2.1").path(tmp_path / "weights"), larger)
    first, second = (str(tmp_path / f"{index}.safetensors") for index in (1, 2))
    assert weights(tmp_path, "convert", "taew2.1", "-o", first).exit_code == 0
    assert {name: list(value.shape) for name, value in load_file(first).items()} == shapes
    result = weights(tmp_path, "convert", first, "--kind", "taew2.1", "-o", second)
    assert result.exit_code == 0, result.exception
    assert Path(first).read_bytes() == Path(second).read_bytes()


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
    assert "fits no shipped preset (1.3b: audio_cond_projs.0.bias is missing;" in result.output
    error = failure(weights(tmp_path, *arguments, "--alpha", "2", "--in-channels", "65"))
    assert "no patch_embedding.weight to grow" in str(error)
    more = {"m.ffn.0.weight": torch.ones(2, 3), "patch_embedding.weight": torch.ones(2, 3, 1, 2, 2)}
    save_file(base | more, tmp_path / "base.safetensors")
    arguments += ["--alpha", "2", "--in-channels", "5"]
    assert "m.ffn.0.lora_A.weight is missing" in str(failure(weights(tmp_path, *arguments)))
    assert weights(tmp_path, *arguments, "--partial").exit_code == 0
    patch = load_file(tmp_path / "out.safetensors")["patch_embedding.weight"]
    assert patch.sum(dim=(0, 2, 3, 4)).tolist() == [8.0, 8.0, 8.0, 0.0, 0.0]
    error = failure(
        weights(tmp_path, "export", paths[0], paths[2], "-o", paths[2], "--root", "a", "--alpha", "2")
    )
    assert "leave out --root" in str(error)


@pytest.mark.parametrize(("settings", "added"), [({}, 3.0), ({"use_rslora": True}, 6.0)])
def test_export_of_a_folder_of_peft(tmp_path: Path, settings: dict[str, bool], added: float) -> None:
    """B A is 4 everywhere; alpha 3 over rank 4 makes 3 of it, over the root of 4 it makes 6."""
    adapter, output = tmp_path / "adapter", tmp_path / "out.safetensors"
    adapter.mkdir()
    save_file({"l.weight": torch.ones(2, 3)}, tmp_path / "base.safetensors")
    lora = {"l.lora_A.weight": torch.ones(4, 3), "l.lora_B.weight": torch.ones(2, 4)}
    named = {f"base_model.model.{name}": value for name, value in lora.items()}
    save_file(named, adapter / "adapter_model.safetensors")
    facts = {"peft_type": "LORA", "r": 4, "lora_alpha": 3} | settings
    (adapter / "adapter_config.json").write_text(json.dumps(facts))
    arguments = ["export", str(tmp_path / "base.safetensors"), str(adapter), "-o", str(output)]
    for alpha in ("nan", "inf", "0", "-1"):
        error = failure(weights(tmp_path, *arguments, "--alpha", alpha))
        assert isinstance(error, BadInputError)
        assert "above 0" in str(error)
    assert not output.exists()
    result = weights(tmp_path, *arguments)
    assert result.exit_code == 0, result.exception
    assert load_file(output)["l.weight"].tolist() == [[1 + added] * 3] * 2


def test_export_names_all_that_is_missing_at_once(tmp_path: Path) -> None:
    error = failure(
        weights(
            tmp_path, "export", "wan2.1-t2v-14b", "omniavatar-ls-14b", "-o", str(tmp_path / "o.safetensors")
        )
    )
    assert isinstance(error, MissingWeightsError)
    assert "`lipforcing weights fetch wan2.1-t2v-14b omniavatar-ls-14b`" in str(error)


def test_a_wrong_file_that_was_fetched_now_is_moved_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Right in format, wrong in names: it must not stand in the way of the next attempt. One that was here stays."""
    path = find_weight("taew2.1").path(tmp_path / "weights")

    def fetched(*_: object, **__: object) -> list[Path]:
        if not path.exists():
            write_sparse(path, {"a": [2, 3]})
        return [path]

    monkeypatch.setattr("lipforcing_core.checkpoints.fetch.fetch_weights", fetched)
    error = failure(weights(tmp_path, "fetch", "taew2.1"))
    assert f"what came was moved aside ({path}.wrong)" in str(error)
    assert [file.name for file in path.parent.iterdir()] == [f"{path.name}.wrong"]
    fetched()
    error = failure(weights(tmp_path, "fetch", "taew2.1"))
    assert "moved aside" not in str(error)
    assert path.is_file()


def test_export_of_an_image_to_video_adapter_says_how_to_grow_it(parity_dir: Path, tmp_path: Path) -> None:
    """The public OmniAvatar files, as sizes and names: nothing is written before the question is answered."""
    folder = tmp_path / "weights"
    adapter = key_list(parity_dir, "omniavatar_v2v_1.3B_adapter_rank128")
    adapter["patch_embedding.weight"][1] = 33
    write_sparse(find_weight("wan2.1-t2v-1.3b").path(folder), key_list(parity_dir, "wan2.1_t2v_1.3B"))
    for path in find_weight("omniavatar-1.3b").paths(folder):
        write_sparse(path, adapter)
    output = tmp_path / "start.safetensors"
    arguments = ["export", "wan2.1-t2v-1.3b", "omniavatar-1.3b", "-o", str(output)]
    assert "take 16, 49 or 65: add --in-channels 65" in str(failure(weights(tmp_path, *arguments)))
    assert not output.exists()
    base, lora = (find_source(name, folder) for name in arguments[1:3])
    plan = plan_merge(base.open(), lora.open_adapter(), alpha=64, in_channels=65)
    assert preset_fit(plan) == "fits preset 1.3b"
