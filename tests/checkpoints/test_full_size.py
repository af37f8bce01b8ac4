"""Every public list of names and shapes passes the real ``verify`` of its full-size file; one wrong key does not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from lipforcing_core.base.errors import IncompatibleCheckpointError, MissingWeightsError
from lipforcing_core.checkpoints.convert import plan_copy, plan_merge
from lipforcing_core.checkpoints.networks import meta_tensors
from lipforcing_core.checkpoints.sources import find_source
from lipforcing_core.checkpoints.verify import verify_weights
from lipforcing_core.weights.checkpoint import Checkpoint
from lipforcing_core.weights.registry import all_weights, find_weight
from tests.checkpoints.full_size import Shapes, key_list, write_shards, write_sparse

LISTS = {
    "wan2.1-t2v-1.3b": "wan2.1_t2v_1.3B",
    "wan2.1-t2v-14b": "wan2.1_t2v_14B",
    "omniavatar-1.3b": "omniavatar_v2v_1.3B_adapter_rank128",
    "omniavatar-14b": "omniavatar_v2v_14B_adapter_rank128",
    "omniavatar-ls-14b": "omniavatar_v2v_14B_adapter_rank128",
    "lipforcing-14b": "omniavatar_v2v_14B_full",
    "wan2.1-vae": "wan2.1_vae",
    "taew2.1": "taew2_1",
    "syncnet-v2": "syncnet_v2",
    "umt5-xxl": "umt5_xxl_encoder",
    "i3d-400": "i3d_400",
    "wav2vec2-base-960h": "wav2vec2_base_960h",
}
"""Registered weights and the key list that describes their public file."""

UNLISTED = ("hyperiqa", "inception-v3-fid", "lpips-alex", "lpips-vgg")
"""Registered weights that no key list describes."""


def public_shapes(parity_dir: Path, name: str) -> dict[str, list[int]]:
    """The list, with what its notes say of the public file; the network's own names where there is no list."""
    if name in UNLISTED:
        network = find_weight(name).network
        assert network is not None
        return {key: list(value.shape) for key, value in meta_tensors(network).items()}
    shapes = key_list(parity_dir, LISTS[name])
    if name in ("omniavatar-1.3b", "omniavatar-14b"):  # the image-to-video release has 33 input channels
        shapes["patch_embedding.weight"][1] = 33
    if name == "wav2vec2-base-960h":
        shapes |= {"lm_head.weight": [32, 768], "lm_head.bias": [32]}
    return shapes


def install(name: str, shapes: Shapes, weights_dir: Path) -> None:
    spec = find_weight(name)
    write_shards(spec.tensor_files(weights_dir), shapes, root=spec.root)
    for path in spec.paths(weights_dir):
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("{}")


@pytest.mark.parametrize("name", LISTS)
def test_the_public_names_fit(parity_dir: Path, tmp_path: Path, name: str) -> None:
    shapes = public_shapes(parity_dir, name)
    install(name, shapes, tmp_path)
    said = verify_weights(find_weight(name), tmp_path, hashes=False)
    assert said == f"{len(shapes)} tensors fit {find_weight(name).network}"
    assert sum(path.stat().st_blocks for path in tmp_path.rglob("*")) * 512 < 50e6  # nothing but headers


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("damage", ["missing", "renamed", "shape"])
def test_the_first_wrong_key_is_named(parity_dir: Path, tmp_path: Path, name: str, damage: str) -> None:
    shapes = public_shapes(parity_dir, name)
    wrong = sorted(k for k in shapes if k.endswith((".bias", "norm1.weight")))[3]
    shape = shapes.pop(wrong)
    if damage == "renamed":
        shapes[f"{wrong}_"] = shape
    elif damage == "shape":
        shapes[wrong] = [*shape, 2]
    install(name, shapes, tmp_path)
    with pytest.raises(IncompatibleCheckpointError) as caught:
        verify_weights(find_weight(name), tmp_path, hashes=False)
    message = str(caught.value)
    assert wrong.removeprefix("wav2vec2.") in message
    assert ("has shape" if damage == "shape" else "is missing") in message
    assert str(tmp_path) in message


@pytest.mark.parametrize("name", ["wan2.1-t2v-1.3b", "lipforcing-14b"])
def test_a_truncated_full_size_file(parity_dir: Path, tmp_path: Path, name: str) -> None:
    install(name, public_shapes(parity_dir, name), tmp_path)
    path = find_weight(name).path(tmp_path)
    os.truncate(path, path.stat().st_size - 4096)
    with pytest.raises(IncompatibleCheckpointError, match=f"{path.name}.*truncated"):
        verify_weights(find_weight(name), tmp_path, hashes=False)


def test_a_missing_shard_says_how_to_get_it(parity_dir: Path, tmp_path: Path) -> None:
    install("wan2.1-t2v-14b", public_shapes(parity_dir, "wan2.1-t2v-14b"), tmp_path)
    find_weight("wan2.1-t2v-14b").tensor_files(tmp_path)[3].unlink()
    with pytest.raises(
        MissingWeightsError, match=r"00004-of-00006.*lipforcing weights fetch wan2\.1-t2v-14b"
    ):
        verify_weights(find_weight("wan2.1-t2v-14b"), tmp_path, hashes=False)


@pytest.mark.parametrize(("name", "prefix"), [("wan2.1-vae", "model."), ("lipforcing-14b", "_core.")])
def test_prefixed_copies_fit(parity_dir: Path, tmp_path: Path, name: str, prefix: str) -> None:
    shapes = public_shapes(parity_dir, name)
    install(name, {f"{prefix}{key}": shape for key, shape in shapes.items()}, tmp_path)
    assert "tensors fit" in verify_weights(find_weight(name), tmp_path, hashes=False)


def test_larger_time_kernels_of_the_tiny_decoder_fit(parity_dir: Path, tmp_path: Path) -> None:
    shapes = public_shapes(parity_dir, "taew2.1")
    shapes["decoder.7.conv.weight"][0] *= 2
    install("taew2.1", shapes, tmp_path)
    assert "tensors fit" in verify_weights(find_weight("taew2.1"), tmp_path, hashes=False)
    shapes["decoder.1.weight"][0] *= 2
    install("taew2.1", shapes, tmp_path)
    with pytest.raises(IncompatibleCheckpointError, match=r"decoder\.1\.weight has shape"):
        verify_weights(find_weight("taew2.1"), tmp_path, hashes=False)


@pytest.mark.parametrize("size", ["1.3B", "14B"])
def test_a_merged_export_has_the_names_of_the_released_student(
    parity_dir: Path, tmp_path: Path, size: str
) -> None:
    base, adapter, merged = (
        key_list(parity_dir, name.format(size))
        for name in ("wan2.1_t2v_{}", "omniavatar_v2v_{}_adapter_rank128", "omniavatar_v2v_{}_full")
    )
    shards = [tmp_path / f"{index}.safetensors" for index in range(3)]
    write_shards(shards, base)
    write_sparse(tmp_path / "adapter.pt", adapter)
    plan = plan_merge(Checkpoint.open(shards), Checkpoint.open(tmp_path / "adapter.pt"), alpha=64)
    assert {name: list(tensor.shape) for name, tensor in plan.items()} == merged
    assert {tensor.dtype for tensor in plan.values()} == {torch.bfloat16}


def test_every_registered_network_is_covered_and_on_meta() -> None:
    networks = {spec.name: spec.network for spec in all_weights() if spec.network}
    assert networks.keys() == {*LISTS, *UNLISTED}
    for name in UNLISTED:
        tensors = meta_tensors(str(networks[name]))
        assert len(tensors) > 10
        assert all(tensor.is_meta for tensor in tensors.values())


@pytest.mark.parametrize("name", [*LISTS, *UNLISTED])
def test_a_converted_file_passes_as_what_it_was(parity_dir: Path, tmp_path: Path, name: str) -> None:
    """Sizes and names only: the header of what `weights convert NAME` writes, as `--kind NAME` sees it."""
    shapes = public_shapes(parity_dir, name)
    if name == "taew2.1":
        shapes["decoder.7.conv.weight"][0] *= 2
    install(name, shapes, tmp_path)
    source = find_source(name, tmp_path)
    plan = plan_copy(source.open(), wanted=source.wanted)
    write_sparse(tmp_path / "converted.safetensors", {key: tensor.shape for key, tensor in plan.items()})
    again = find_source(str(tmp_path / "converted.safetensors"), tmp_path, kind=name)
    own = meta_tensors(str(find_weight(name).network))
    converted = {key: tensor.shape for key, tensor in again.open().tensors.items()}
    assert converted == {key: tuple(own[key].shape) for key in plan}
    assert own.keys() - plan.keys() == {
        key for key in own if key.endswith("num_batches_tracked") and key not in shapes
    }
