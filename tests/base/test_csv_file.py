"""CSV files of users: every row has the columns of the header, or is told by its number."""

from __future__ import annotations

from pathlib import Path

import pytest

from lipforcing_core.base.csv_file import csv_table, read_csv
from lipforcing_core.base.errors import BadInputError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "a.csv"


def test_rows_by_column(file: Path) -> None:
    file.write_text('name,note\na,"one, two"\n\nb,\n', encoding="utf-8-sig")
    assert read_csv(file, ["name"]) == [{"name": "a", "note": "one, two"}, {"name": "b", "note": ""}]


def test_fields_that_a_row_lacks_are_empty(file: Path) -> None:
    file.write_text("name,note,more\na\nb,x\n")
    assert read_csv(file, ["name"]) == [
        {"name": "a", "note": "", "more": ""},
        {"name": "b", "note": "x", "more": ""},
    ]


def test_a_row_with_too_many_fields_is_told_by_its_number(file: Path) -> None:
    file.write_text("name,note\na,one\n\nb,two, three\n")
    with pytest.raises(BadInputError, match=r"a\.csv, row 2: 3 fields, but the first line names 2 columns"):
        read_csv(file, ["name"])


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("\nname,note\na,b\n", "columns name, note missing in its first line, which is blank$"),
        (",\na,b\n", "columns name, note missing in its first line, which is blank$"),
        ("name,other\n", r"column note missing in its first line \(found: name, other\)$"),
        ("name;note\n", "look separated by ';', but commas are needed$"),
        ("name\tnote\n", "look separated by tabs, but commas are needed$"),
    ],
)
def test_a_header_without_the_columns_says_what_it_has(file: Path, text: str, problem: str) -> None:
    file.write_text(text)
    with pytest.raises(BadInputError, match=problem):
        read_csv(file, ["name", "note"])


def test_an_empty_file_has_no_rows(file: Path) -> None:
    file.touch()
    assert read_csv(file, ["name"]) == []


def test_what_is_no_file_or_no_csv_is_refused(file: Path) -> None:
    with pytest.raises(BadInputError, match=r"a\.csv: there is no such file"):
        read_csv(file, [])
    with pytest.raises(BadInputError, match="is a folder, and a file is wanted"):
        read_csv(file.parent, [])
    file.write_bytes(b"name\n\xff\n")
    with pytest.raises(BadInputError, match=r"a\.csv is not a CSV file"):
        read_csv(file, [])
    file.write_text('name\n"' + "x" * 200_000)
    with pytest.raises(BadInputError, match=r"a\.csv, row 1: field larger"):
        read_csv(file, [])


UNCLOSED = "a quote is opened and not closed, so the row is taken to end with its line"


@pytest.mark.parametrize(
    ("row", "fields", "problem"),
    [
        ('c,"open,x', ["c", "open", "x"], UNCLOSED),
        ('"c,open,x', ["c", "open", "x"], UNCLOSED),
        ('c,"open,x\nd,"closed, here",y', ["c", "open", "x"], UNCLOSED),
        ('c,"open\nd,closed,"', ["c", "open", ""], UNCLOSED),
        (
            'c,"a" b,x',
            ["c", "a b", "x"],
            "text follows the quote that closes a field (a quote inside a field is written twice)",
        ),
    ],
)
def test_a_quote_that_is_not_closed_costs_its_own_row_alone(
    row: str, fields: list[str], problem: str
) -> None:
    """The quote opens a field that the grammar of CSV lets go on until the next quote, or to the end of the file."""
    table = csv_table(f'name,note,more\na,"one\ntwo",""""\n{row}\ny,1,2\nz,3,4\n')
    first, broken, *rest = table.rows
    assert first.fields == {"name": "a", "note": "one\ntwo", "more": '"'}
    assert (broken.line, list(broken.fields.values()), broken.problem) == (4, fields, problem)
    assert [(r.fields["name"], r.line) for r in rest if not r.problem][-2:] == [
        ("y", 5 + row.count("\n")),
        ("z", 6 + row.count("\n")),
    ]


def test_a_file_of_broken_rows_is_read_in_one_pass_and_each_is_told() -> None:
    table = csv_table("name,note\n" + 'a,"x\n' * 20_000)
    assert len(table.rows) == 20_000
    assert {row.problem for row in table.rows} == {UNCLOSED}


def test_a_quote_that_is_not_closed_is_refused_where_every_row_is_needed(file: Path) -> None:
    file.write_text('name,note\na,"x\nb,y\n')
    with pytest.raises(BadInputError, match=r"a\.csv, row 1: a quote is opened and not closed"):
        read_csv(file, ["name"])
    file.write_text('name,"note\na,x\n')
    with pytest.raises(
        BadInputError, match=r"a\.csv is not a CSV file: its first line cannot be read: a quote"
    ):
        read_csv(file, ["name"])
