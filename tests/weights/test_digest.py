"""Hashes of large files: computed once, computed again when the file changes, never required to be remembered."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lipforcing_core.base import products
from lipforcing_core.base.products import file_sha256
from lipforcing_core.weights import digest
from lipforcing_core.weights.digest import remembered_sha256


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "a.pth").write_bytes(b"weights" * 1000)
    return tmp_path / "a.pth"


def test_a_file_is_read_once(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, int]] = []
    monkeypatch.setattr(products, "_BLOCK", 3000)
    assert remembered_sha256(file, lambda *done: seen.append(done)) == file_sha256(file)
    assert seen == [(3000, 7000), (6000, 7000), (7000, 7000)]
    assert remembered_sha256(file, lambda *done: seen.append(done)) == file_sha256(file)
    assert len(seen) == 3


@pytest.mark.parametrize("change", ["content", "size"])
def test_a_changed_file_is_read_again(file: Path, change: str) -> None:
    remembered_sha256(file)
    before = file.stat()
    file.write_bytes(b"WEIGHTS" * (1000 if change == "content" else 999))
    later = before.st_mtime_ns + (1 if change == "content" else 0)
    os.utime(file, ns=(later, later))
    assert remembered_sha256(file) == file_sha256(file)


@pytest.mark.parametrize("note", ["", "[]", "{}", '{"size": 7000}'])
def test_a_damaged_note_is_replaced(file: Path, note: str) -> None:
    remembered_sha256(file)
    (written,) = (path for path in file.parent.iterdir() if path != file)
    written.write_text(note)
    assert remembered_sha256(file) == file_sha256(file)
    assert file_sha256(file) in written.read_text()


def test_a_folder_that_cannot_be_written_to_is_no_obstacle(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(digest, "write_json", refuse)
    expected = file_sha256(file)
    assert remembered_sha256(file) == expected
    assert list(file.parent.iterdir()) == [file]

    monkeypatch.setattr(products, "file_sha256", None)
    assert remembered_sha256(file) == expected, "read again"


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        remembered_sha256(tmp_path / "none.pth")
