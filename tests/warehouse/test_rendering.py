"""Rows as text, letter by letter."""

from __future__ import annotations

import json
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pytest

from warehouse.query import MAX_CELL_WIDTH, render

COLUMNS = ["name", "value", "ok", "n"]
ROWS: list[tuple[Any, ...]] = [("ann", 1.5, True, None), ("a longer one", None, False, 1234567)]


def test_a_table_has_numbers_on_the_right_and_words_on_the_left() -> None:
    assert render(COLUMNS, ROWS) == (
        "name          value  ok           n\n"
        "------------  -----  -----  -------\n"
        "ann             1.5  True\n"
        "a longer one         False  1234567\n"
        "(2 rows)\n"
    )
    assert render(["a column"], []) == "a column\n--------\n(0 rows)\n"
    assert render(["x"], [("one\r\n\ttwo",)]) == "x\n-------\none two\n(1 row)\n"


def test_what_is_cut_is_counted() -> None:
    long = "y" * (MAX_CELL_WIDTH + 2)
    assert MAX_CELL_WIDTH == 48
    *_, first, second, counted = render(["a", "b"], [(long, "short"), (long, long)]).splitlines()
    assert first == f"{'y' * 45}...  short"
    assert second == f"{'y' * 45}...  {'y' * 45}..."
    assert counted == "(2 rows; 3 values are cut to 48 characters, --full shows everything)"
    assert render(["a"], [(long,)], full=True).splitlines()[2:] == [long, "(1 row)"]


def test_markdown_has_a_rule_below_its_head() -> None:
    assert render(["a|b", "c"], [("x|y", 0.1234567), (None, True)], "markdown") == (
        "| a\\|b | c |\n| --- | --- |\n| x\\|y | 0.123457 |\n|  | True |\n"
    )


def test_csv_keeps_every_digit_and_character() -> None:
    rows = [("a,b", 0.1234567891, None), ('q"', 2.0, "x\x1b")]
    assert render(["t", "v", "w"], rows, "csv") == 't,v,w\n"a,b",0.1234567891,\n"q""",2.0,x\x1b\n'
    assert render(["t"], [("x\x1b",)], "csv", terminal=True) == "t\nx\\x1b\n"


def test_json_has_numbers_and_letters_as_they_are() -> None:
    row = (
        0.1234567891,
        Decimal("2.50"),
        float("nan"),
        float("-inf"),
        datetime(2026, 1, 2, 3, 4, 5),
        "é\u202e",
    )
    text = render(["a", "b", "c", "d", "e", "f"], [row], "json")
    assert text == (
        '[\n  {\n    "a": 0.1234567891,\n    "b": 2.5,\n    "c": null,\n    "d": null,\n'
        '    "e": "2026-01-02T03:04:05",\n    "f": "é\\u202e"\n  }\n]\n'
    )
    assert json.loads(render(["day", "on"], [(date(2026, 1, 2), True)], "json")) == [
        {"day": "2026-01-02", "on": True}
    ]
    assert json.loads(text)[0]["f"] == "é\u202e"


@pytest.mark.parametrize(
    ("columns", "names"),
    [
        (["a", "b", "a"], ["a", "b", "a_1"]),
        (["a", "a", "a", "a_1"], ["a", "a_1", "a_2", "a_1_1"]),
    ],
)
def test_a_name_that_was_there_before_gets_a_number(columns: list[str], names: list[str]) -> None:
    (row,) = json.loads(render(columns, [tuple(range(len(columns)))], "json"))
    assert row == {name: place for place, name in enumerate(names)}


def test_zero_has_no_sign_and_whole_numbers_all_their_digits() -> None:
    rows = [(-0.0, 12345678), (1234567.0, 2)]
    assert [line.split() for line in render(["x", "y"], rows).splitlines()[2:4]] == [
        ["0", "12345678"],
        ["1.23457e+06", "2"],
    ]


@pytest.mark.parametrize("output", ["table", "json"])
def test_rows_that_do_not_fit_their_columns_are_a_mistake(output: Any) -> None:
    with pytest.raises(ValueError, match=r"zip\(\)"):
        render(["a"], [(1, 2)], output)
