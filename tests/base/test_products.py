"""Content keys, atomic products and steps that are done once."""

from __future__ import annotations

import os
import re
import subprocess
import time
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import pytest

from lipforcing_core.base import products
from lipforcing_core.base.products import (
    StepStore,
    atomic_path,
    content_key,
    file_sha256,
    read_json,
    sha256_once,
    write_json,
)


@dataclass(frozen=True)
class Settings:
    rate: Fraction
    names: tuple[str, ...]


def test_key_depends_on_content_only() -> None:
    a = content_key(Settings(Fraction(25), ("x", "y")), {"b": 1, "a": 2})
    assert a == content_key(Settings(Fraction(50, 2), ("x", "y")), {"a": 2, "b": 1})
    assert a != content_key(Settings(Fraction(25), ("y", "x")), {"a": 2, "b": 1})
    assert a.isalnum()


def test_key_refuses_what_has_no_stable_content() -> None:
    with pytest.raises(TypeError, match="object"):
        content_key(object())


def test_a_failed_write_leaves_the_old_file_and_no_rubbish(tmp_path: Path) -> None:
    target = tmp_path / "a.json"
    write_json(target, {"v": 1})
    with pytest.raises(RuntimeError), atomic_path(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError("killed")
    assert read_json(target) == {"v": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    target = tmp_path / "bundle"
    for name in ("old", "new"):
        with atomic_path(target) as temporary:
            temporary.mkdir()
            (temporary / name).write_text(name)
    assert [p.name for p in target.iterdir()] == ["new"]


def test_temporary_name_keeps_the_suffix(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "clip.mp4") as temporary:
        assert temporary.suffix == ".mp4"
        temporary.write_bytes(b"")
    assert (tmp_path / "clip.mp4").exists()


def test_a_step_is_done_once(tmp_path: Path) -> None:
    store, calls = StepStore(tmp_path), []

    def work(folder: Path) -> dict[str, str]:
        calls.append(folder)
        (folder / "product.txt").write_text("made")
        return {"file": "product.txt"}

    first = store.run("render", "k1", work)
    second = store.run("render", "k1", work)
    assert (first.reused, second.reused, len(calls)) == (False, True, 1)
    assert (second.folder / second.result["file"]).read_text() == "made"


def test_a_killed_step_leaves_no_product_and_is_repeated(tmp_path: Path) -> None:
    store = StepStore(tmp_path)

    def dies(folder: Path) -> None:
        (folder / "product.txt").write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.run("render", "k1", dies)
    assert store.find("render", "k1") is None
    assert not store.run("render", "k1", lambda folder: "ok").reused


def test_a_forgotten_step_is_done_again(tmp_path: Path) -> None:
    store = StepStore(tmp_path)
    store.run("render", "k1", lambda folder: "old")
    store.forget("render", "k1")
    assert store.find("render", "k1") is None
    assert store.run("render", "k1", lambda folder: "new").result == "new"


def test_a_folder_is_kept_when_its_successor_was_not_made(tmp_path: Path) -> None:
    target = tmp_path / "bundle"
    target.mkdir()
    (target / "old").touch()
    with pytest.raises(FileNotFoundError), atomic_path(target):
        pass
    assert [p.name for p in target.iterdir()] == ["old"]


def test_a_resumable_step_gets_its_folder_back(tmp_path: Path) -> None:
    store = StepStore(tmp_path)

    def train(folder: Path) -> str:
        checkpoint = folder / "checkpoint.txt"
        if not checkpoint.exists():
            checkpoint.write_text("step 10")
            raise RuntimeError("killed")
        return checkpoint.read_text()

    with pytest.raises(RuntimeError):
        store.run("train", "k1", train, resumable=True)
    assert store.find("train", "k1") is None
    assert store.run("train", "k1", train, resumable=True).result == "step 10"
    assert store.run("train", "k1", train, resumable=True).reused


def test_file_hash_is_sha256(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"abc")
    assert file_sha256(tmp_path / "f").startswith("ba7816bf8f01cfea")


def test_the_progress_of_a_hash_ends_with_the_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "_BLOCK", 2)
    (tmp_path / "f").write_bytes(b"abc")
    seen: list[tuple[int, int]] = []
    assert file_sha256(tmp_path / "f", lambda *done: seen.append(done)).startswith("ba7816bf8f01cfea")
    assert seen == [(2, 3), (3, 3)]


def test_a_process_hashes_a_file_once_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, read = tmp_path / "a.pth", []
    file.write_bytes(b"weights" * 1000)
    monkeypatch.setattr(products, "file_sha256", lambda path, _: read.append(path) or file_sha256(path))
    first = sha256_once(file)
    assert first == sha256_once(file) == file_sha256(file)
    assert read == [file]
    assert list(tmp_path.iterdir()) == [file]
    kept = file.stat()
    file.write_bytes(b"WEIGHTS" * 1000)
    os.utime(file, ns=(kept.st_mtime_ns, kept.st_mtime_ns))
    assert sha256_once(file) == file_sha256(file) != first
    replaced = tmp_path / "b.pth"
    replaced.write_bytes(b"another" * 1000)
    replaced.replace(file)
    assert sha256_once(file) == file_sha256(file)
    assert len(read) == 3
    with pytest.raises(FileNotFoundError):
        sha256_once(tmp_path / "none.pth")


def test_what_killed_attempts_were_writing_is_no_product(tmp_path: Path) -> None:
    store = StepStore(tmp_path)

    def draw(folder: Path) -> None:
        (folder / "reels" / ".clip.1f.tmp").mkdir(parents=True, exist_ok=True)
        (folder / "reels" / ".clip.1f.tmp" / "half.mp4").touch()
        (folder / "reels" / ".a.2e.tmp.mp4").touch()
        (folder / "reels" / "a.mp4").touch()

    folder = store.run("puppets", "k1", draw, resumable=True).folder
    assert [path.name for path in (folder / "reels").iterdir()] == ["a.mp4"]


def test_sweep_removes_only_what_was_abandoned(tmp_path: Path) -> None:
    store = StepStore(tmp_path)
    store.run("render", "done", lambda folder: "ok")
    for name, age_s in (("old", 90_000), ("new", 10)):
        folder = tmp_path / "render" / f".{name}.0123.tmp"
        folder.mkdir()
        os.utime(folder, (time.time() - age_s,) * 2)
    assert store.sweep() == 1
    assert sorted(p.name for p in (tmp_path / "render").iterdir()) == [".new.0123.tmp", "done"]


def _ended_process() -> int:
    child = subprocess.Popen(["true"])
    child.wait()
    return child.pid


def test_what_an_ended_process_of_this_machine_left_goes_at_once(tmp_path: Path) -> None:
    store = StepStore(tmp_path)
    store.run("render", "done", lambda folder: "ok")
    ended = products.mark_of_process(_ended_process())
    mine = products.mark_of_process(os.getpid())
    other_machine = re.sub("[0-9a-f]{6}$", "0" * 6, ended)
    reused = re.sub(r"-\d+-", "-1-", mine)  # the number of an ended process that this one has now
    for name in (
        f".a.{ended.replace('-0-', '-77-')}.0123abcd.tmp",
        f".b.{mine}.0123abcd.tmp",
        f".c.{other_machine}.0123abcd.tmp",
        f".d.{reused}.0123abcd.old",
    ):
        (tmp_path / "render" / name).mkdir()
    assert store.sweep() == 2
    assert sorted(p.name[:3] for p in (tmp_path / "render").iterdir()) == [".b.", ".c.", "don"]


def test_a_temporary_name_tells_its_writer_and_fits(tmp_path: Path) -> None:
    final = tmp_path / ("ä" * 120 + "\n.mp4")
    with atomic_path(final) as temporary:
        assert products.mark_of_process(os.getpid()) in temporary.name
        assert products.temporary_name_of(final).fullmatch(temporary.name)
        assert not products.temporary_name_of(tmp_path / "b.mp4").fullmatch(temporary.name)
        assert not products.is_abandoned(temporary, unused_s=0)
        temporary.touch()
    assert final.exists()
    assert products.temporary_name_of(tmp_path / "a.mp4").fullmatch(
        ".a.0123abcd.tmp.mp4"
    )  # before there were marks
    assert not products.is_abandoned(tmp_path / "gone", unused_s=0)


def test_json_holds_names_that_are_not_utf8(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.mp4")
    write_json(tmp_path / "a.json", {"name": name, "plain": "é"})
    assert "é" in (tmp_path / "a.json").read_text(encoding="utf-8")
    assert read_json(tmp_path / "a.json") == {"name": name, "plain": "é"}
    keys = {
        content_key(name),
        content_key("caf\\udce9.mp4"),
        content_key("caf\\xe9.mp4"),
        content_key("café.mp4"),
    }
    assert len(keys) == 4


def test_of_two_that_finish_a_step_the_first_stays(tmp_path: Path) -> None:
    """Others may be reading its files already, which must not vanish for a moment."""
    store = StepStore(tmp_path)

    def slow(folder: Path) -> str:
        (folder / "product").write_text("slow")
        store.run("step", "key", quick)
        return "slow"

    def quick(folder: Path) -> str:
        (folder / "product").write_text("quick")
        return "quick"

    found = store.run("step", "key", slow)
    assert found.result == "quick"
    assert (found.folder / "product").read_text() == "quick"
    assert [path.name for path in (tmp_path / "step").iterdir()] == ["key"]


@pytest.mark.parametrize("leaves", [False, True])
def test_a_resumable_step_that_fails_leaves_only_what_it_can_go_on_from(leaves: bool, tmp_path: Path) -> None:
    store = StepStore(tmp_path)

    def fails(folder: Path) -> None:
        if leaves:
            (folder / "checkpoint").touch()
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="the disk is full"):
        store.run("step", "key", fails, resumable=True)
    left = [path.name for path in (tmp_path / "step").iterdir() if path.is_dir()]
    assert left == ([".key.partial"] if leaves else [])
