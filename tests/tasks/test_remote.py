"""Folders in an object store, played by fsspec's file system in memory: mirrored, brought up to date, published."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from lipforcing_core.base.errors import BadInputError, LipForcingError
from lipforcing_core.corpora.catalogue import read_corpus
from tasks import digests
from tasks.remote import here, mirrored, publish
from tasks.request_path import is_uri
from tasks.workspace import Workspace

URI = "memory://bucket/talks"


@pytest.fixture
def bucket() -> Iterator[Any]:
    system = fsspec.filesystem("memory")
    system.store.clear()
    yield system
    system.store.clear()


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch, bucket: Any) -> list[str]:
    """The names of all files that are fetched."""
    names: list[str] = []
    plain = bucket.get_file

    def get_file(path: str, to: str, **options: Any) -> None:
        names.append(path.rpartition("/")[2])
        plain(path, to, **options)

    monkeypatch.setattr(bucket, "get_file", get_file)
    return names


def put(bucket: Any, **files: str) -> None:
    for name, text in files.items():
        bucket.pipe(f"/bucket/talks/{name.replace('__', '/')}.mp4", text.encode())


def below(folder: Path) -> dict[str, str]:
    return {p.relative_to(folder).as_posix(): p.read_text() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize(
    ("text", "uri"),
    [("s3://bucket/a", True), ("file:///data", True), ("gs://b", True), ("/data/s3", False), ("c:x", False)],
)
def test_a_uri_is_told_from_a_path(text: str, uri: bool) -> None:
    assert is_uri(text) is uri


def test_a_mirror_is_the_folder_and_is_brought_up_to_date(
    bucket: Any, fetched: list[str], tmp_path: Path
) -> None:
    workspace = Workspace(tmp_path)
    put(bucket, a="one", sub__b="two")
    folder = mirrored(URI, workspace)
    assert folder.name == "talks"
    assert folder.is_relative_to(workspace.state / "remote")
    assert below(folder) == {"a.mp4": "one", "sub/b.mp4": "two"}
    fetched.clear()
    assert mirrored(URI, workspace) == folder
    assert fetched == []
    put(bucket, a="changed", c="three")
    bucket.rm("/bucket/talks/sub/b.mp4")
    mirrored(URI, workspace)
    assert below(folder) == {"a.mp4": "changed", "c.mp4": "three"}
    assert sorted(fetched) == ["a.mp4", "c.mp4"]


def test_what_was_lost_here_is_fetched_again(bucket: Any, fetched: list[str], tmp_path: Path) -> None:
    put(bucket, a="one", b="two")
    folder = mirrored(URI, Workspace(tmp_path))
    (folder / "a.mp4").unlink()
    fetched.clear()
    mirrored(URI, Workspace(tmp_path))
    assert (fetched, below(folder)["a.mp4"]) == (["a.mp4"], "one")


def test_one_file_is_a_corpus_too(bucket: Any, tmp_path: Path) -> None:
    put(bucket, a="one", b="two")
    file = mirrored(f"{URI}/a.mp4", Workspace(tmp_path))
    assert (file.name, file.read_text()) == ("a.mp4", "one")


def test_one_file_comes_with_its_side_information(bucket: Any, tmp_path: Path) -> None:
    """Without it the rights of the video would be lost on the way."""
    put(bucket, a="one", b="two")
    for name in ("a.mp4.meta.json", "b.mp4.meta.json", "sources.csv", "sub/sources.csv"):
        bucket.pipe(f"/bucket/talks/{name}", name.encode())
    file = mirrored(f"{URI}/a.mp4", Workspace(tmp_path))
    assert set(below(file.parent)) == {"a.mp4", "a.mp4.meta.json", "sources.csv"}
    bucket.rm("/bucket/talks/a.mp4.meta.json")
    mirrored(f"{URI}/a.mp4", Workspace(tmp_path))
    assert set(below(file.parent)) == {"a.mp4", "sources.csv"}


def test_a_manifest_comes_with_the_files_that_it_names(
    bucket: Any, fetched: list[str], tmp_path: Path
) -> None:
    put(bucket, a="one", sub__b="two", other="not named")
    bucket.pipe("/bucket/talks/sound/b.m4a", b"sound")
    rows = [
        {"path": "a.mp4"},
        {"path": "./sub/b.mp4", "audio": "sound/b.m4a"},
        {"path": "gone.mp4"},
        {"path": 3},
    ]
    bucket.pipe("/bucket/talks/m.jsonl", "\n".join(map(json.dumps, rows)).encode())
    workspace = Workspace(tmp_path)
    file = here(f"{URI}/m.jsonl", workspace)
    assert set(below(file.parent)) == {"a.mp4", "m.jsonl", "sound/b.m4a", "sub/b.mp4"}
    listing = read_corpus("manifest", file)
    assert [source.path.name for source in listing.sources] == ["a.mp4", "b.mp4"]
    fetched.clear()
    here(f"{URI}/m.jsonl", workspace)
    assert fetched == []


def test_a_fetch_that_fails_leaves_what_was_complete(
    bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(bucket, a="one", b="two")
    plain = bucket.get_file

    def get_file(path: str, to: str, **options: Any) -> None:
        if path.endswith("b.mp4"):
            Path(to).write_text("tw")
            raise OSError("connection reset")
        plain(path, to, **options)

    monkeypatch.setattr(bucket, "get_file", get_file)
    with pytest.raises(LipForcingError, match=r"cannot be fetched: b\.mp4 \(connection reset\)"):
        mirrored(URI, Workspace(tmp_path))
    monkeypatch.undo()
    (left,) = tmp_path.rglob("*.mp4")
    when = left.stat().st_mtime_ns
    assert below(mirrored(URI, Workspace(tmp_path))) == {"a.mp4": "one", "b.mp4": "two"}
    assert (left.name, left.stat().st_mtime_ns) == ("a.mp4", when)


def test_a_log_that_a_kill_cut_off_costs_one_file(bucket: Any, fetched: list[str], tmp_path: Path) -> None:
    put(bucket, a="one", b="two", c="three")
    mirrored(URI, Workspace(tmp_path))
    (log,) = tmp_path.rglob("fetched.jsonl")
    log.write_text(log.read_text()[:-5])
    fetched.clear()
    for _ in range(2):
        mirrored(URI, Workspace(tmp_path))
    assert len(fetched) == 1


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("memory://bucket/none", "there is nothing there"),
        ("nothing-of-the-kind://x", "nothing-of-the-kind"),
        ("http://127.0.0.1:1/talks", r"http://127\.0\.0\.1:1/talks: this kind of address has no folders"),
    ],
)
def test_what_is_not_there_is_said(uri: str, words: str, bucket: Any, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=words):
        mirrored(uri, Workspace(tmp_path))


@pytest.mark.parametrize(("call", "words"), [("isfile", "cannot be read"), ("find", "cannot be listed")])
def test_an_exception_of_a_file_system_of_its_own_is_one_sentence(
    call: str, words: str, bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise RuntimeError("no credentials")

    monkeypatch.setattr(bucket, call, fails)
    with pytest.raises(BadInputError, match=rf"{words} \(no credentials\)"):
        mirrored(URI, Workspace(tmp_path))


def test_a_name_that_leads_out_of_the_folder_is_refused(
    bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bucket, "find", lambda root, detail: {f"{root}/../../evil.mp4": {"size": 1}})
    with pytest.raises(BadInputError, match="leads out of its folder"):
        mirrored(URI, Workspace(tmp_path))


def test_a_data_set_is_published_with_its_manifest_last(
    bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied: list[str] = []
    plain = bucket.put_file

    def put_file(path: str, to: str, **options: Any) -> None:
        copied.append(to.removeprefix("/bucket/set/"))
        plain(path, to, **options)

    monkeypatch.setattr(bucket, "put_file", put_file)
    folder = tmp_path / "run"
    (folder / "clips").mkdir(parents=True)
    for name in ("manifest.parquet", "clips/a.mp4", "clips/b.mp4", "run.log", ".lock"):
        (folder / name).write_text(name)
    assert publish(folder, "memory://bucket/set", Workspace(tmp_path / "ws")) == 3
    assert copied[-1] == "manifest.parquet"
    assert sorted(copied) == ["clips/a.mp4", "clips/b.mp4", "manifest.parquet"]
    assert bucket.cat("/bucket/set/clips/a.mp4") == b"clips/a.mp4"
    copied.clear()
    (folder / "clips" / "b.mp4").write_text("other bytes")
    bucket.rm("/bucket/set/clips/a.mp4")
    assert publish(folder, "memory://bucket/set", Workspace(tmp_path / "ws")) == 2
    assert sorted(copied) == ["clips/a.mp4", "clips/b.mp4"]
    assert publish(folder, "memory://bucket/set", Workspace(tmp_path / "ws")) == 0


def test_what_was_published_and_is_withdrawn_is_removed(bucket: Any, tmp_path: Path) -> None:
    """And nothing else that lies there: it may be somebody's."""
    folder, workspace = tmp_path / "run", Workspace(tmp_path / "ws")
    (folder / "clips").mkdir(parents=True)
    for name in ("manifest.parquet", "clips/a.mp4", "clips/b.mp4"):
        (folder / name).write_text(name)
    publish(folder, "memory://bucket/set", workspace)
    bucket.pipe("/bucket/set/clips/own.mp4", b"of somebody")
    (folder / "clips" / "a.mp4").unlink()
    (folder / "manifest.parquet").write_text("without a")
    assert publish(folder, "memory://bucket/set", workspace) == 1
    left = {path.removeprefix("/bucket/set/") for path in bucket.find("/bucket/set")}
    assert left == {"manifest.parquet", "clips/b.mp4", "clips/own.mp4", ".lipforcing.json"}


def test_a_folder_of_this_machine_may_be_named_by_a_uri(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "manifest.parquet").write_text("m")
    assert publish(tmp_path / "set", f"file://{tmp_path}/out", Workspace(tmp_path / "ws")) == 1
    assert below(mirrored(f"file://{tmp_path}/set", Workspace(tmp_path / "ws"))) == {"manifest.parquet": "m"}
    assert here(tmp_path / "set", Workspace(tmp_path / "ws")) == tmp_path / "set"
    assert below(here(f"file://{tmp_path}/set", Workspace(tmp_path / "ws"))) == {"manifest.parquet": "m"}


def test_what_was_published_is_not_read_again(
    bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, workspace = tmp_path / "run", Workspace(tmp_path / "ws")
    folder.mkdir()
    (folder / "manifest.parquet").write_text("m")
    now = digests.time.time
    monkeypatch.setattr(digests.time, "time", lambda: now() + 60)  # the file is settled
    assert publish(folder, "memory://bucket/set", workspace) == 1
    monkeypatch.setattr(digests, "source_sha256", None)
    assert publish(folder, "memory://bucket/set", workspace) == 0
