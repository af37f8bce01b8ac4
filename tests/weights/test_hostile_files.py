"""Weight files that were repacked, damaged or made to harm end in one sentence, or load as what they hold."""

from __future__ import annotations

import fcntl
import json
import os
import pickle
import resource
import struct
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from lipforcing_core.base.errors import BadInputError, IncompatibleCheckpointError
from lipforcing_core.checkpoints import convert
from lipforcing_core.checkpoints.convert import plan_copy, plan_merge, write_plan
from lipforcing_core.models.lora import inject_lora, load_adapter
from lipforcing_core.weights import torch_file
from lipforcing_core.weights.checkpoint import Checkpoint
from lipforcing_core.weights.load import load_network

NEW_NOTES = (
    ".format_version",
    ".storage_alignment",
)  # with them torch computes places, without it looks them up


def repacked(
    origin: Path,
    target: Path,
    *,
    without: tuple[str, ...] = (),
    compressed: str | None = None,
    change: tuple[str, Callable[[bytes], bytes]] | None = None,
    backwards: bool = False,
) -> Path:
    """The same zip written by Python: other paddings, and whatever is asked for."""
    with zipfile.ZipFile(origin) as old, zipfile.ZipFile(target, "w") as new:
        entries = old.infolist()
        for entry in entries[:1] + entries[:0:-1] if backwards else entries:
            if entry.filename.endswith(without or "\0"):
                continue
            data = old.read(entry)
            if change is not None and entry.filename.endswith(change[0]):
                data = change[1](data)
            shrunk = compressed is not None and compressed in entry.filename
            method = zipfile.ZIP_DEFLATED if shrunk else zipfile.ZIP_STORED
            new.writestr(entry.filename, data, compress_type=method)
    return target


def values() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(3)
    return {
        "a": torch.randn(300, generator=generator),
        "b": torch.randn(40, 50, generator=generator).t(),
        "none": torch.zeros(0),
        "c": torch.randn(7, generator=generator).bfloat16(),
    }


def saved(folder: Path, content: Any = None) -> Path:
    torch.save(values() if content is None else content, folder / "net.pth")
    return folder / "net.pth"


@pytest.mark.parametrize("without", [(), NEW_NOTES])
@pytest.mark.parametrize("backwards", [False, True])
def test_a_repacked_file_holds_what_it_held(
    tmp_path: Path, without: tuple[str, ...], backwards: bool
) -> None:
    path = repacked(saved(tmp_path), tmp_path / "other.pth", without=without, backwards=backwards)
    read = dict(Checkpoint.open(path).values())
    assert read.keys() == values().keys()
    for name, value in values().items():
        assert torch.equal(read[name], value), name


def test_a_file_that_was_unpacked_and_packed_again(tmp_path: Path) -> None:
    """With entries for its folders, as archivers write them."""
    with zipfile.ZipFile(saved(tmp_path)) as old, zipfile.ZipFile(tmp_path / "other.pth", "w") as new:
        for folder in ("net/", "net/data/"):
            new.writestr(folder, b"")
        for entry in sorted(old.infolist(), key=lambda entry: entry.filename):
            new.writestr(entry.filename, old.read(entry))
    read = dict(Checkpoint.open(tmp_path / "other.pth").values())
    assert all(torch.equal(read[name], value) for name, value in values().items())


@pytest.mark.parametrize("without", [(), NEW_NOTES])
@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ({"compressed": "/data/"}, "was compressed after it was saved: load it with torch and save it again"),
        ({"compressed": "data.pkl"}, "was compressed"),
        ({"change": ("/data/1", lambda data: data[:100])}, r"100 bytes for \[50, 40\] torch\.float32"),
        ({"change": ("byteorder", lambda _: b"big")}, "not little-endian"),
        ({"change": ("/data.pkl", lambda _: b"")}, r"net\.pth|other\.pth"),
    ],
)
def test_what_cannot_be_read_is_refused_before_a_value_is(
    tmp_path: Path, without: tuple[str, ...], damage: dict[str, Any], words: str
) -> None:
    network = nn.ParameterDict({name: torch.zeros(value.shape) for name, value in values().items()})
    path = repacked(saved(tmp_path), tmp_path / "other.pth", without=without, **damage)
    with pytest.raises(IncompatibleCheckpointError, match=words):
        load_network(network, path)
    assert all(not value.any() for value in network.values())


def test_a_compressed_or_vast_description_is_not_inflated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("bomb/data.pkl", "w") as stream:
            for _ in range(64):
                stream.write(bytes(1 << 22))
        archive.writestr("bomb/version", "3")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(IncompatibleCheckpointError, match="was compressed"):
        Checkpoint.open(tmp_path / "bomb.pth")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10  # KiB, of 256 MiB
    monkeypatch.setattr(torch_file, "_LARGEST_PICKLE", 100)
    with pytest.raises(IncompatibleCheckpointError, match=r"data\.pkl is larger than any model's"):
        Checkpoint.open(saved(tmp_path))


def safetensors_file(folder: Path, entries: Any, data: bytes = b"") -> Path:
    text = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
    path = folder / "net.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def entry(shape: Any = (1,), place: Any = (0, 4), dtype: Any = "F32") -> dict[str, Any]:
    return {"shape": shape, "data_offsets": place, "dtype": dtype}


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        (b"[" * 200_000 + b"]" * 200_000, "nested too deeply"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "nested too deeply"),
        ({"a": entry((0, 10**30), (0, 0))}, "of whole numbers"),
        ({"a": entry((2**62, 2**62, 0), (0, 0))}, "larger than anything"),
        ({"a": entry((True, True))}, "of whole numbers"),
        ({"a": entry(place=(0.0, 4.0))}, "of whole numbers"),
        ({"a": entry(place=("0", "4"))}, "of whole numbers"),
        ({"a": entry(place=(0, 4, 4))}, "of whole numbers"),
        ({"a": entry(dtype=["F32"])}, "of whole numbers"),
        ({"a": entry(dtype="F4")}, "a is of type F4, which is not supported"),
        ({"a": 5}, "of whole numbers"),
        ([], "it lists no names"),
        (b'{"\xff": 1}', "it is no text"),
        (b'{"a": 1, "a": 2}', "a stands there twice"),
        ({"\x1b[31mx\n": entry()}, r"\\x1b\[31mx\\n cannot be the name of a tensor"),
        ({"\ud800": entry()}, r"\\ud800 cannot be the name"),
        ({"x" * 300_000: entry()}, r"x{80}\.\.\. \(300000 characters\) cannot be the name"),
        ({"x" * 300_000: entry((2,))}, r"4 bytes for \[2\] F32 of x{80}\.\.\. \(300000 characters\)"),
    ],
)
def test_a_bad_safetensors_header(tmp_path: Path, entries: Any, words: str) -> None:
    path = safetensors_file(tmp_path, entries, bytes(4))
    with pytest.raises(IncompatibleCheckpointError, match=words) as caught:
        Checkpoint.open(path)
    assert len(str(caught.value)) < 400 + len(str(path))
    assert not any(word in str(caught.value) for word in ("object", "NoneType", "argument"))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[]", "it has no weight_map"),
        ('{"weight_map": 5}', "it has no weight_map"),
        ('{"weight_map": {"a": null}}', "it has no weight_map"),
        ("nonsense", "nor JSON"),
        ("[" * 200_000, "nor JSON"),
    ],
)
def test_a_bad_index(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "net.safetensors.index.json").write_text(content)
    with pytest.raises(IncompatibleCheckpointError, match=words):
        Checkpoint.open(tmp_path / "net.safetensors.index.json")


def within_itself() -> dict[str, Any]:
    content: dict[str, Any] = {"a": torch.ones(1)}
    content["self"] = content
    return content


def nested(depth: int) -> dict[str, Any]:
    content: dict[str, Any] = {"a": torch.ones(1)}
    for _ in range(depth):
        content = {"k": content}
    return content


def laughs() -> dict[str, Any]:
    """2 ** 60 entries in a small file."""
    content: dict[str, Any] = {"a": torch.ones(1)}
    for _ in range(60):
        content = {"k": content, "l": content}
    return content


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (within_itself(), "hold themselves"),
        (nested(200), "hold themselves, are nested more than 64 deep"),
        (laughs(), "or hold more than 10000 entries"),
        ({0: torch.ones(1), "0": torch.zeros(1)}, "two keys are both called 0"),
        ({"in": {1: torch.ones(1), "1": torch.zeros(1)}}, "two keys are both called 1"),
        ({"a": torch.zeros(1).expand(100_000, 100_000)}, r"shape \[100000, 100000\] that repeats 4 bytes"),
        ({"a": torch.empty(3, device="meta")}, "holds tensors without values"),
        ({"a": torch.eye(3).to_sparse()}, "a sparse tensor, which is not supported"),
        ({"a": torch.ones(3, dtype=torch.complex64).conj()}, "yet to be conjugated"),
        ({"\x1b[31m": 5}, r"\\x1b\[31m is not a tensor \(it holds \\x1b\[31m\)"),
        ({"\x1b[31m": {"a": torch.ones(1)}}, r"tensors lie within \\x1b\[31m \(1\)"),
    ],
)
def test_a_torch_file_of_odd_things(
    tmp_path: Path, content: Any, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch_file, "_MOST_ENTRIES", 10_000)
    path = saved(tmp_path, content)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(IncompatibleCheckpointError, match=words):
            Checkpoint.open(path)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_quantised_tensors(tmp_path: Path) -> None:
    path = saved(tmp_path, {"a": torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8)})
    with pytest.raises(IncompatibleCheckpointError, match="holds a quantised tensor, which is not supported"):
        Checkpoint.open(path)


def test_files_of_before_zips_are_judged_alike(tmp_path: Path) -> None:
    for content, words in (
        ({"a": torch.empty(3, device="meta")}, "without values"),
        ({"a": torch.zeros(1).expand(100_000, 100_000)}, "that repeats 4 bytes"),
    ):
        torch.save(content, tmp_path / "net.pth", _use_new_zipfile_serialization=False)
        with pytest.raises(IncompatibleCheckpointError, match=words):
            Checkpoint.open(tmp_path / "net.pth")


def test_nobody_hears_torch_warn(tmp_path: Path) -> None:
    (tmp_path / "net.pth").write_bytes(pickle.dumps({"a": 1}, protocol=4))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(IncompatibleCheckpointError, match="no weight file"):
            Checkpoint.open(tmp_path / "net.pth")


def test_archives_of_other_programs(tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(nn.Linear(2, 2)), str(path))
    with pytest.raises(IncompatibleCheckpointError, match="a TorchScript archive, whose code is never run"):
        Checkpoint.open(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "hi")
    with pytest.raises(IncompatibleCheckpointError, match=r"a zip, but not one of torch\.save"):
        Checkpoint.open(path)


def test_two_files_in_one(tmp_path: Path) -> None:
    path = saved(tmp_path)
    path.write_bytes(path.read_bytes() * 2)
    with pytest.raises(IncompatibleCheckpointError, match="begins with no record of its zip"):
        Checkpoint.open(path)


def test_a_value_that_the_type_cannot_hold_is_named(tmp_path: Path) -> None:
    save_file({"a": torch.ones(2), "b": torch.tensor([1.0, 70_000.0])}, tmp_path / "net.safetensors")
    checkpoint = Checkpoint.open(tmp_path / "net.safetensors")
    output = tmp_path / "half.safetensors"
    with pytest.raises(IncompatibleCheckpointError, match=r"net\.safetensors: b holds 70000, too large"):
        write_plan(plan_copy(checkpoint, dtype=torch.float16), output)
    assert os.listdir(tmp_path) == ["net.safetensors"]
    write_plan(plan_copy(checkpoint, dtype=torch.bfloat16), output)
    odd = torch.tensor([float("inf"), float("nan"), 1.0])  # what is in the file already stays
    save_file({"a": odd}, tmp_path / "net.safetensors")
    write_plan(plan_copy(Checkpoint.open(tmp_path / "net.safetensors"), dtype=torch.float16), output)
    assert torch.equal(load_file(output)["a"].isfinite(), odd.isfinite())


def merging(folder: Path, *, rank: int = 1) -> tuple[Checkpoint, Checkpoint]:
    save_file({"q.weight": torch.full((2, 3), 60_000.0)}, folder / "base.safetensors")
    lora = {"q.lora_A.weight": torch.full((rank, 3), 100.0), "q.lora_B.weight": torch.full((2, rank), 100.0)}
    save_file(lora, folder / "adapter.safetensors")
    return Checkpoint.open(folder / "base.safetensors"), Checkpoint.open(folder / "adapter.safetensors")


def test_a_merge_that_the_type_cannot_hold_is_named(tmp_path: Path) -> None:
    plan = plan_merge(*merging(tmp_path), alpha=1.0, dtype=torch.float16, partial=True)
    with pytest.raises(IncompatibleCheckpointError, match=r"adapter\.safetensors: q\.weight holds 70000"):
        write_plan(plan, tmp_path / "merged.safetensors")
    plan = plan_merge(*merging(tmp_path), alpha=1.0, partial=True)
    write_plan(plan, tmp_path / "merged.safetensors")
    assert load_file(tmp_path / "merged.safetensors")["q.weight"].eq(70_000).all()


@pytest.mark.parametrize("alpha", [float("nan"), float("inf"), 0.0, -1.0, 1e300])
def test_alpha_is_a_positive_number(tmp_path: Path, alpha: float) -> None:
    model = nn.Sequential(nn.Linear(3, 2))
    adapter = {"0.lora_A.weight": torch.ones(1, 3), "0.lora_B.weight": torch.ones(2, 1)}
    with pytest.raises(BadInputError, match="must be a finite number above 0"):
        plan_merge(*merging(tmp_path), alpha=alpha)
    with pytest.raises(BadInputError, match="must be a finite number above 0"):
        load_adapter(model, adapter, alpha=alpha, targets=["0"])
    with pytest.raises(BadInputError, match="must be a finite number above 0"):
        inject_lora(model, rank=1, alpha=alpha, targets=["0"])
    assert type(model[0]) is nn.Linear


def test_the_state_of_an_adapted_model_brings_its_base() -> None:
    """As trainers keep it: not only the pair, but the weight that it adapts, too."""
    model = nn.Sequential(nn.Linear(3, 2))
    pair = {"0.lora_A.weight": torch.ones(1, 3), "0.lora_B.weight": torch.ones(2, 1)}
    load_adapter(model, pair | {"0.weight": torch.full((2, 3), 5.0)}, alpha=1.0, targets=["0"])
    assert torch.equal(model.state_dict()["0.weight"], torch.full((2, 3), 5.0))


def test_an_adapter_of_rank_zero(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(3, 2))
    none = {"0.lora_A.weight": torch.ones(0, 3), "0.lora_B.weight": torch.ones(2, 0)}
    with pytest.raises(IncompatibleCheckpointError, match=r"shape \[0, 3\], so it has no rank"):
        load_adapter(model, none, alpha=1.0, targets=["0"])
    assert type(model[0]) is nn.Linear
    with pytest.raises(IncompatibleCheckpointError, match=r"lora_A \[0, 3\] and lora_B \[2, 0\] do not fit"):
        plan_merge(*merging(tmp_path, rank=0), alpha=1.0, partial=True)


KILLED = """
import os, signal, sys, torch
from pathlib import Path
from lipforcing_core.checkpoints.convert import Planned, write_plan

def read():
    os.kill(os.getpid(), signal.SIGKILL)

write_plan({"a": Planned(dtype=torch.float32, shape=(1,), read=read)}, Path(sys.argv[1]))
"""


def test_what_a_killed_writer_left_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = tmp_path / "net.safetensors"
    subprocess.run([sys.executable, "-c", KILLED, str(output)], check=False)
    (left,) = tmp_path.iterdir()
    alive = left.with_name(left.name.replace(left.name[5:13], "0123abcd"))
    alive.write_bytes(b"half")
    other = tmp_path / ".other.0123abcd.tmp.safetensors"
    other.write_bytes(b"half")
    save_file({"a": torch.ones(1)}, tmp_path / "origin.safetensors")
    plan = plan_copy(Checkpoint.open(tmp_path / "origin.safetensors"))
    write_plan(plan, output)
    assert left.exists()  # it may be of a writer who has not locked it
    monkeypatch.setattr(convert, "_ABANDONED_AFTER_S", 0)
    with open(alive, "rb") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        write_plan(plan, output)
    assert {path for path in tmp_path.iterdir() if path.name.startswith(".")} == {alive, other}


def test_what_is_being_written_is_locked(tmp_path: Path) -> None:
    def read() -> Tensor:
        (temporary,) = tmp_path.glob(".net.*")
        with open(temporary, "rb") as stream, pytest.raises(BlockingIOError):
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return torch.ones(1)

    plan = {"a": convert.Planned(dtype=torch.float32, shape=(1,), read=read)}
    write_plan(plan, tmp_path / "net.safetensors")


def test_a_file_system_for_small_files(tmp_path: Path) -> None:
    code = (
        "import resource, sys, torch; from pathlib import Path; "
        "from lipforcing_core.checkpoints.convert import Planned, write_plan; "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)); "
        "write_plan({'a': Planned(dtype=torch.float32, shape=(1000,), read=lambda: torch.ones(1000))}, "
        "Path(sys.argv[1]))"
    )
    run = [sys.executable, "-c", code, str(tmp_path / "net.safetensors")]
    done = subprocess.run(run, capture_output=True, text=True, check=False)
    assert "BadInputError" in done.stderr
    assert "no file may be that large there" in done.stderr
    assert os.listdir(tmp_path) == []
