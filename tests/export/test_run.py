"""An export is there whole or not at all, is resumed, reused, and never written over something else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lipforcing_core.base.errors import BadInputError, SurroundingsError
from lipforcing_core.base.products import file_sha256, read_json, write_json
from lipforcing_core.curation.manifest import read_manifest, write_manifest
from lipforcing_core.curation.prints import read_printed, write_fingerprints
from lipforcing_core.export import run
from lipforcing_core.export.curated import CuratedSet, name_of_set
from lipforcing_core.export.protocol import ExportSettings, by_split, in_shards
from lipforcing_core.export.run import write_export
from tests.curation.test_duplicates import footage

from .conftest import FORMS, NAME, clip_id_of


def left_beside(out_dir: Path) -> list[Path]:
    """Hidden files and folders beside an export."""
    return [path for path in out_dir.parent.iterdir() if path.name.startswith(".")]


def files_below(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def content_of(out: Path) -> dict[str, str] | str:
    """The hash of every file of a folder; the text of a file."""
    return (
        {name: file_sha256(out / name) for name in files_below(out)}
        if out.is_dir()
        else out.read_text("utf-8")
    )


@pytest.mark.parametrize("form", FORMS)
def test_the_record_lists_every_file(
    form: str, curated_once: Path, tmp_path: Path, settings: ExportSettings
) -> None:
    out = tmp_path / "some where" / "out"
    seen: list[tuple[int, int]] = []
    report = write_export(curated_once, out, form=form, settings=settings, advance=lambda *p: seen.append(p))
    assert not report.reused
    assert (report.form, report.folder, report.card.num_clips) == (form, out, 5)
    assert (seen[0], seen[-1]) == ((0, 5), (5, 5))
    record = read_json(out / "export.json")
    assert (record["form"], record["name"], record["num_clips"]) == (form, NAME, 5)
    assert {file["name"] for file in record["files"]} | {"export.json"} == set(files_below(out))
    for file in record["files"]:
        assert file["sha256"] == file_sha256(out / file["name"])
        assert file["num_bytes"] == (out / file["name"]).stat().st_size
    assert sum(file["num_clips"] for file in record["files"]) == 5
    assert left_beside(out) == []


@pytest.mark.parametrize("form", FORMS)
def test_an_export_is_known_by_its_fingerprints(form: str, manifest: Path, settings: ExportSettings) -> None:
    """Another data set can be held against the folder of any export, as against the run itself."""
    clips = read_manifest(manifest)
    write_fingerprints(
        manifest.with_name("fingerprints.parquet"),
        clips,
        {clip.clip_id: footage(k) for k, clip in enumerate(clips)},
    )
    out = manifest.parent.parent / "out"
    write_export(manifest, out, form=form, settings=settings)
    known = read_printed([out])
    assert [(k.clip_id, k.source, k.split) for k in known] == [(c.clip_id, c.source, c.split) for c in clips]
    assert (known[2].fingerprint.codes_N == footage(2).codes_N).all()
    manifest.with_name("fingerprints.parquet").unlink()
    with pytest.raises(BadInputError, match="holds another export"):
        write_export(manifest, out, form=form, settings=settings)
    write_export(manifest, out.with_name("older"), form=form, settings=settings)
    assert not (out.with_name("older") / "fingerprints.parquet").exists()


def test_the_name_of_a_data_set_lies_beside_its_manifest(manifest: Path) -> None:
    assert name_of_set(manifest) == "", "nobody named it"
    write_json(manifest.with_name("funnel.json"), {"name": "talks"})
    assert name_of_set(manifest) == name_of_set(manifest.parent) == "talks"
    manifest.with_name("funnel.json").unlink()
    assert name_of_set(manifest) == ""


@pytest.mark.parametrize("form", FORMS)
def test_an_equal_export_is_reused(
    form: str, curated_once: Path, tmp_path: Path, settings: ExportSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = write_export(curated_once, tmp_path / "out", form=form, settings=settings)
    monkeypatch.setattr(run, "_write", None)
    again = write_export(curated_once.parent, tmp_path / "out", form=form, settings=settings)
    assert again.reused
    assert again.files == first.files


def spoil_other_form(out: Path, manifest: Path, settings: ExportSettings) -> None:
    write_export(manifest, out, form="croissant", settings=settings)


def spoil_other_name(out: Path, manifest: Path, settings: ExportSettings) -> None:
    write_export(manifest, out, form="webdataset", settings=replace(settings, name="another"))


def spoil_other_manifest(out: Path, manifest: Path, settings: ExportSettings) -> None:
    write_export(manifest, out, form="webdataset", settings=settings)
    write_manifest(manifest, read_manifest(manifest)[1:])


def spoil_other_books(out: Path, manifest: Path, settings: ExportSettings) -> None:
    write_export(manifest, out, form="webdataset", settings=settings)
    (manifest.parent / "funnel.json").unlink()


def spoil_short_file(out: Path, manifest: Path, settings: ExportSettings) -> None:
    write_export(manifest, out, form="webdataset", settings=settings)
    os.truncate(out / "train-000000.tar", 1000)


def spoil_missing_file(out: Path, manifest: Path, settings: ExportSettings) -> None:
    write_export(manifest, out, form="webdataset", settings=settings)
    (out / "index.json").unlink()


def spoil_record(out: Path, manifest: Path, settings: ExportSettings) -> None:
    out.mkdir()
    (out / "export.json").write_text("[1]", encoding="utf-8")


def spoil_strange(out: Path, manifest: Path, settings: ExportSettings) -> None:
    out.mkdir()
    (out / "letter.txt").write_text("dear reader", encoding="utf-8")


def spoil_no_folder(out: Path, manifest: Path, settings: ExportSettings) -> None:
    out.write_text("a file", encoding="utf-8")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (spoil_other_form, r"holds another export \(croissant"),
        (spoil_other_name, "holds another export"),
        (spoil_other_manifest, "holds another export"),
        (spoil_other_books, "holds another export"),
        (spoil_short_file, "train-000000.tar: is missing or of another size"),
        (spoil_missing_file, "index.json: is missing or of another size"),
        (spoil_record, "export.json is damaged"),
        (spoil_strange, "holds something that is not an export"),
        (spoil_no_folder, "is not a folder"),
    ],
)
def test_anything_else_is_refused_and_left_alone(
    spoil: Callable[[Path, Path, ExportSettings], None],
    words: str,
    manifest: Path,
    tmp_path: Path,
    settings: ExportSettings,
) -> None:
    out = tmp_path / "out"
    spoil(out, manifest, settings)
    before = content_of(out)
    with pytest.raises(BadInputError, match=f"{words}.*; choose another folder with -o, or remove this one"):
        write_export(manifest, out, form="webdataset", settings=settings)
    assert content_of(out) == before
    assert left_beside(out) == []


def test_an_empty_folder_is_filled(curated_once: Path, tmp_path: Path, settings: ExportSettings) -> None:
    (tmp_path / "out").mkdir()
    write_export(curated_once, tmp_path / "out", form="webdataset", settings=settings)
    assert "index.json" in files_below(tmp_path / "out")


KILLED = """
import os, signal, sys
from pathlib import Path
from lipforcing_core.export.curated import CuratedSet
from lipforcing_core.export.protocol import ExportSettings
from lipforcing_core.export.run import write_export

read = CuratedSet.read
def killed(self, clip, suffix):
    if clip.split == "val" and suffix == ".wav":
        os.kill(os.getpid(), signal.SIGKILL)
    return read(self, clip, suffix)
CuratedSet.read = killed
write_export(sys.argv[1], sys.argv[2], form=sys.argv[3], settings=ExportSettings(name=sys.argv[4]))
"""


@pytest.mark.parametrize(
    ("form", "first"),
    [("webdataset", "train-000000.tar"), ("huggingface", "data/train-00000-of-00001.parquet")],
)
def test_a_killed_export_leaves_no_half_and_goes_on(
    form: str, first: str, curated_once: Path, tmp_path: Path, settings: ExportSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    whole, out = tmp_path / "whole", tmp_path / "killed" / "out"
    write_export(curated_once, whole, form=form, settings=settings)
    words = [sys.executable, "-c", KILLED, str(curated_once), str(out), form, NAME]
    assert subprocess.run(words, check=False).returncode == -signal.SIGKILL
    assert not out.exists()
    (partial,) = left_beside(out)
    assert partial.name.endswith(".partial")
    assert (partial / first).read_bytes() == (whole / first).read_bytes()
    assert not (partial / first.replace("train", "validation" if form == "huggingface" else "val")).exists()

    read: list[str] = []
    original = CuratedSet.read

    def reading(self: CuratedSet, clip: Any, suffix: str) -> bytes:
        read.append(clip.clip_id)
        return original(self, clip, suffix)

    monkeypatch.setattr(CuratedSet, "read", reading)
    write_export(curated_once, out, form=form, settings=settings)
    assert set(read) == {clip_id_of(3)}, "clips of finished shards are not read again"
    assert files_below(out) == files_below(whole)
    for name in files_below(whole):
        assert (out / name).read_bytes() == (whole / name).read_bytes()
    assert left_beside(out) == []


def test_two_at_once_make_one_export(curated_once: Path, tmp_path: Path, settings: ExportSettings) -> None:
    def work(_: int) -> bool:
        return write_export(curated_once, tmp_path / "out", form="webdataset", settings=settings).reused

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(work, range(4))) == [False, True, True, True]
    assert left_beside(tmp_path / "out") == []
    assert ".lock" not in files_below(tmp_path / "out")


def test_what_another_process_finished_meanwhile_is_taken(
    curated_once: Path, tmp_path: Path, settings: ExportSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_export(curated_once, tmp_path / "out", form="webdataset", settings=settings)
    answers: list[Any] = [None]
    original = run._finished
    monkeypatch.setattr(run, "_finished", lambda *a: answers.pop() if answers else original(*a))
    assert write_export(curated_once, tmp_path / "out", form="webdataset", settings=settings).reused
    assert left_beside(tmp_path / "out") == []


def test_another_alignment_makes_another_export(
    manifest: Path, tmp_path: Path, settings: ExportSettings
) -> None:
    """The manifest has no hash of it, so its size tells."""
    write_export(manifest, tmp_path / "out", form="webdataset", settings=settings)
    with open(manifest.parent / read_manifest(manifest)[0].alignment_path, "ab") as stream:
        stream.write(bytes(1000))
    with pytest.raises(BadInputError, match="holds another export"):
        write_export(manifest, tmp_path / "out", form="webdataset", settings=settings)


def test_a_disk_without_room_is_told_before_work(
    curated_once: Path, tmp_path: Path, settings: ExportSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type(run.shutil.disk_usage(tmp_path))
    monkeypatch.setattr(run.shutil, "disk_usage", lambda path: usage(10**9, 10**9, 100_000))
    with pytest.raises(SurroundingsError, match=r"needs 0\.0 GB and 0\.0 GB are free; make room"):
        write_export(curated_once, tmp_path / "out", form="webdataset", settings=settings)
    assert not (tmp_path / "out").exists()
    write_export(curated_once, tmp_path / "linked", form="croissant", settings=settings)


@pytest.mark.parametrize("form", ["webdataset", "huggingface"])
def test_a_clip_that_was_changed_is_refused(
    form: str, manifest: Path, tmp_path: Path, settings: ExportSettings
) -> None:
    clip = read_manifest(manifest)[0]
    path = manifest.parent / clip.clip_path
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    with pytest.raises(
        BadInputError, match=rf"{clip.clip_id}\.mp4: its sha256 is [0-9a-f]{{64}} and the manifest"
    ):
        write_export(manifest, tmp_path / "out", form=form, settings=settings)
    assert not (tmp_path / "out").exists()


def test_manifests_that_cannot_be_exported(manifest: Path, tmp_path: Path, settings: ExportSettings) -> None:
    def refused(words: str) -> None:
        with pytest.raises(BadInputError, match=words):
            write_export(manifest, tmp_path / "out", form="webdataset", settings=settings)

    clips = read_manifest(manifest)
    write_manifest(manifest, [])
    refused("holds no clip")
    write_manifest(manifest, [clips[0], clips[0]])
    refused(rf"column clip_id: {clips[0].clip_id} stands in 2 rows")
    write_manifest(manifest, [clips[0].model_copy(update={"clip_id": "a.b"})])
    refused(r"column clip_id: 'a\.b' cannot be part of a file name")
    write_manifest(manifest, [clips[0].model_copy(update={"split": "../train"})])
    refused("column split: '../train' cannot be part of a file name")
    write_manifest(manifest, clips)
    (manifest.parent / "funnel.json").write_text("{", encoding="utf-8")
    refused(r"funnel\.json: is not valid JSON")
    (manifest.parent / "funnel.json").write_text("[]", encoding="utf-8")
    refused(r"funnel\.json: should hold an object")
    (manifest.parent / "funnel.json").unlink()
    (manifest.parent / clips[1].audio_path).unlink()
    refused(rf"{clips[1].clip_id}\.wav of the files that it lists are not there")
    assert left_beside(tmp_path / "out") == []


def test_an_unknown_form_is_told(curated_once: Path, tmp_path: Path, settings: ExportSettings) -> None:
    with pytest.raises(BadInputError, match=r"unknown export form 'croisant' \(did you mean 'croissant'\?\)"):
        write_export(curated_once, tmp_path / "out", form="croisant", settings=settings)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"name": " "}, "a data set needs a name"),
        ({"name": "x", "max_shard_bytes": 1000}, "max_shard_bytes: 1000 is less than 1000000"),
        ({"name": "x", "url": "example.org"}, "'example.org' does not begin with http"),
        ({"name": "x", "published": "29.11.2026"}, "'29.11.2026' is no date YYYY-MM-DD"),
    ],
)
def test_settings_that_cannot_be(values: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInputError, match=words):
        ExportSettings(**values)


def test_the_split_for_training_comes_first() -> None:
    clips: Any = [SimpleNamespace(split=split) for split in ("val", "test", "train", "val")]
    assert {split: len(group) for split, group in by_split(clips).items()} == {
        "train": 1,
        "test": 1,
        "val": 2,
    }
    assert list(by_split(clips)) == ["train", "test", "val"]


@pytest.mark.parametrize(
    ("sizes", "shards"),
    [
        ([], []),
        ([5], [[0]]),
        ([50], [[0]]),
        ([4, 6, 1], [[0, 1], [2]]),
        ([4, 6, 0, 1], [[0, 1, 2], [3]]),
        ([50, 50, 1, 1], [[0], [1], [2, 3]]),
        ([1, 50, 1], [[0], [1], [2]]),
    ],
)
def test_neighbours_share_a_shard_of_ten(sizes: list[int], shards: list[list[int]]) -> None:
    assert [list(shard) for shard in in_shards(sizes, 10)] == shards
