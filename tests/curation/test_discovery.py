"""What a corpus folder holds: sources, what is said about them, and a count of everything else."""

from __future__ import annotations

from pathlib import Path

import pytest

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.products import file_sha256
from lipforcing_core.curation import sources
from lipforcing_core.curation.sources import (
    Discovery,
    IgnoredFiles,
    SourceChangedError,
    SourceFile,
    SourceLostError,
    check_unchanged,
    find_sources,
    identify_source,
    ignored_line,
    relative_path,
)


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def kinds(found: Discovery) -> dict[str, int]:
    return {entry.kind: entry.num_files for entry in found.ignored}


def test_every_file_is_a_source_or_about_one_or_counted(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4", "sub/b.GIF", "c.mxf", "d.vob", "e.asf", "a.mp4.meta.json", "sources.csv")
    touch(tmp_path, "1.txt", "2.TXT", "sub/3.txt", "x.mp3", "x.m4a", "README", "._a.mp4", "sub/.DS_Store")
    touch(
        tmp_path,
        ".cache/a.mp4",
        ".cache/b.mp4",
        "sub/sources.csv",
        "sub/b.mp4.meta.json",
        "w.a\nb",
        "v.abcdefghijklm",
    )
    found = find_sources(tmp_path)
    assert [p.relative_to(tmp_path).as_posix() for p in found.sources] == [
        "a.mp4",
        "c.mxf",
        "d.vob",
        "e.asf",
        "sub/b.GIF",
    ]
    assert [p.name for p in found.side_files] == ["a.mp4.meta.json", "sources.csv"]
    assert [p.name for p in found.stray_sidecars] == ["b.mp4.meta.json"]
    assert kinds(found) == {
        ".txt": 3,
        "hidden": 2,
        "of other kinds": 2,
        ".csv": 1,
        ".m4a": 1,
        ".mp3": 1,
        "hidden folder": 1,
        "without a suffix": 1,
    }
    assert found.num_ignored == 12
    assert found.ignored[0] == IgnoredFiles(kind=".txt", num_files=3, example="1.txt")
    assert found.ignored[2].example == r"v.abcdefghijklm"


def test_the_line_for_people() -> None:
    ignored = (
        IgnoredFiles(kind=".txt", num_files=3, example="a.txt"),
        IgnoredFiles(kind="hidden", num_files=1, example="._x.mp4"),
    )
    assert ignored_line(ignored) == "ignored: 3 .txt, 1 hidden"
    assert ignored_line(()) == ""


def test_a_single_file_is_a_source_whatever_it_is_called(tmp_path: Path) -> None:
    touch(tmp_path, "a.bin", "b.mp4")
    found = find_sources(tmp_path / "a.bin")
    assert (found.sources, found.root, found.num_ignored) == ((tmp_path / "a.bin",), tmp_path, 0)


def test_the_first_by_name_is_the_example_and_frequent_kinds_come_first(tmp_path: Path) -> None:
    names = [f"{letter}{number}" for letter in "hgfedcba" for number in (2, 1)]
    touch(tmp_path, "a.mp4", *(f"{name}.txt" for name in names), *(f".{name}" for name in names[:3]))
    touch(tmp_path, *(f"sub/.{name}/x.mp4" for name in names), "b.csv", "a.csv", "c.wav", "b.wav")
    assert find_sources(tmp_path).ignored == (
        IgnoredFiles(kind=".txt", num_files=16, example="a1.txt"),
        IgnoredFiles(kind="hidden folder", num_files=16, example="sub/.a1"),
        IgnoredFiles(kind="hidden", num_files=3, example=".g2"),
        IgnoredFiles(kind=".csv", num_files=2, example="a.csv"),
        IgnoredFiles(kind=".wav", num_files=2, example="b.wav"),
    )


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("x.abcdefghijk", ".abcdefghijk"),
        ("x.abcdefghijkl", "of other kinds"),
        ("x.TXT", ".txt"),
        ("x.a-b", "of other kinds"),
        ("x.-b", "of other kinds"),
        ("x.\u00fc", "of other kinds"),
        ("x", "without a suffix"),
        ("x.", "without a suffix"),
        (".x.txt", "hidden"),
        ("._a.mp4.meta.json", "hidden"),
        ("sub/sources.csv", ".csv"),
    ],
)
def test_kinds_are_said_in_plain_letters(name: str, kind: str, tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4", name)
    found = find_sources(tmp_path)
    assert kinds(found) == {kind: 1}
    assert (found.num_ignored, found.stray_sidecars, found.side_files) == (1, (), ())


def test_a_source_is_read_once_and_lost_with_a_reason(tmp_path: Path) -> None:
    touch(tmp_path, "corpus/a.mp4")
    (tmp_path / "corpus" / "a.mp4").write_bytes(b"bytes")
    found = identify_source(str(tmp_path / "corpus" / "a.mp4"), str(tmp_path / "corpus"))
    assert (found.path, found.name) == (tmp_path / "corpus" / "a.mp4", "a.mp4")
    assert found.sha256 == file_sha256(found.path)
    assert found.source_id == found.sha256[:16]
    with pytest.raises(SourceLostError, match=r"^b\.mp4: it is no longer there$") as caught:
        identify_source(tmp_path / "corpus" / "b.mp4", tmp_path / "corpus")
    assert caught.value.problem == "it is no longer there"
    with pytest.raises(BadInputError, match=r"a\.mp4: lies outside the corpus folder"):
        relative_path(tmp_path / "a.mp4", tmp_path / "corpus")
    assert relative_path(tmp_path / "corpus" / "x" / "a.mp4", tmp_path / "corpus") == "x/a.mp4"


@pytest.mark.parametrize("reread", [False, True])
def test_an_unchanged_source_passes_and_a_changed_one_does_not(
    reread: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"bytes")
    source = SourceFile(path=path, name="a.mp4", sha256=file_sha256(path))
    read = []
    once = sources.sha256_once
    monkeypatch.setattr(sources, "file_sha256", lambda path: read.append("again") or file_sha256(path))
    monkeypatch.setattr(sources, "sha256_once", lambda path: read.append("once") or once(path))
    check_unchanged(source, reread=reread)
    assert read == ["again" if reread else "once"]
    path.write_bytes(b"other")
    with pytest.raises(SourceChangedError, match="it changed while it was being read"):
        check_unchanged(source, reread=reread)
    path.unlink()
    with pytest.raises(SourceLostError, match="it is no longer there"):
        check_unchanged(source, reread=reread)


def test_an_error_without_a_name_of_its_own_is_said_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise OSError("odd")

    monkeypatch.setattr(sources, "open", fails, raising=False)
    touch(tmp_path, "a.mp4")
    assert sources.why_inaccessible(tmp_path / "a.mp4") == "odd"
