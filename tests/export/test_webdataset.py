"""Shards are read back with the foreign library and with plain ``tarfile``, and are the same bytes every time."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from lipforcing_core.base.products import file_sha256
from lipforcing_core.curation.manifest import read_manifest
from lipforcing_core.export import protocol
from lipforcing_core.export.protocol import ExportSettings
from lipforcing_core.export.run import write_export
from lipforcing_core.export.webdataset import braces

from .conftest import CLIPS, NAME, clip_id_of

TRAIN = [0, 1, 2, 4]
"""Positions in CLIPS of what is in the split ``train``."""


@pytest.fixture
def folder(curated_once: Path, tmp_path: Path, settings: ExportSettings) -> Path:
    write_export(curated_once, tmp_path / "out", form="webdataset", settings=settings)
    return tmp_path / "out"


def test_the_library_reads_the_same_bytes(folder: Path, curated_once: Path, no_network: None) -> None:
    webdataset = pytest.importorskip("webdataset", reason="needs webdataset: pip install -e '.[dev]'")
    url = json.loads((folder / "index.json").read_text(encoding="utf-8"))["splits"]["train"]["urls"]
    clips: list[Any] = list(webdataset.WebDataset(str(folder / url), shardshuffle=False).decode())
    assert [clip["__key__"] for clip in clips] == [clip_id_of(index) for index in TRAIN]
    for clip in clips:
        stem = curated_once.parent / "clips" / clip["__key__"]
        assert clip["mp4"] == stem.with_suffix(".mp4").read_bytes()
        assert clip["wav"] == stem.with_suffix(".wav").read_bytes()
        assert clip["npz"]["matrices_F23"].shape == (50, 2, 3)
        assert clip["json"]["clip_id"] == clip["__key__"]
    assert [clip["json"]["source"] for clip in clips] == [CLIPS[index][0] for index in TRAIN]
    assert [clip["json"]["sync_confidence"] for clip in clips] == [4.0, 5.0, 6.0, 8.0]


def test_members_stand_together_and_tell_nothing_of_the_machine(folder: Path) -> None:
    with tarfile.open(folder / "val-000000.tar") as shard:
        members = shard.getmembers()
    assert [m.name for m in members] == [f"{clip_id_of(3)}{s}" for s in (".json", ".mp4", ".npz", ".wav")]
    for member in members:
        assert (member.mtime, member.uid, member.gid, member.uname, member.gname) == (0, 0, 0, "", "")
        assert member.mode == 0o644
        assert member.isreg()


def test_the_index_has_counts_and_hashes(folder: Path) -> None:
    index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
    assert index["name"] == NAME
    assert {split: told["num_clips"] for split, told in index["splits"].items()} == {"train": 4, "val": 1}
    for told in index["splits"].values():
        for shard in told["shards"]:
            path = folder / shard["name"]
            assert shard["sha256"] == file_sha256(path)
            assert shard["num_bytes"] == path.stat().st_size


def test_no_shard_is_larger_than_it_may_be(
    curated_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clip takes about 86 kB, so two fit into 200 kB and the four of ``train`` make two shards."""
    monkeypatch.setattr(protocol, "SMALLEST_SHARD_BYTES", 1)
    small = ExportSettings(name=NAME, max_shard_bytes=200_000)
    report = write_export(curated_once, tmp_path / "out", form="webdataset", settings=small)
    shards = {file.name: file for file in report.files if file.name.endswith(".tar")}
    assert list(shards) == ["train-000000.tar", "train-000001.tar", "val-000000.tar"]
    assert [file.num_clips for file in shards.values()] == [2, 2, 1]
    assert max(file.num_bytes for file in shards.values()) <= 200_000
    index = json.loads((tmp_path / "out" / "index.json").read_text(encoding="utf-8"))
    assert index["splits"]["train"]["urls"] == "train-{000000..000001}.tar"


def test_the_end_of_a_tar_file_counts(
    folder: Path, curated_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One byte less than the four clips take in one shard makes two shards of them."""
    monkeypatch.setattr(protocol, "SMALLEST_SHARD_BYTES", 1)
    whole = (folder / "train-000000.tar").stat().st_size
    small = ExportSettings(name=NAME, max_shard_bytes=whole - 1)
    report = write_export(curated_once, tmp_path / "small", form="webdataset", settings=small)
    sizes = [file.num_bytes for file in report.files if file.split == "train"]
    assert len(sizes) == 2
    assert max(sizes) < whole


def test_equal_clips_make_equal_bytes_wherever_they_lie(
    folder: Path, manifest: Path, tmp_path: Path, settings: ExportSettings
) -> None:
    for path in (manifest.parent / "clips").iterdir():
        path.touch()
        path.chmod(0o600)
    write_export(manifest, tmp_path / "again", form="webdataset", settings=settings)
    names = sorted(path.name for path in folder.iterdir())
    tables = ["README.md", "export.json", "fingerprints.parquet", "index.json"]
    assert names == [*tables, "train-000000.tar", "val-000000.tar"]
    for name in names:
        assert (folder / name).read_bytes() == (tmp_path / "again" / name).read_bytes(), name


def test_a_clip_without_an_alignment_has_none(
    manifest: Path, tmp_path: Path, settings: ExportSettings
) -> None:
    (manifest.parent / read_manifest(manifest)[3].alignment_path).unlink()
    write_export(manifest, tmp_path / "out", form="webdataset", settings=settings)
    with tarfile.open(tmp_path / "out" / "val-000000.tar") as shard:
        assert [Path(name).suffix for name in shard.getnames()] == [".json", ".mp4", ".wav"]


@pytest.mark.parametrize(("num_shards", "url"), [(1, "train-000000.tar"), (12, "train-{000000..000011}.tar")])
def test_the_address_of_several_shards(num_shards: int, url: str) -> None:
    assert braces("train", num_shards) == url
