"""The table of corpora, and the one in the documents that is made of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.licences import commercial_use
from lipforcing_core.corpora.catalogue import CORPORA, read_corpus
from lipforcing_core.corpora.official_test import read_test_list
from lipforcing_core.corpora.table import BEGIN, END, corpus_table, with_corpus_table

ROOT = Path(__file__).resolve().parents[2]


def test_the_folder_is_the_default_and_licences_are_told_from_each_other() -> None:
    assert CORPORA.default == "folder"
    assert {entry.name: commercial_use(entry.licence) for entry in CORPORA} == {
        "folder": None,
        "manifest": None,
        "hdtf": None,
        "voxceleb2": False,
        "hallo3": False,
        "talkvid": False,
        "speakervid5m": False,
    }
    assert {entry.name: entry.test_sizes for entry in CORPORA if entry.test_sizes} == {
        "hdtf": (33,), "hallo3": (10, 30, 40), "talkvid": (30,), "speakervid5m": (500,)
    }  # fmt: skip


def test_an_unknown_corpus_is_refused_with_a_guess(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"unknown corpus 'hdft' \(did you mean 'hdtf'\?\)"):
        read_corpus("hdft", tmp_path)


def test_a_list_of_clips_may_be_written_in_many_ways(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text(
        "\ufeff# names\n\nRD_A_000\n videos/RD_B_000_cfr25.mp4\taudio/x.wav\nRD_A_000.mp4\n", encoding="utf-8"
    )
    assert read_test_list(path).names == {"RD_A_000", "RD_B_000"}
    path.write_bytes("RD_\u2028A\r\nRD_B\rRD_C".encode())
    assert read_test_list(path).names == {"RD_\u2028A", "RD_B", "RD_C"}
    path.write_text("# nothing\n")
    with pytest.raises(BadInputError, match="lists no clips"):
        read_test_list(path)


def test_the_table_in_the_documents_is_the_one_of_today() -> None:
    """If this fails, run ``make docs``."""
    text = (ROOT / "docs" / "data-teams.md").read_text(encoding="utf-8")
    assert BEGIN in text
    assert text == with_corpus_table(text), "docs/data-teams.md is out of date: run `make docs`"


def test_the_table_tells_every_corpus() -> None:
    lines = corpus_table().splitlines()
    assert lines[0] == "| corpus | what must be on disk | split | licence |"
    assert len(lines) == 2 + len(CORPORA.names)
    assert lines[6].startswith(
        "| `hallo3` | `videos/0001.mp4`, `caption/0001.txt` (the unpacked archives) | test: "
    )
    assert lines[6].endswith(" | CC BY-NC-ND 4.0 |")
    assert lines[2].endswith(" | as the side information says |")


def test_the_command_writes_it(tmp_path: Path) -> None:
    paper = tmp_path / "paper.md"
    paper.write_text(f"before\n{BEGIN}\n{END}\nafter\n", encoding="utf-8")
    subprocess.run([sys.executable, "-m", "lipforcing_core.corpora.table", str(paper)], check=True)
    assert paper.read_text(encoding="utf-8") == f"before\n{BEGIN}\n{corpus_table()}{END}\nafter\n"
    with pytest.raises(ValueError, match="has no"):
        with_corpus_table("nothing")
