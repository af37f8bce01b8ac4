"""The generic corpora: any folder, and a table with one row a source."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.corpora.catalogue import read_corpus
from lipforcing_core.curation.facts import side_warnings
from lipforcing_core.curation.records import SourceFacts
from lipforcing_core.curation.sources import find_sources

from .conftest import Tree
from .listing import facts, left_out, told


def test_a_folder_is_what_it_always_was(tree: Tree) -> None:
    tree.touch("a.mp4", "sub/b.MOV", "notes.txt", "x.mp4.meta.json", ".hidden.mp4")
    tree.put("sources.csv", "path,identity,colour\na.mp4,anna,red\ngone.mp4,ben,\n")
    listing, found = read_corpus("folder", tree.root), find_sources(tree.root)
    assert tuple(source.path for source in listing.sources) == found.sources
    assert listing.facts() == {"a.mp4": SourceFacts(identity="anna")}
    assert (listing.ignored, listing.lines()) == (found.ignored, side_warnings(found))
    assert [known.dataset for known in facts(listing).values()] == [None, None]


def test_one_file_is_a_folder_with_one_video(tree: Tree) -> None:
    tree.touch("a.mp4", "b.mp4")
    listing = read_corpus("folder", tree.root / "a.mp4")
    assert list(facts(listing)) == ["a.mp4"]
    assert listing.root == tree.root


def test_malformed_side_information_costs_its_video_alone(tree: Tree) -> None:
    tree.touch("a.mp4", "b.mp4", "c.mp4", "d.mp4", "e.mp4")
    tree.put("sources.csv", "path,split,licence\na.mp4,test,CC0\nb.mp4,dev,CC0\n,val,\nc.mp4,val,CC,BY\n")
    tree.put("d.mp4.meta.json", '{"licence": 3}')
    listing = read_corpus("folder", tree.root)
    assert told(listing) == [
        "sources.csv, line 3, split: should be 'train', 'val' or 'test' (got 'dev')",
        "sources.csv, line 4, path: every row needs a 'path'",
        "sources.csv, line 5, row: 4 fields, but the first line names 3 columns (a field with a comma in it needs "
        "quotes)",
        "d.mp4.meta.json, licence: should be a text (got 3)",
    ]
    assert facts(listing) == {"a.mp4": SourceFacts(split="test", licence="CC0"), "e.mp4": SourceFacts()}
    assert left_out(listing) == {"videos whose side information cannot be used": (3, "b.mp4")}
    assert listing.warnings == ()


@pytest.mark.parametrize("corpus", ["folder", "manifest"])
def test_where_no_row_can_be_used_nothing_is_curated(corpus: str, tree: Tree) -> None:
    """A run over nothing would end well, and publish an empty data set."""
    tree.touch("a.mp4")
    name = {"folder": "sources.csv", "manifest": "manifest.csv"}[corpus]
    tree.put(name, "path,split\na.mp4,dev\n")
    with pytest.raises(BadInputError, match=rf"no source of {corpus} can be used: .*{name}, line 2, split: "):
        read_corpus(corpus, tree.root)
    if corpus == "manifest":
        tree.put(name, "path,split\ngone.mp4,val\n")
        with pytest.raises(
            BadInputError, match=r"can be used: files that the manifest names and that are not"
        ):
            read_corpus(corpus, tree.root)


ROWS = [
    {"path": "a.mp4", "identity": "anna", "licence": "CC-BY-4.0", "split": "test", "ranges": "1-2.5", "consent": "yes"},
    {"path": "sub/b.mp4", "identity": None, "licence": "CC-BY-NC-4.0", "split": "val", "ranges": None, "consent": None},
    {"path": "gone.mp4", "identity": "x", "licence": None, "split": None, "ranges": None, "consent": None},
]  # fmt: skip


def written(tree: Tree, kind: str) -> Path:
    if kind == "csv":
        lines = [",".join(ROWS[0]), *(",".join(value or "" for value in row.values()) for row in ROWS)]
        return tree.put("manifest.csv", "\ufeff" + "\r\n".join(lines))
    if kind == "jsonl":
        return tree.put("manifest.jsonl", "".join(json.dumps(row) + "\n" for row in ROWS))
    path = tree.put("manifest.parquet")
    pq.write_table(pa.Table.from_pylist(ROWS), path)
    return path


@pytest.mark.parametrize("kind", ["csv", "parquet", "jsonl"])
@pytest.mark.parametrize("by_folder", [False, True])
def test_every_kind_of_table_says_the_same(kind: str, by_folder: bool, tree: Tree) -> None:
    tree.touch("a.mp4", "sub/b.mp4")
    path = written(tree, kind)
    listing = read_corpus("manifest", tree.root if by_folder else path)
    assert facts(listing) == {
        "a.mp4": SourceFacts.model_validate(
            {"identity": "anna", "licence": "CC-BY-4.0", "split": "test", "ranges": "1-2.5", "consent": "yes"}
        ),
        "sub/b.mp4": SourceFacts(licence="CC-BY-NC-4.0", split="val"),
    }
    assert left_out(listing) == {"files that the manifest names and that are not on disk": (1, "gone.mp4")}
    assert (told(listing), listing.warnings) == ([], ())


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("b.mp4,dev,", "line 3, split: should be 'train', 'val' or 'test' (got 'dev')"),
        (
            "b.mp4,val,5-4",
            "line 3, ranges: a range must end after it starts, and this goes from 5 to 4 s",
        ),
        (",val,", "line 3, path: must be the path of a video, and is ''"),
        (
            "../b.mp4,val,",
            "line 3, path: '../b.mp4' leaves the folder of the manifest; put the manifest above its files",
        ),
        (
            "b.mp4,val,,x",
            "line 3, row: 4 fields, but the first line names 3 columns (a field with a comma in it needs quotes)",
        ),
    ],
)
def test_a_malformed_row_is_quarantined_alone(row: str, problem: str, tree: Tree) -> None:
    tree.touch("a.mp4", "b.mp4", "c.mp4")
    path = tree.put("m.csv", f"path,split,ranges\na.mp4,train,\n{row}\nc.mp4,test,\n")
    listing = read_corpus("manifest", path)
    (said,) = told(listing)
    if "ranges" in problem:
        assert said.startswith(f"m.csv, {problem}")
    else:
        assert said == f"m.csv, {problem}"
    assert list(facts(listing)) == ["a.mp4", "c.mp4"]


@pytest.mark.parametrize("corpus", ["folder", "manifest"])
def test_rows_about_one_video_agree_or_leave_it_out(corpus: str, tree: Tree) -> None:
    """Lines 3, 5 and 8 say the same of b; lines 4 and 6 are of one mind about c but for the split, and 7 is for the
    consent; line 9 is told of d alone, since line 2 says of it what it says."""
    tree.touch("a.mp4", "b.mp4", "c.mp4", "d.mp4", "e.mp4")
    name = {"folder": "sources.csv", "manifest": "manifest.csv"}[corpus]
    tree.put(
        name,
        "path,identity,split,consent,ranges,licence\n"
        "d.mp4,dora,train,,1-2,\nb.mp4,ben,val,yes,0-2.5,CC0\nc.mp4,carl,train,,,\n./b.mp4,ben,val,yes,0-2.50,CC0\n"
        "c.mp4,carl,test,,,\nc.mp4,carl,train,no,,\nb.mp4,ben,val,yes,0-5/2,CC0\nd.mp4,dora,train,,1-3,\na.mp4,,,,,\n"
        "e.mp4,eve,,,,MIT\ne.mp4,eve,,,,\n",
    )
    listing = read_corpus(corpus, tree.root)
    assert facts(listing).keys() == {"a.mp4", "b.mp4"}
    assert facts(listing)["b.mp4"] == SourceFacts.model_validate(
        {"identity": "ben", "split": "val", "consent": "yes", "ranges": "0-2.5", "licence": "CC0"}
    )
    advice = "correct or remove one of the two rows"
    problems = {
        "c.mp4": f"{name}, line 6, split: 'test' for c.mp4, and line 4 says 'train'; {advice}",
        "d.mp4": f"{name}, line 9, ranges: [{{'start_s': '1', 'stop_s': '3'}}] for d.mp4, and line 2 says "
        f"[{{'start_s': '1', 'stop_s': '2'}}]; {advice}",
        "e.mp4": f"{name}, line 12, licence: nothing for e.mp4, and line 11 says 'MIT'; {advice}",
    }
    assert sorted(told(listing)) == sorted(problems.values())
    assert {path.name: why.message for path, why in listing.omitted.items()} == problems
    assert {why.reason.value for why in listing.omitted.values()} == {"annotation_unusable"}
    (warning,) = listing.warnings
    assert warning.removeprefix(f"{tree.root}/") == (
        f"{name}, line 3: b.mp4 has the same row again in lines 5, 8; it counts once"
    )


def test_lines_are_counted_through_quotes_and_blank_ones(tree: Tree) -> None:
    tree.touch("a.mp4")
    path = tree.put("m.csv", 'path,split,consent\nx.mp4,dev,\na.mp4,,"signed\nby hand"\n\ny.mp4,none,\n')
    listing = read_corpus("manifest", path)
    assert [problem.line for problem in listing.problems] == [2, 6]
    assert facts(listing)["a.mp4"].consent == "signed\nby hand"


@pytest.mark.parametrize("corpus", ["folder", "manifest"])
@pytest.mark.parametrize("row", ['b.mp4,"ben,test', '"b.mp4,ben,test'])
def test_a_quote_that_is_not_closed_costs_its_video_alone(corpus: str, row: str, tree: Tree) -> None:
    """A quote that is never closed would swallow every row below it, and with them the splits that they declare."""
    tree.touch("a.mp4", "b.mp4", "c.mp4")
    name = {"folder": "sources.csv", "manifest": "manifest.csv"}[corpus]
    tree.put(name, f"path,identity,split\na.mp4,anna,val\n{row}\nc.mp4,carl,test\n")
    listing = read_corpus(corpus, tree.root)
    assert told(listing) == [
        f"{name}, line 3, row: a quote is opened and not closed, so the row is taken to end with its line"
    ]
    assert facts(listing) == {
        "a.mp4": SourceFacts(identity="anna", split="val"),
        "c.mp4": SourceFacts(identity="carl", split="test"),
    }


def test_only_line_ends_of_text_files_end_a_row(tree: Tree) -> None:
    """Unicode has further line separators, which may be part of a file name."""
    tree.touch("a\u2028b.mp4", "c\x85.mp4")
    path = tree.put("m.csv", "path,split\ra\u2028b.mp4,val\rc\x85.mp4,test\r\ny.mp4,none\r\n")
    listing = read_corpus("manifest", path)
    assert {name: known.split for name, known in facts(listing).items()} == {
        "a\u2028b.mp4": "val",
        "c\x85.mp4": "test",
    }
    assert [problem.line for problem in listing.problems] == [4]


def test_lines_of_json_that_are_broken_are_quarantined_alone(tree: Tree) -> None:
    tree.touch("a.mp4", "c.mp4")
    path = tree.put(
        "m.jsonl", '{"path": "a.mp4"}\n\n{"path": "b.mp4", \n[1]\n{"path": "c.mp4", "audio": "c.wav"}\n'
    )
    listing = read_corpus("manifest", path)
    assert told(listing) == [
        "m.jsonl, line 3, row: is no JSON (expecting property name enclosed in double quotes)",
        "m.jsonl, line 4, row: must be an object {...}, and is [1]",
        "m.jsonl, line 5, audio: 'c.wav' is not there",
    ]
    assert list(facts(listing)) == ["a.mp4"]


def test_side_information_beside_a_manifest_has_no_effect_and_that_is_said(tree: Tree) -> None:
    tree.touch("a.mp4", "b.mp4")
    tree.put("a.mp4.meta.json", '{"licence": "CC0"}')
    rows = "path,split\na.mp4,val\nb.mp4,test\n"
    path = tree.put("m.csv", rows)
    why = "has no effect, since the facts of manifest are its rows"
    assert read_corpus("manifest", path).warnings == (f"{tree.root}/a.mp4.meta.json: {why}",)
    table = tree.put("sources.csv", rows)
    assert read_corpus("manifest", path).warnings[0] == f"{table}: {why}"
    assert len(read_corpus("manifest", table).warnings) == 1, "it may be called so itself"


@pytest.mark.parametrize(
    ("consents", "words"),
    [
        (["yes", "signed 2024", ""], None),
        (["yes", "no", ""], "1 source is without consent (for example b.mp4)"),
        (["FALSE", " no", "yes"], "2 sources are without consent (for example a.mp4)"),
    ],
)
@pytest.mark.parametrize("corpus", ["folder", "manifest"])
def test_a_consent_that_is_denied_is_told(
    corpus: str, consents: list[str], words: str | None, tree: Tree
) -> None:
    tree.touch("a.mp4", "b.mp4", "c.mp4")
    rows = "".join(f"{name}.mp4,{consent}\n" for name, consent in zip("abc", consents, strict=True))
    tree.put({"folder": "sources.csv", "manifest": "manifest.csv"}[corpus], f"path,consent\n{rows}")
    told = [line for line in read_corpus(corpus, tree.root).warnings if "consent" in line]
    assert [line.partition(",")[0] for line in told] == ([] if words is None else [words])


def test_unknown_columns_are_warnings(tree: Tree) -> None:
    tree.touch("a.mp4")
    path = tree.put("m.csv", "path,licens,consent\na.mp4,CC0,signed\n")
    listing = read_corpus("manifest", path)
    assert listing.warnings == (f"{path}: unknown column 'licens' (did you mean 'licence'?)",)
    assert facts(listing)["a.mp4"].consent == "signed"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("m.csv", "file\na.mp4\n", r"m\.csv: column path is missing in its first line; a manifest is"),
        ("m.csv", "path\n", r"m\.csv: has no rows; a manifest is"),
        ("m.txt", "path\na.mp4\n", r"m\.txt: is called \.txt; a manifest is"),
        ("m.parquet", "path", r"m\.parquet: is not a readable Parquet file"),
        ("other", "", r"holds no manifest; name the file itself"),
    ],
)
def test_what_is_no_manifest_is_refused(name: str, text: str, message: str, tree: Tree) -> None:
    path = tree.put(name, text)
    with pytest.raises(BadInputError, match=message):
        read_corpus("manifest", tree.root if name == "other" else path)


def test_two_manifests_in_one_folder_are_refused(tree: Tree) -> None:
    tree.touch("manifest.csv", "manifest.jsonl")
    with pytest.raises(BadInputError, match=r"holds manifest\.csv and manifest\.jsonl; name the file itself"):
        read_corpus("manifest", tree.root)


def test_a_parquet_table_without_paths_is_refused(tree: Tree) -> None:
    path = tree.put("m.parquet")
    pq.write_table(pa.table({"file": ["a.mp4"]}), path)
    with pytest.raises(BadInputError, match=r"column path is missing"):
        read_corpus("manifest", path)


@pytest.mark.parametrize("corpus", ["folder", "manifest", "voxceleb2"])
def test_a_corpus_that_says_its_splits_takes_no_list(corpus: str, tree: Tree, tmp_path: Path) -> None:
    tree.touch("a.mp4")
    names = tmp_path / "list.txt"
    names.write_text("a\n")
    with pytest.raises(
        BadInputError, match=rf"the corpus {corpus} takes no list of test clips \(hdtf, hallo3, "
    ):
        read_corpus(corpus, tree.root, names)


@pytest.mark.parametrize("name", ["talks.csv", "talks.jsonl", "talks.parquet"])
def test_a_table_that_is_given_as_a_video_is_told_how_to_be_read(name: str, tree: Tree) -> None:
    tree.touch(name)
    with pytest.raises(BadInputError, match=f"{name}: is a table and no video; `--corpus manifest`"):
        read_corpus("folder", tree.root / name)


def test_people_may_be_numbered(tree: Tree) -> None:
    tree.touch("a.mp4", "b.mp4")
    tree.put("manifest.jsonl", '{"path": "a.mp4", "identity": 5}\n{"path": "b.mp4", "identity": true}\n')
    listing = read_corpus("manifest", tree.root)
    assert facts(listing) == {"a.mp4": SourceFacts(identity="5")}
    assert told(listing) == ["manifest.jsonl, line 2, identity: should be a text (got true)"]
