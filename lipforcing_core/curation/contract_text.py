"""The checks of a contract that fail, in lines for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lipforcing_core.base.names import printable, shortened
from lipforcing_core.curation.contract import Check

_LONGEST_EXAMPLE = 160

MEANINGS = {
    "people": "a person is in more than one split",
    "twins": "a clip repeats one of another split",
    "references": "a name leads nowhere",
    "rights": "a right is claimed that the licence excludes",
    "balance": "what came in is not what went out",
    "drift": "the run differs much from the one before",
}
"""What it means that a check of a table fails, where that is the same for all its checks."""


def failure_lines(checks: Sequence[Check], *, shown: int = 10) -> list[str]:
    """A line for each of these checks that breaks the contract: its name, what is wrong, how often, and examples.

    shown: the number of lines; one more says how many are left.
    """
    failing = [check for check in checks if not (check.success or check.only_warns)]
    lines = [_line(check) for check in failing[:shown]]
    more = len(failing) - shown
    return [*lines, f"{more} more check{'s' * (more > 1)}"] if more > 0 else lines


def stored_checks(contract: Mapping[str, Any]) -> list[Check]:
    """The checks in the object of a ``contract.json``; those are left out that no version has written so."""
    rows = contract.get("checks")
    return list(_checks(rows)) if isinstance(rows, list) else []


def _checks(rows: Sequence[Any]) -> Iterator[Check]:
    for row in rows:
        try:
            yield Check(
                table=str(row["table"]),
                expectation=str(row["expectation"]),
                column=row.get("column"),
                expected=str(row.get("expected", "")),
                success=bool(row["success"]),
                num_unexpected=int(row.get("num_unexpected", 0)),
                examples=tuple(map(str, row.get("examples", ()))),
                only_warns=bool(row.get("only_warns", False)),
            )
        except (AttributeError, KeyError, TypeError, ValueError):
            continue


def _line(check: Check) -> str:
    name = f"{check.table}: {check.expectation}" + (f" of {check.column}" if check.column else "")
    wrong = [MEANINGS[check.table]] if check.table in MEANINGS else []
    wrong += [check.expected] if check.expected else []
    if check.num_unexpected:
        wrong.append(f"{check.num_unexpected} time{'s' * (check.num_unexpected > 1)}")
    told = f"{name} ({'; '.join(wrong)})" if wrong else name
    if not check.examples:
        return printable(told)
    more = " and more" if check.num_unexpected > len(check.examples) else ""
    examples = ", ".join(shortened(example, _LONGEST_EXAMPLE) for example in check.examples)
    return printable(f"{told}: {examples}{more}")
