"""Rewriting checkpoints keeps every value; a merged adapter is the adapted network."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from lipforcing_core.base.errors import BadInputError, IncompatibleCheckpointError
from lipforcing_core.checkpoints.convert import plan_copy, plan_merge, write_plan
from lipforcing_core.checkpoints.networks import Wanted
from lipforcing_core.models.audio_encoders.wav2vec2 import Wav2Vec2Features
from lipforcing_core.models.codecs.taehv import TinyAutoencoder, trim_time_kernel
from lipforcing_core.models.conditions import Conditions
from lipforcing_core.models.lora import (
    FULLY_TRAINED,
    adapter_state_dict,
    inject_lora,
    load_adapter,
    lora_layers,
)
from lipforcing_core.models.wan import WanTransformer
from lipforcing_core.weights.checkpoint import Checkpoint
from lipforcing_core.weights.keymaps import adapter_key, find_key_map
from lipforcing_core.weights.load import load_network
from tests.models.tiny import random_conditions, random_latents, tiny_config

ALPHA = 6.0
ONE_TO_THREE = ("blocks.1.", "blocks.2.", "blocks.3.")


def values() -> dict[str, Tensor]:
    return {
        "half": torch.arange(3).bfloat16(),
        "count": torch.tensor(7),
        "matrix": torch.arange(6.0).reshape(2, 3).t(),
        "flags": torch.tensor([True, False, True]),
        "empty": torch.zeros(0, 4),
    }


@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_one_file_from_shards_of_any_format(tmp_path: Path, dtype: torch.dtype | None) -> None:
    stored = values()
    torch.save({name: stored[name] for name in ("half", "matrix", "empty")}, tmp_path / "a.pth")
    save_file({name: stored[name] for name in ("count", "flags")}, tmp_path / "b.safetensors")
    checkpoint = Checkpoint.open([tmp_path / "a.pth", tmp_path / "b.safetensors"])
    seen: list[tuple[int, int]] = []
    output = tmp_path / "sub" / "all.safetensors"
    write_plan(plan_copy(checkpoint, dtype=dtype), output, on_progress=lambda *done: seen.append(done))
    read = load_file(output)  # the library's own reader, which checks the whole header
    assert read.keys() == stored.keys()
    for name, value in stored.items():
        wanted = value.to(dtype) if dtype and value.is_floating_point() else value
        assert read[name].dtype == wanted.dtype
        assert torch.equal(read[name], wanted)
    assert seen[-1][0] == seen[-1][1]
    with safe_open(output, "pt") as opened:
        assert opened.metadata() == {"format": "pt"}  # transformers asks for it


def test_nothing_half_written(tmp_path: Path) -> None:
    torch.save(values(), tmp_path / "a.pth")
    plan = plan_copy(Checkpoint.open(tmp_path / "a.pth"))
    (tmp_path / "a.pth").write_bytes(b"gone")
    with pytest.raises(IncompatibleCheckpointError, match="ended while it was read"):
        write_plan(plan, tmp_path / "out.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["a.pth"]
    with pytest.raises(BadInputError, match=r"must end in \.safetensors"):
        write_plan({}, tmp_path / "out.pth")


MEASURE = """
import re, sys
from pathlib import Path
from lipforcing_core.weights.checkpoint import Checkpoint
from lipforcing_core.checkpoints.convert import plan_copy, write_plan

def peak_mib():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) / 1024

plan = plan_copy(Checkpoint.open(Path(sys.argv[1])))
before = peak_mib()
write_plan(plan, Path(sys.argv[2]))
print(peak_mib() - before)
"""


def test_memory_is_that_of_one_tensor(tmp_path: Path) -> None:
    torch.save({str(i): torch.zeros(1024, 1024) for i in range(24)}, tmp_path / "a.pth")
    arguments = [sys.executable, "-c", MEASURE, str(tmp_path / "a.pth"), str(tmp_path / "b.safetensors")]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert float(done.stdout) < 48  # MiB, of 96 in all


def adapted(*, in_channels: int = 17, seed: int = 3) -> WanTransformer:
    """A lip-sync transformer with adapters that are not zero."""
    generator = torch.Generator().manual_seed(seed)
    model = WanTransformer(tiny_config(in_channels=in_channels)).init_weights(generator)
    nn.init.normal_(model.head.head.weight, std=0.3, generator=generator)
    inject_lora(model, rank=3, alpha=ALPHA, generator=generator)
    for _, layer in lora_layers(model):
        nn.init.normal_(layer.lora_B.weight, std=0.1, generator=generator)
    return model.eval()


def split(model: WanTransformer, folder: Path) -> tuple[Checkpoint, Checkpoint]:
    """A text-to-video base and an OmniAvatar-like adapter whose union is the model."""
    state = model.state_dict()
    adapter = adapter_state_dict(model, also=FULLY_TRAINED)
    base = {name: value for name, value in state.items() if name not in adapter}
    base["patch_embedding.weight"] = torch.randn(24, 4, 1, 2, 2)
    base["patch_embedding.bias"] = torch.randn(24)
    save_file({name: value.contiguous() for name, value in base.items()}, folder / "base.safetensors")
    torch.save(adapter, folder / "adapter.pt")
    return Checkpoint.open(folder / "base.safetensors"), Checkpoint.open(folder / "adapter.pt")


def velocity(model: WanTransformer, cond: Conditions | None = None) -> Tensor:
    with torch.no_grad():
        return model(random_latents(3), 0.5, model.encode_conditions(cond or random_conditions(3)))


def test_a_merged_export_is_the_adapted_network(tmp_path: Path) -> None:
    model = adapted()
    base, adapter = split(model, tmp_path)
    write_plan(plan_merge(base, adapter, alpha=ALPHA), tmp_path / "merged.safetensors")
    with torch.device("meta"):
        merged = WanTransformer(tiny_config())
    load_network(merged, tmp_path / "merged.safetensors")  # strictly: the native names and no others
    assert (velocity(merged.eval()) - velocity(model)).abs().max() < 1e-5
    written = load_file(tmp_path / "merged.safetensors")
    layer = "blocks.1.ffn.2"
    lora = dict(adapter.values([f"{layer}.lora_A.weight", f"{layer}.lora_B.weight"]))
    delta = 2.0 * lora[f"{layer}.lora_B.weight"] @ lora[f"{layer}.lora_A.weight"]
    want = base.value(f"{layer}.weight") + delta
    assert torch.allclose(written[f"{layer}.weight"], want, rtol=0, atol=1e-6)


def test_bfloat16_is_rounded_once(tmp_path: Path) -> None:
    base, adapter = split(adapted(), tmp_path)
    write_plan(plan_merge(base, adapter, alpha=ALPHA, dtype=torch.bfloat16), tmp_path / "low.safetensors")
    write_plan(plan_merge(base, adapter, alpha=ALPHA), tmp_path / "full.safetensors")
    low, full = load_file(tmp_path / "low.safetensors"), load_file(tmp_path / "full.safetensors")
    assert all(torch.equal(low[name], full[name].bfloat16()) for name in full)


def test_round_trip_of_an_adapter_file(tmp_path: Path) -> None:
    """Saved, read with peft's other spellings, and loaded again: the same network."""
    model = adapted()
    _, adapter = split(model, tmp_path)
    peft_names = {f"{name}.lora_{side}.weight" for name, _ in lora_layers(model) for side in "AB"}
    assert {name for name in adapter.tensors if ".lora_" in name} == peft_names
    as_saved = {f"base_model.model.{name}": value for name, value in adapter.values()}
    with_name = re.compile("(lora_[AB])")
    in_training = {"_core." + with_name.sub(r"\1.default", name): value for name, value in adapter.values()}
    for index, written in enumerate((as_saved, in_training)):
        torch.save(written, tmp_path / f"{index}.pt")
        read = Checkpoint.open(tmp_path / f"{index}.pt").renamed(adapter_key)
        assert read.tensors.keys() == adapter.tensors.keys()
        other = WanTransformer(tiny_config())
        other.load_state_dict({k: v for k, v in model.state_dict().items() if ".lora_" not in k})
        load_adapter(other, dict(read.values()), alpha=ALPHA)
        assert torch.equal(velocity(other.eval()), velocity(model))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("no partner", r"blocks\.0\.ffn\.0\.lora_B\.weight is missing"),
        ("no place", r"other\.lora_A\.weight has no other\.weight"),
        ("shape", r"blocks\.0\.ffn\.0: lora_A \[3, 7\] and lora_B \[40, 3\] do not fit a weight \[40, 24\]"),
        ("rank", r"blocks\.0\.ffn\.0: lora_A"),
        ("whole", r"patch_embedding\.bias has shape \[5\]"),
        ("no adapter", "no adapter"),
        ("foreign", r"blocks\.0\.ffn\.0\.lora_magnitude_vector is not a LoRA tensor"),
        ("some layers", r"blocks\.1\.cross_attn\.k\.lora_A\.weight is missing: 30 of 40 .*--partial"),
        ("adapted model", r"holds blocks\.0\.ffn\.0\.weight beside the adapter"),
    ],
)
def test_what_cannot_be_merged_is_named(tmp_path: Path, damage: str, words: str) -> None:
    base, adapter = split(adapted(), tmp_path)
    tensors = dict(adapter.values())
    layer = "blocks.0.ffn.0"
    if damage == "no partner":
        del tensors[f"{layer}.lora_B.weight"]
    elif damage == "no place":
        tensors |= {"other.lora_A.weight": torch.ones(3, 2), "other.lora_B.weight": torch.ones(2, 3)}
    elif damage == "shape":
        tensors[f"{layer}.lora_A.weight"] = torch.ones(3, 7)
    elif damage == "rank":
        tensors[f"{layer}.lora_A.weight"] = torch.ones(2, 24)
    elif damage == "whole":
        tensors["patch_embedding.bias"] = torch.ones(5)
    elif damage == "foreign":
        tensors[f"{layer}.lora_magnitude_vector"] = torch.ones(40)
    elif damage == "some layers":
        tensors = {name: value for name, value in tensors.items() if not name.startswith(ONE_TO_THREE)}
    elif damage == "adapted model":
        tensors[f"{layer}.weight"] = torch.ones(40, 24)
    else:
        tensors = {"audio_proj.x": torch.ones(1)}
    torch.save(tensors, tmp_path / "adapter.pt")
    with pytest.raises(IncompatibleCheckpointError, match=words):
        plan_merge(base, Checkpoint.open(tmp_path / "adapter.pt"), alpha=ALPHA)


def test_an_adapter_of_some_layers_and_an_adapted_base(tmp_path: Path) -> None:
    model = adapted()
    base, adapter = split(model, tmp_path)
    torch.save({n: v for n, v in adapter.values() if not n.startswith(ONE_TO_THREE)}, tmp_path / "adapter.pt")
    plan = plan_merge(base, Checkpoint.open(tmp_path / "adapter.pt"), alpha=ALPHA, partial=True)
    for layer, changes in (("blocks.0.ffn.2", True), ("blocks.3.ffn.2", False)):
        changed = not torch.equal(plan[f"{layer}.weight"].read(), base.value(f"{layer}.weight"))
        assert changed is changes
    with pytest.raises(IncompatibleCheckpointError, match=r"adapter\.pt: .* so it is no base"):
        plan_merge(adapter, adapter, alpha=ALPHA)


def test_an_image_to_video_adapter_is_grown_to_the_lip_sync_layout(tmp_path: Path) -> None:
    """OmniAvatar's own adapters see noise, reference and mask only (method A.3): 2C + 1 channels."""
    model = adapted()
    with torch.no_grad():
        model.patch_embedding.weight[:, 9:] = 0
    base, adapter = split(model, tmp_path)
    tensors = dict(adapter.values())
    tensors["patch_embedding.weight"] = tensors["patch_embedding.weight"][:, :9].clone()
    torch.save(tensors, tmp_path / "i2v.pt")
    adapter = Checkpoint.open(tmp_path / "i2v.pt")
    with pytest.raises(BadInputError, match=r"9 input channels, .* 4, 13 or 17: add --in-channels 17"):
        plan_merge(base, adapter, alpha=ALPHA)
    assert plan_merge(base, adapter, alpha=ALPHA, in_channels=9)["patch_embedding.weight"].shape[1] == 9
    with pytest.raises(BadInputError, match="cannot shrink to 4"):
        plan_merge(base, adapter, alpha=ALPHA, in_channels=4)

    write_plan(plan_merge(base, adapter, alpha=ALPHA, in_channels=17), tmp_path / "grown.safetensors")
    with torch.device("meta"):
        grown = WanTransformer(tiny_config(in_channels=17))
    load_network(grown.eval(), tmp_path / "grown.safetensors")
    assert (velocity(grown) - velocity(model)).abs().max() < 1e-5
    cond = random_conditions(3)
    other = replace(
        cond,
        masked_video_BCTHW=2 * cond.masked_video_BCTHW,
        reference_sequence_BCTHW=cond.reference_sequence_BCTHW + 1,
    )
    assert torch.equal(velocity(grown, other), velocity(grown))
    assert not torch.equal(
        velocity(grown, replace(cond, keep_mask_HW=1 - cond.keep_mask_HW)), velocity(grown)
    )


def test_a_kernel_that_is_used_in_part_is_written_in_that_part(tmp_path: Path) -> None:
    network = TinyAutoencoder()
    stored = dict(network.state_dict())
    kernel = stored["decoder.7.conv.weight"]
    stored["decoder.7.conv.weight"] = torch.cat([torch.full_like(kernel, 7), kernel])
    torch.save(stored, tmp_path / "taew2_1.pth")
    wanted = Wanted(tensors=network.state_dict(), fit=trim_time_kernel)
    plan = plan_copy(wanted.check([tmp_path / "taew2_1.pth"]), wanted=wanted)
    write_plan(plan, tmp_path / "taew.safetensors")
    written = load_file(tmp_path / "taew.safetensors")  # and no `fit` is needed any more
    assert written.keys() == network.state_dict().keys()
    assert all(torch.equal(value, written[name]) for name, value in network.state_dict().items())


def test_a_converted_file_loads_as_what_it_was(tmp_path: Path) -> None:
    from lipforcing_core.base.torchvision_shim import ensure_torchvision

    ensure_torchvision()
    from transformers import Wav2Vec2Config, Wav2Vec2ForCTC

    config = Wav2Vec2Config(
        hidden_size=96,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        conv_dim=(32,) * 7,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=4,
    )
    torch.save(Wav2Vec2ForCTC(config).state_dict(), tmp_path / "official.bin")
    key_map = find_key_map("wav2vec2")
    write_plan(
        plan_copy(Checkpoint.open(tmp_path / "official.bin").renamed(key_map)), tmp_path / "own.safetensors"
    )
    first, second = Wav2Vec2Features(config), Wav2Vec2Features(config)
    load_network(first, tmp_path / "official.bin", key_map=key_map)
    load_network(second, tmp_path / "own.safetensors", key_map=key_map)
    assert all(torch.equal(value, second.state_dict()[name]) for name, value in first.state_dict().items())


def test_index_and_bundle_folders_are_sources(tmp_path: Path) -> None:
    from lipforcing_core.checkpoints.adapters import adapter_alpha
    from lipforcing_core.checkpoints.sources import find_source

    model = adapted()
    split(model, tmp_path)
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    (tmp_path / "base.safetensors").rename(bundle / "model.safetensors")
    base, adapter = find_source(str(bundle), tmp_path), find_source(str(tmp_path / "adapter.pt"), tmp_path)
    assert base.files == [bundle / "model.safetensors"]
    with pytest.raises(BadInputError, match="give --alpha"):
        adapter_alpha(adapter, base)
    (bundle / "preset.json").write_text(json.dumps({"lora": {"alpha": 5}}))
    assert adapter_alpha(adapter, base) == 5
    (tmp_path / "config.json").write_text(json.dumps({"lora_alpha": 64, "lora_rank": 128}))
    assert adapter_alpha(adapter, base) == 64
    with pytest.raises(BadInputError, match="neither a file or folder nor registered"):
        find_source("nowhere", tmp_path)
