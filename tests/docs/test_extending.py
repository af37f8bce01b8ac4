"""The page on extending: its lists of files are true, and no catalogue of the code is missing from it."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import pytest

from lipforcing_core.base.catalogue import Catalogue
from lipforcing_core.seams.catalogues import Seam, all_seams

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "extending.md"
KINDS = ("read", "new", "entry", "table", "edit", "if weights", "check")
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
    kinds = {kind for kind, _ in LISTS[title]}
    assert kinds & {"new", "edit"}
    assert kinds & {"entry", "table", "edit"}
    assert "check" in kinds


@pytest.mark.parametrize(("title", "kind", "name"), FILES)
def test_the_files_are_there(title: str, kind: str, name: str) -> None:
    path = ROOT / name.split(":")[0]
    if kind == "new":
        assert "NAME" in path.name
    if "NAME" in path.name:
        assert path.parent.is_dir()
        assert list(path.parent.glob(path.name.replace("NAME", "*"))), f"{name}: nothing there is called so"
    else:
        assert path.exists()


def table_of(name: str) -> Any:
    """The catalogue that the page calls ``file:TABLE``, or ``file:function`` that returns it."""
    file, table = name.split(":")
    found = getattr(importlib.import_module(file.removesuffix(".py").replace("/", ".")), table)
    return found if isinstance(found, Catalogue) else found()


TABLES = sorted({name for _, kind, name in FILES if kind in ("entry", "table")})


@pytest.mark.parametrize("name", TABLES)
def test_an_entry_goes_into_a_catalogue(name: str) -> None:
    assert isinstance(table_of(name), Catalogue)


@pytest.mark.parametrize("seam", all_seams(), ids=lambda seam: seam.name)
def test_every_seam_has_a_section(seam: Seam) -> None:
    titles = [
        title
        for title, lines in LISTS.items()
        for kind, name in lines
        if kind in ("entry", "table") and table_of(name) == seam.catalogue
    ]
    assert len(titles) == 1, f"{seam.name}: one section has its table"
    lines = LISTS[titles[0]]
    folder = ROOT / seam.folder
    assert any(kind == "new" and folder in (ROOT / name).parents for kind, name in lines)
    if (folder / "protocol.py").is_file():
        assert ("read", f"{seam.folder}/protocol.py") in lines


def test_every_seam_has_a_protocol_or_the_page_says_why_not() -> None:
    """Presets and base checkpoints are data."""
    without = {seam.folder for seam in all_seams() if not (ROOT / seam.folder / "protocol.py").is_file()}
    assert without == {"lipforcing_core/presets", "lipforcing_core/models/bases"}
    words = " ".join(PAGE.read_text(encoding="utf-8").split())
    assert "Two seams have no `protocol.py`, since their implementations are data and no code." in words
    assert ("read", "lipforcing_core/presets/schema.py") in LISTS["A preset"]


def test_every_catalogue_of_the_core_is_on_the_page() -> None:
    """However it is written: all values of all modules that name the class are looked at."""
    told = [table_of(name) for name in TABLES]
    seen = 0
    for path in sorted((ROOT / "lipforcing_core").rglob("*.py")):
        if "Catalogue" not in path.read_text(encoding="utf-8"):
            continue
        module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
        for name, value in vars(module).items():
            if isinstance(value, Catalogue):
                seen += 1
                assert any(value is table for table in told), f"{module.__name__}.{name} has no section"
    assert seen >= 12


def test_checkpoints_have_a_section_that_names_what_the_tests_hold_them_to() -> None:
    files = {name for _, name in LISTS["A downloaded checkpoint"]}
    assert files >= {
        "lipforcing_core/weights/registry.toml",
        "lipforcing_core/checkpoints/networks.py",
        "tests/checkpoints/test_full_size.py",
    }
    words = PAGE.read_text(encoding="utf-8")
    full_size = (ROOT / "tests" / "checkpoints" / "test_full_size.py").read_text(encoding="utf-8")
    for table in ("LISTS", "UNLISTED"):
        assert f"`{table}`" in words
        assert f"\n{table} = " in full_size
