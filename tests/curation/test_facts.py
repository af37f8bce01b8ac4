"""Side information: where it is taken from, and a warning for everything in it that has no effect."""

from __future__ import annotations

from pathlib import Path

import pytest

from lipforcing_core.corpora.catalogue import read_corpus
from lipforcing_core.curation.facts import FactError, read_facts, side_warnings, table_errors
from lipforcing_core.curation.records import SourceFacts
from lipforcing_core.curation.sources import find_sources

KNOWN = "identity, licence, commercial_ok, language, split, consent, dataset, audio, ranges, crop"


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    (tmp_path / "sub").mkdir()
    for name in ("a.mp4", "b.mp4", "sub/c.mp4", "notes.txt"):
        (tmp_path / name).touch()
    return tmp_path


def warnings(corpus: Path) -> list[str]:
    """The warnings without the folder's name."""
    return [line.replace(f"{corpus}/", "") for line in side_warnings(find_sources(corpus))]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("path,identity\na.mp4,anna\nsub/c.mp4,carl\n", []),
        ("path,identity\n./sub/../b.mp4,ben\n", []),
        (
            "path,identity\na.mp4,anna\n\nx.mp4,eve\n",
            ["sources.csv, line 4: names x.mp4, which is not there"],
        ),
        (
            'path,identity\n"a.mp4","an\nna"\nx.mp4,eve\n',
            ["sources.csv, line 4: names x.mp4, which is not there"],
        ),
        (
            "path,identity\nnotes.txt,eve\n",
            ["sources.csv, line 2: names notes.txt, which is not taken for a video"],
        ),
        (
            "path,licens\na.mp4,CC0\n",
            ["sources.csv, line 1: unknown column 'licens' (did you mean 'licence'?)"],
        ),
        (
            "path,colour\n",
            [f"sources.csv, line 1: unknown column 'colour' (known: path, {KNOWN})"],
        ),
        (
            "path,identity\na.mp4,anna\nb.mp4,ben\n./a.mp4,anna\n",
            ["sources.csv, line 2: a.mp4 has the same row again in line 4; it counts once"],
        ),
        ("path,identity\nx\x1b.mp4,eve\n", [r"sources.csv, line 2: names x\x1b.mp4, which is not there"]),
    ],
)
def test_rows_without_effect_are_told_with_their_line(text: str, expected: list[str], corpus: Path) -> None:
    (corpus / "sources.csv").write_text(text)
    assert warnings(corpus) == expected


def test_rows_that_contradict_each_other_are_refused_however_the_path_is_written(corpus: Path) -> None:
    (corpus / "sources.csv").write_text(f"path,identity\na.mp4,anna\n{corpus}/a.mp4,eve\nsub//c.mp4,carl\n")
    words = (
        r"line 3: identity: 'eve' for a\.mp4, and line 2 says 'anna'; correct or remove one of the two rows$"
    )
    with pytest.raises(FactError, match=words):
        read_facts(corpus / "a.mp4", corpus)
    assert [(error.line, error.field) for error in table_errors(corpus)] == [(3, "identity")]
    assert read_facts(corpus / "sub/c.mp4", corpus).identity == "carl"


def test_keys_without_effect_are_told_with_their_line(corpus: Path) -> None:
    (corpus / "a.mp4.meta.json").write_text('{\n "identity": "anna",\n "licens": "CC0",\n "x\\u001b": 1}')
    assert warnings(corpus) == [
        "a.mp4.meta.json, line 3: unknown key 'licens' (did you mean 'licence'?)",
        rf"a.mp4.meta.json, line 4: unknown key 'x\\x1b' (known: {KNOWN})",
    ]


def test_a_sound_file_that_is_not_there_is_told(corpus: Path) -> None:
    (corpus / "a.mp4.meta.json").write_text('{"audio": "a.m4a"}')
    (corpus / "b.mp4.meta.json").write_text('{"audio": "notes.txt"}')
    assert warnings(corpus) == ["a.mp4: its separate sound a.m4a is not there"]


def test_a_sidecar_without_its_video_is_told(corpus: Path) -> None:
    (corpus / "sub" / "d.mp4.meta.json").write_text("{}")
    assert warnings(corpus) == ["sub/d.mp4.meta.json: there is no video of this name beside it"]


def test_a_sidecar_that_is_called_without_the_suffix_of_its_video_names_the_one_that_was_meant(
    corpus: Path,
) -> None:
    (corpus / "b.meta.json").write_text("{}")
    (corpus / "c.meta.json").write_text("{}")
    assert warnings(corpus) == [
        "b.meta.json: there is no video of this name beside it; was b.mp4.meta.json meant?",
        "c.meta.json: there is no video of this name beside it",  # c.mp4 is in another folder
    ]
    (corpus / "b.mov").write_bytes((corpus / "b.mp4").read_bytes() + b"2")
    assert "was b.mov.meta.json or b.mp4.meta.json meant?" in warnings(corpus)[0]


@pytest.mark.parametrize("kind", ["dangling", "folder", "deep", "number"])
def test_a_sidecar_that_cannot_be_read_is_refused(kind: str, corpus: Path) -> None:
    sidecar = corpus / "a.mp4.meta.json"
    if kind == "dangling":
        sidecar.symlink_to("gone.json")
    elif kind == "folder":
        sidecar.mkdir()
    else:
        sidecar.write_text("[" * 100_000 if kind == "deep" else '{"identity": ' + "9" * 5000 + "}")
    with pytest.raises(FactError, match=r"a\.mp4\.meta\.json: file: "):
        read_facts(corpus / "a.mp4", corpus)
    assert warnings(corpus) == []


def test_a_malformed_row_is_refused_with_its_line(corpus: Path) -> None:
    (corpus / "sources.csv").write_text("path,commercial_ok\na.mp4,yes\nb.mp4,perhaps\n")
    with pytest.raises(FactError, match=r"sources\.csv, line 3: commercial_ok: .*perhaps"):
        read_facts(corpus / "b.mp4", corpus)
    assert read_facts(corpus / "a.mp4", corpus).commercial_ok is True
    assert [(error.line, error.field) for error in table_errors(corpus)] == [(3, "commercial_ok")]


def test_a_row_that_is_repaired_further_down_counts_and_is_told(corpus: Path) -> None:
    (corpus / "sources.csv").write_text("path,split\na.mp4,dev\na.mp4,val\nb.mp4,test,x,y\n")
    assert read_facts(corpus / "a.mp4", corpus).split == "val"
    assert [str(error).removeprefix(f"{corpus}/") for error in table_errors(corpus)] == [
        "sources.csv, line 2: split: should be 'train', 'val' or 'test' (got 'dev')",
        "sources.csv, line 4: row: 4 fields, but the first line names 2 columns (a field with a comma in it needs "
        "quotes)",
    ]


def test_what_is_known_can_be_part_of_the_identity_of_a_run(corpus: Path) -> None:
    assert read_corpus("folder", corpus).facts() == {}
    (corpus / "sources.csv").write_text("path,licence\na.mp4,CC0\nb.mp4,\n")
    assert read_corpus("folder", corpus).facts() == {"a.mp4": SourceFacts(licence="CC0")}
    (corpus / "sources.csv").write_text("path,licence\na.mp4,CC-BY-4.0\nb.mp4,\n")
    assert read_corpus("folder", corpus).facts() == {"a.mp4": SourceFacts(licence="CC-BY-4.0")}


def test_a_corpus_may_be_a_link_and_its_table_name_links_within(corpus: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(corpus)
    (corpus / "link.mp4").symlink_to("sub/c.mp4")
    (corpus / "sources.csv").write_text("path,identity\na.mp4,anna\nlink.mp4,carl\n")
    assert read_facts(link / "a.mp4", link) == SourceFacts(identity="anna")
    assert read_facts(link / "link.mp4", link) == SourceFacts(identity="carl")
    assert read_facts(link / "sub/c.mp4", link) == SourceFacts()


@pytest.mark.parametrize("given", ["../x.mp4", "/etc/hosts", "a\0.mp4"])
def test_a_path_of_the_table_stays_in_its_folder(given: str, corpus: Path) -> None:
    (corpus / "sources.csv").write_text(f"path,identity\nb.mp4,ben\n{given},eve\n")
    assert read_facts(corpus / "b.mp4", corpus).identity == "ben"
    (error,) = table_errors(corpus)
    assert (error.line, error.field, error.problem) == (3, "path", f"{given!r} leaves the folder")


def test_every_column_of_the_table_counts_and_a_sidecar_instead_of_it(corpus: Path) -> None:
    (corpus / "sources.csv").write_text(
        "identity,path,commercial_ok,licence\nanna,a.mp4,true,MIT\nben,b.mp4,no,\n"
    )
    assert read_facts(corpus / "a.mp4", corpus) == SourceFacts(
        identity="anna", licence="MIT", commercial_ok=True
    )
    assert read_facts(str(corpus / "b.mp4"), str(corpus)) == SourceFacts(identity="ben", commercial_ok=False)
    (corpus / "a.mp4.meta.json").write_text('{"licence": "CC0", "identity": ""}')
    assert read_facts(corpus / "a.mp4", corpus) == SourceFacts(licence="CC0")
    found = read_corpus("folder", corpus).facts()
    assert list(found) == ["a.mp4", "b.mp4"]


def test_keys_are_guessed_in_any_case_and_a_key_that_is_not_found_is_on_the_first_line(corpus: Path) -> None:
    (corpus / "a.mp4.meta.json").write_text('\n{"LICENS": "CC0",\n "\\u0061b": 1}')
    assert warnings(corpus) == [
        "a.mp4.meta.json, line 2: unknown key 'LICENS' (did you mean 'licence'?)",
        f"a.mp4.meta.json, line 1: unknown key 'ab' (known: {KNOWN})",
    ]


def test_a_mistake_in_a_sidecar_names_the_key(corpus: Path) -> None:
    (corpus / "a.mp4.meta.json").write_text('{"identity": 3.5, "commercial_ok": "perhaps"}')
    with pytest.raises(FactError, match=r"a\.mp4\.meta\.json: identity: should be a text \(got 3\.5\)$"):
        read_facts(corpus / "a.mp4", corpus)
