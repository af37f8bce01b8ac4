"""The page on extending: its lists of files are true, and no catalogue of the code is missing from it."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from lipforcing_core.base.catalogue import Catalogue

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "extending.md"
KINDS = ("read", "new", "entry", "if weights", "check")
LINE = re.compile(rf"({'|'.join(KINDS)})\s+(\S+)")


def lists(text: str) -> dict[str, list[tuple[str, str]]]:
    """The lines of every section's list, as (kind, file), by the title of the section."""
    found = {}
    for section in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        blocks = re.findall(r"^```files\n(.*?)^```", section, flags=re.MULTILINE | re.DOTALL)
        lines = [LINE.fullmatch(line) for block in blocks for line in block.splitlines()]
        assert all(lines), f"{section.splitlines()[0]}: each line is one of {KINDS} and a file"
        found[section.splitlines()[0]] = [(line[1], line[2]) for line in lines if line]
    return found


LISTS = lists(PAGE.read_text(encoding="utf-8"))
FILES = [(title, kind, name) for title, lines in LISTS.items() for kind, name in lines]


@pytest.mark.parametrize("title", LISTS)
def test_a_section_tells_what_to_write_and_where_to_enter_it(title: str) -> None:
    kinds = [kind for kind, _ in LISTS[title]]
    assert "new" in kinds
    assert "entry" in kinds
    assert "check" in kinds


@pytest.mark.parametrize(("title", "kind", "name"), FILES)
def test_the_files_are_there(title: str, kind: str, name: str) -> None:
    path = ROOT / name.split(":")[0]
    if kind == "new":
        assert "NAME" in path.name
        assert path.parent.is_dir()
    else:
        assert path.exists()


@pytest.mark.parametrize("name", sorted({name for _, kind, name in FILES if kind == "entry"}))
def test_an_entry_goes_into_a_catalogue(name: str) -> None:
    file, table = name.split(":")
    module = importlib.import_module(file.removesuffix(".py").replace("/", "."))
    assert isinstance(getattr(module, table), Catalogue)


def test_every_catalogue_is_on_the_page() -> None:
    told = {name for _, kind, name in FILES if kind == "entry"}
    there = set()
    for path in (ROOT / "lipforcing_core").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        for table in re.findall(r"^(\w+)(?:: [\w\[\], .]+)? = Catalogue\b", text, flags=re.MULTILINE):
            there.add(f"{path.relative_to(ROOT).as_posix()}:{table}")
    assert len(there) >= 3
    assert there <= told, f"without a section: {there - told}"
