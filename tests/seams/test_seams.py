"""Every catalogue of the core is in the one list, and the table of tiers in the papers is the one of today."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from lipforcing_core.base.catalogue import Catalogue, Entry
from lipforcing_core.models.codecs.catalogue import CODECS
from lipforcing_core.seams.catalogues import all_seams
from lipforcing_core.seams.tiers import BEGIN, END, tier_rows, tier_table, with_tier_table
from lipforcing_core.weights.registry import find_weight

ROOT = Path(__file__).resolve().parents[2]
PAPERS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def catalogues() -> list[Catalogue[Any]]:
    """All that stand in a module called ``catalogue`` of the core."""
    found: list[Catalogue[Any]] = []
    for path in sorted((ROOT / "lipforcing_core").rglob("catalogue.py")):
        module = import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
        found += [value for value in vars(module).values() if isinstance(value, Catalogue)]
    return found


def test_every_catalogue_is_listed_once_and_where_it_is() -> None:
    listed = [id(seam.catalogue) for seam in all_seams()]
    assert len(set(listed)) == len(listed)
    for catalogue in catalogues():
        assert id(catalogue) in listed, f"{catalogue.kind} is not in lipforcing_core/seams/catalogues.py"
    for seam in all_seams():
        assert (ROOT / seam.folder / "catalogue.py").is_file(), seam.folder


def test_names_are_unique_and_weights_registered() -> None:
    for seam in all_seams():
        assert len(set(seam.catalogue.names)) == len(seam.catalogue.names)
        for entry in seam.catalogue:
            for name in entry.weights:
                find_weight(name)


def test_reading_them_imports_no_network() -> None:
    code = (
        "import sys; from lipforcing_core.seams.tiers import tier_table; tier_table(); "
        "print(sorted({'torch', 'transformers', 'cv2', 'onnxruntime', 'skimage', 'pyiqa'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_tiered_seam_stands_in_for_every_file() -> None:
    rows = {row.seam: row for row in tier_rows()}
    for row in rows.values():
        assert row.embedded, row.seam
        assert row.full, row.seam
    codecs = rows["video codec"]
    assert codecs.embedded[0].name == "block-pca"
    assert [entry.name for entry in codecs.full][:2] == ["wan-vae", "taehv"]
    assert [*codecs.embedded, *codecs.full] == sorted(CODECS, key=lambda entry: bool(entry.weights))
    assert rows["text encoder"].full_words.startswith("umt5: UMT5-XXL, the text encoder of Wan 2.1")


def test_a_new_entry_is_in_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    codecs = r"\| video codec \| `block-pca`(.*) \| `wan-vae` \(wan2.1-vae\), `taehv` \(taew2.1\)(.*) \|\n"
    before = re.search(codecs, tier_table())
    assert before is not None
    more = (Entry(name="flat", summary="flat"), Entry(name="deep", summary="deep", weights=("taew2.1",)))
    monkeypatch.setitem(vars(CODECS), "entries", (*CODECS.entries, *more))
    after = re.search(codecs, tier_table())
    assert after is not None
    assert after.groups() == (f"{before[1]}, `flat`", f"{before[2]}, `deep` (taew2.1)")


def test_the_table_in_the_papers_is_the_one_of_today() -> None:
    """If this fails, run ``make docs``."""
    marked = [paper for paper in PAPERS if BEGIN in paper.read_text(encoding="utf-8")]
    assert marked, f"no paper of the house has {BEGIN}"
    for paper in marked:
        text = paper.read_text(encoding="utf-8")
        assert text == with_tier_table(text), f"{paper.name} is out of date: run `make docs`"


def test_the_command_writes_it(tmp_path: Path) -> None:
    paper = tmp_path / "paper.md"
    paper.write_text(f"before\n{BEGIN}\n{END}\nafter\n", encoding="utf-8")
    subprocess.run([sys.executable, "-m", "lipforcing_core.seams.tiers", str(paper)], check=True)
    assert paper.read_text(encoding="utf-8") == f"before\n{BEGIN}\n{tier_table()}{END}\nafter\n"


def test_marks_are_kept_and_the_rest_too() -> None:
    assert with_tier_table(f"a\n{BEGIN}\nold\n{END}\nb\n") == f"a\n{BEGIN}\n{tier_table()}{END}\nb\n"
    for text in ("nothing", BEGIN, END, f"{END} {BEGIN}"):
        with pytest.raises(ValueError, match="has no"):
            with_tier_table(text)
