"""The checks of a contract that fail, as people read them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from lipforcing_core.curation.contract import Check
from lipforcing_core.curation.contract_text import failure_lines, stored_checks


def check(**changes: Any) -> Check:
    values: dict[str, Any] = {
        "table": "manifest",
        "expectation": "expect_column_values_to_be_between",
        "column": "quality",
        "expected": "min_value 8",
        "success": False,
        "num_unexpected": 7,
        "examples": ("1.5", "2.0"),
    }
    return Check(**(values | changes))


def test_a_line_says_which_check_what_how_often_and_where() -> None:
    assert failure_lines([check(), check(success=True), check(table="drift", only_warns=True)]) == [
        "manifest: expect_column_values_to_be_between of quality (min_value 8; 7 times): 1.5, 2.0 and more"
    ]
    books = check(table="balance", column=None, expected="", num_unexpected=0, examples=())
    assert failure_lines([books]) == [
        "balance: expect_column_values_to_be_between (what came in is not what went out)"
    ]
    assert failure_lines([check(table="drift")])[0].startswith("drift: "), "if the settings say that it fails"
    long = check(num_unexpected=1, examples=("x" * 500 + "\x1b",))
    assert failure_lines([long]) == [
        f"manifest: expect_column_values_to_be_between of quality (min_value 8; 1 time): {'x' * 160}..."
    ]


def test_of_many_checks_the_first_are_told() -> None:
    many = [check(column=f"c{number}") for number in range(5)]
    assert len(failure_lines(many, shown=5)) == 5
    assert failure_lines(many, shown=4)[-1] == "1 more check"
    assert failure_lines(many, shown=2)[-1] == "3 more checks"


def test_checks_come_back_from_a_stored_contract() -> None:
    rows = [asdict(check()), {"table": "people"}, 3, asdict(check(only_warns=True))]
    assert stored_checks({"checks": rows}) == [check(), check(only_warns=True)]
    older = {"table": "people", "expectation": "e", "success": False}
    assert failure_lines(stored_checks({"checks": [older]})) == [
        "people: e (a person is in more than one split)"
    ]
    assert stored_checks({}) == stored_checks({"checks": 3}) == []
