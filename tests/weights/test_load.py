"""Networks are filled completely or not at all, from any of the formats, and frugally."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from lipforcing_core.base.errors import IncompatibleCheckpointError, LipForcingError, MissingWeightsError
from lipforcing_core.models.wan import WanTransformer
from lipforcing_core.weights.checkpoint import Checkpoint
from lipforcing_core.weights.load import load_network
from tests.models.tiny import tiny_config

State = dict[str, Tensor]


class Net(nn.Module):
    """Parameters and buffers, an integer among them."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 4)
        self.norm = nn.BatchNorm1d(4)
        self.last = nn.Linear(4, 2, bias=False)


def meta_net() -> Net:
    with torch.device("meta"):
        return Net()


def state(seed: int = 0) -> State:
    generator = torch.Generator().manual_seed(seed)
    values = {k: torch.randn(v.shape, generator=generator) for k, v in Net().state_dict().items()}
    return values | {"norm.num_batches_tracked": torch.tensor(7)}


def as_safetensors(folder: Path, values: State) -> Path:
    save_file(values, folder / "net.safetensors")
    return folder / "net.safetensors"


def as_index(folder: Path, values: State) -> Path:
    names = sorted(values)
    shards = {"net-00001-of-00002.safetensors": names[:3], "net-00002-of-00002.safetensors": names[3:]}
    for file, members in shards.items():
        save_file({name: values[name] for name in members}, folder / file)
    index = {"weight_map": {name: file for file, members in shards.items() for name in members}}
    path = folder / "net.safetensors.index.json"
    path.write_text(json.dumps(index))
    return path


def as_torch(folder: Path, values: State) -> Path:
    torch.save(values, folder / "net.pth")
    return folder / "net.pth"


def as_old_torch(folder: Path, values: State) -> Path:
    torch.save(values, folder / "net.model", _use_new_zipfile_serialization=False)
    return folder / "net.model"


WRITERS = [as_safetensors, as_index, as_torch, as_old_torch]
Writer = Callable[[Path, State], Path]


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("make", [meta_net, Net])
def test_every_format_fills_every_network(tmp_path: Path, write: Writer, make: Callable[[], Net]) -> None:
    network, values, seen = make(), state(), []
    load_network(network, write(tmp_path, values), on_progress=lambda *done: seen.append(done))
    for name, value in network.state_dict().items():
        assert torch.equal(value, values[name]), name
    assert all(isinstance(p, nn.Parameter) for p in network.parameters())
    total = sum(v.nbytes for v in values.values())
    assert seen[-1] == (total, total)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("damage", ["missing", "unexpected", "shape", "kind"])
@pytest.mark.parametrize("make", [meta_net, Net])
def test_what_does_not_fit_is_named_and_changes_nothing(
    tmp_path: Path, write: Writer, damage: str, make: Callable[[], Net]
) -> None:
    values = state()
    if damage == "missing":
        del values["last.weight"], values["norm.bias"]
        words = "last.weight is missing"
    elif damage == "unexpected":
        values |= {"extra.b": torch.ones(1), "extra.a": torch.ones(1)}
        words = "extra.a is unexpected"
    elif damage == "shape":
        values["first.weight"] = torch.ones(4, 7)
        words = r"first.weight has shape \(4, 7\), not \(4, 6\)"
    else:
        values["norm.running_var"] = torch.ones(4, dtype=torch.int64)
        words = "norm.running_var is of type torch.int64"
    network = make()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(IncompatibleCheckpointError, match=words) as caught:
        load_network(network, write(tmp_path, values))
    assert str(tmp_path) in str(caught.value)
    for name, value in network.state_dict().items():
        assert value.is_meta if make is meta_net else torch.equal(value, before[name])


@pytest.mark.parametrize("write", [as_safetensors, as_torch, as_old_torch])
@pytest.mark.parametrize("kept", [0, 3, 60, 0.5, -1])
def test_a_truncated_file_is_refused(tmp_path: Path, write: Writer, kept: float) -> None:
    path = write(tmp_path, state())
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept) if isinstance(kept, float) else kept])
    network = Net()
    before = network.first.weight.clone()
    with pytest.raises(IncompatibleCheckpointError, match=path.name):
        load_network(network, path)
    assert torch.equal(network.first.weight, before)


@pytest.mark.parametrize("write", [as_safetensors, as_torch])
def test_a_file_with_a_hole_is_refused(tmp_path: Path, write: Writer) -> None:
    path = write(tmp_path, state())
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2] + content[len(content) // 2 + 64 :])
    with pytest.raises(IncompatibleCheckpointError, match=path.name):
        load_network(Net(), path)


@pytest.mark.parametrize("name", ["a.safetensors", "a.pth", "a.safetensors.index.json"])
@pytest.mark.parametrize("content", [b"<!DOCTYPE html><html>not found</html>", b"\xff" * 64, b"[1, 2]"])
def test_a_foreign_file_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(IncompatibleCheckpointError, match=name):
        load_network(Net(), tmp_path / name)


class Hostile:
    """An object whose unpickling would write a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(self.path), "w")


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_file_is_not_run(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "net.pth"
    content = state() | {"first.weight": Hostile(tmp_path / "written")}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(IncompatibleCheckpointError, match="never run"):
        load_network(Net(), path)
    assert not (tmp_path / "written").exists()


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(MissingWeightsError, match=r"none\.pth does not exist"):
        load_network(Net(), tmp_path / "none.pth")
    index = as_index(tmp_path, state())
    (tmp_path / "net-00002-of-00002.safetensors").unlink()
    with pytest.raises(MissingWeightsError, match="net-00002-of-00002"):
        load_network(Net(), index)


def test_a_file_of_containers_tells_its_roots(tmp_path: Path) -> None:
    """Those that hold nothing but tensors, the fullest first, whichever wrong one was asked for."""
    path = tmp_path / "net.pt"
    content = {
        "step": 3,
        "critic": {"state_dict": {"a": torch.ones(1)}},
        "generator": {"state_dict": state(), "step": 3},
        "optimiser": {"state": {0: {"m": torch.ones(1)}, 1: {"m": torch.ones(1)}}, "groups": [1]},
        "a/b": {"x": torch.ones(1), "y": torch.ones(1), "z": torch.ones(1)},
    }
    torch.save(content, path)
    listed = f"generator/state_dict ({len(state())}), critic/state_dict (1), optimiser/state/0 (1) and 1 more"
    for root in (None, "params", "generator", "generator/net", "step"):
        with pytest.raises(IncompatibleCheckpointError) as caught:
            Checkpoint.open(path, root=root)
        assert f"tensors lie within {listed}: name one with --root" in str(caught.value)
        assert f"`lipforcing weights convert {path} --root generator/state_dict -o" in str(caught.value)
    assert Checkpoint.open(path, root="generator/state_dict").tensors.keys() == state().keys()


def test_a_file_without_containers_says_so(tmp_path: Path) -> None:
    torch.save(state(), tmp_path / "net.pt")
    with pytest.raises(IncompatibleCheckpointError, match="tensors lie at the top, below no root"):
        Checkpoint.open(tmp_path / "net.pt", root="params")
    torch.save({"step": 3, "words": {"a": "b"}}, tmp_path / "net.pt")
    with pytest.raises(IncompatibleCheckpointError) as caught:
        Checkpoint.open(tmp_path / "net.pt")
    assert str(caught.value).endswith("step is not a tensor (it holds step, words)")


def test_names_are_mapped_and_containers_named(tmp_path: Path) -> None:
    values = {f"model.{name}": value for name, value in state().items()} | {"lm_head": torch.ones(3)}
    torch.save({"epoch": 3, "model": {"net": values}}, tmp_path / "net.pth")

    def key_map(name: str) -> str | None:
        return None if name == "lm_head" else name.removeprefix("model.")

    network = meta_net()
    load_network(network, tmp_path / "net.pth", key_map=key_map, root="model/net")
    assert torch.equal(network.first.weight, state()["first.weight"])
    with pytest.raises(IncompatibleCheckpointError, match="epoch is not a tensor"):
        load_network(meta_net(), tmp_path / "net.pth", key_map=key_map)
    with pytest.raises(IncompatibleCheckpointError, match="no 'params'"):
        load_network(meta_net(), tmp_path / "net.pth", root="params")
    with pytest.raises(IncompatibleCheckpointError, match=r"are both first\.weight"):
        load_network(meta_net(), tmp_path / "net.pth", key_map=lambda _: "first.weight", root="model/net")
    del values["model.norm.bias"]
    values["model.norm.beta"] = torch.ones(4)
    torch.save(values, tmp_path / "net.pth")
    with pytest.raises(IncompatibleCheckpointError, match=r"norm\.beta \(model\.norm\.beta in the file\)"):
        load_network(
            meta_net(),
            tmp_path / "net.pth",
            key_map=lambda name: key_map(name) if name != "model.norm.weight" else "norm.bias",
        )


def test_shards_must_not_overlap(tmp_path: Path) -> None:
    first, second = as_safetensors(tmp_path, state()), as_torch(tmp_path, state())
    with pytest.raises(IncompatibleCheckpointError, match="as well"):
        load_network(Net(), [first, second])


def test_types(tmp_path: Path) -> None:
    stored = {k: v.bfloat16() if v.is_floating_point() else v for k, v in state().items()}
    path = as_safetensors(tmp_path, stored)
    kept, cast, real, replaced = meta_net(), meta_net(), Net(), Net()
    own = real.first.weight
    load_network(kept, path)
    load_network(cast, path, dtype=torch.float64)
    load_network(real, path)
    load_network(replaced, path, dtype=torch.bfloat16)
    assert (kept.first.weight.dtype, cast.norm.running_mean.dtype) == (torch.bfloat16, torch.float64)
    assert cast.norm.num_batches_tracked.dtype == torch.int64
    assert real.first.weight is own
    assert own.dtype == torch.float32
    assert torch.equal(own, stored["first.weight"].float())
    assert replaced.norm.running_mean.dtype == torch.bfloat16


def test_views_in_torch_files(tmp_path: Path) -> None:
    """``torch.save`` keeps strides and shared storage; what is read is contiguous and of its own memory."""
    whole = torch.arange(24.0).reshape(4, 6)
    torch.save({"t": whole.t(), "row": whole[2], "column": whole[:, 3], "none": whole[:0]}, tmp_path / "a.pt")
    read = dict(Checkpoint.open(tmp_path / "a.pt").values())
    assert torch.equal(read["t"], whole.t())
    assert read["t"].is_contiguous()
    assert torch.equal(read["row"], whole[2])
    assert torch.equal(read["column"], whole[:, 3])
    assert read["none"].shape == (0, 6)


def test_a_torch_that_hides_the_place_of_tensors_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where values lie in a torch file is a private note of torch's reader, which may go."""
    path, load = as_torch(tmp_path, state()), torch.load

    def without_notes(*args: object, **options: object) -> State:
        content: State = load(*args, **options)  # type: ignore[arg-type]
        for tensor in content.values():
            del tensor.untyped_storage()._checkpoint_offset
        return content

    monkeypatch.setattr(torch, "load", without_notes)
    with pytest.raises(LipForcingError, match=r"net\.pth: torch .* no longer tells where .*to safetensors"):
        load_network(Net(), path)
    load_network(Net(), as_safetensors(tmp_path, state()))


@pytest.mark.parametrize("make", [meta_net, Net])
def test_the_counter_that_old_files_lack_is_zero(tmp_path: Path, make: Callable[[], Net]) -> None:
    values = state()
    del values["norm.num_batches_tracked"]
    network = make()
    load_network(network, as_old_torch(tmp_path, values))
    assert torch.equal(network.norm.num_batches_tracked, torch.tensor(0))
    assert torch.equal(network.norm.running_mean, values["norm.running_mean"])


def test_tensors_may_be_fitted_before_their_shape_is_compared(tmp_path: Path) -> None:
    larger = torch.arange(48.0).reshape(8, 6)
    path = as_safetensors(tmp_path, state() | {"first.weight": larger})

    def last_rows(name: str, stored: Tensor, shape: Sequence[int]) -> Tensor:
        return stored[-shape[0] :] if name == "first.weight" else stored

    network = meta_net()
    load_network(network, path, fit=last_rows)
    assert torch.equal(network.first.weight, larger[4:])
    with pytest.raises(IncompatibleCheckpointError, match=r"first\.weight has shape"):
        load_network(meta_net(), path)


def built_on_meta() -> WanTransformer:
    with torch.device("meta"):
        return WanTransformer(tiny_config())


def moved_to_meta() -> WanTransformer:
    return WanTransformer(tiny_config()).to("meta")


@pytest.mark.parametrize("make", [built_on_meta, moved_to_meta])
def test_computed_tables_are_rebuilt(tmp_path: Path, make: Callable[[], WanTransformer]) -> None:
    real = WanTransformer(tiny_config()).init_weights(0)
    path = as_safetensors(tmp_path, real.state_dict())
    network = make()
    load_network(network, path, dtype=torch.bfloat16)
    tensors = [*network.named_parameters(), *network.named_buffers()]
    assert [name for name, value in tensors if value.is_meta] == []
    assert torch.equal(network.rope.time_cos, real.rope.time_cos)


@pytest.mark.gpu
def test_everything_goes_to_the_device(tmp_path: Path) -> None:
    path = as_safetensors(tmp_path, WanTransformer(tiny_config()).init_weights(0).state_dict())
    network = built_on_meta()
    load_network(network, path, device="cuda")
    tensors = [*network.named_parameters(), *network.named_buffers()]
    assert [name for name, value in tensors if not value.is_cuda] == []


def test_tables_that_nobody_can_rebuild_are_refused(tmp_path: Path) -> None:
    lost = meta_net()
    lost.register_buffer("table", torch.ones(2, device="meta"), persistent=False)
    with pytest.raises(RuntimeError, match=r"the module\.table is on the meta device"):
        load_network(lost, as_safetensors(tmp_path, state()))


MEASURE = """
import re, sys, torch
from torch import nn
from lipforcing_core.weights.load import load_network

def peak_mib():  # of this process alone, unlike ru_maxrss, which begins at the parent's
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) / 1024

with torch.device("meta"):
    network = nn.Sequential(*(nn.Linear(1024, 1024, bias=False) for _ in range(24)))
before = peak_mib()
load_network(network, sys.argv[1])
print(peak_mib() - before)
"""


@pytest.mark.parametrize("write", [as_safetensors, as_torch])
def test_memory_is_that_of_the_network_and_one_tensor(tmp_path: Path, write: Writer) -> None:
    """24 layers of 4 MiB: whoever reads the file whole and then copies needs 192 MiB, or maps as much."""
    path = write(tmp_path, {f"{i}.weight": torch.zeros(1024, 1024) for i in range(24)})
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(path)], capture_output=True, text=True, check=True
    )
    assert 90 < float(done.stdout) < 96 + 4 + 40
