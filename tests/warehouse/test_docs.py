"""The data dictionary in the docs is the one that the schema gives."""

from __future__ import annotations

from pathlib import Path

from warehouse.dictionary import write_data_dictionary

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_the_published_dictionary_is_current(tmp_path: Path) -> None:
    write_data_dictionary(tmp_path / "fresh.md")
    fresh, published = (
        p.read_text(encoding="utf-8") for p in (tmp_path / "fresh.md", DOCS / "data_dictionary.md")
    )
    assert fresh == published, "run `lipforcing warehouse dictionary -o docs/data_dictionary.md`"
