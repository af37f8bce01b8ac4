"""Corpora in their published layouts, with invented names; videos are empty files, since listing never opens them."""

from __future__ import annotations

from pathlib import Path

import pytest


class Tree:
    """A folder to put files into."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def put(self, name: str, text: str = "") -> Path:
        """Write a file, its folders too."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode("utf-8"))
        return path

    def touch(self, *names: str) -> None:
        """Make empty files."""
        for name in names:
            self.put(name)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path / "corpus")
