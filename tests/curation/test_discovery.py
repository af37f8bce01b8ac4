"""What a corpus folder holds: sources, what is said about them, and a count of everything else."""

from __future__ import annotations

from pathlib import Path

from lipforcing_core.curation.sources import Discovery, IgnoredFiles, find_sources, ignored_line


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
