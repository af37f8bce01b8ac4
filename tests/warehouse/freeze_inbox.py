"""Freeze what today's code makes of ``fixtures/inbox_vN``: ``python -m tests.warehouse.freeze_inbox N``.

Run it once, with the code of schema N, before the migration to N + 1 is written; the test of migrations then holds
every later version to it. The folder itself is copied from a real run, cut to a few rows of every table.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lipforcing_core.base.errors import BadInputError
from warehouse.digest import digest
from warehouse.loader import load
from warehouse.query import fetch
from warehouse.schema import SCHEMA_VERSION, inbox_tables

FIXTURES = Path(__file__).parent / "fixtures"


def frozen(inbox: Path) -> dict[str, Any]:
    """Rows, digests of what does not depend on a clock or a machine, and hashes of all columns, by table."""
    comparable = {
        name: [column.name for column in relation.columns if not column.volatile]
        for name, relation in inbox_tables().items()
        if not relation.volatile
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "w.duckdb"
        result = load(inbox, path)
        if result.quarantined:
            raise BadInputError(f"{inbox}: not all of it can be loaded: {result.quarantined}")
        digests = digest(path, columns=comparable)
        return {
            "schema_version": SCHEMA_VERSION,
            "num_rows": {name: result.rows[name] for name in inbox_tables()},
            "digests": {name: {"columns": comparable[name], "sha256": digests[name]} for name in comparable},
            "all_columns": {
                name: {
                    "columns": list(relation.arrow_schema.names),
                    "sha256": hash_of(path, name, relation.arrow_schema.names),
                }
                for name, relation in inbox_tables().items()
            },
        }


def hash_of(warehouse: Path, table: str, columns: Sequence[str]) -> str:
    """The hash of all rows of a table in these columns, volatile ones included."""
    sha = hashlib.sha256(repr(list(columns)).encode())
    for row in fetch(warehouse, f"select {', '.join(columns)} from {table} order by all")[1]:
        sha.update(repr(row).encode())
    return sha.hexdigest()


def main() -> None:
    """Write ``inbox_vN.json``; never over one that is there, and of no other version than today's."""
    if sys.argv[1:] != [str(SCHEMA_VERSION)]:
        raise SystemExit(f"this code writes schema {SCHEMA_VERSION} and can freeze no other")
    path = FIXTURES / f"inbox_v{SCHEMA_VERSION}.json"
    if path.exists():
        raise SystemExit(f"{path} is frozen and stays as it is")
    path.write_text(json.dumps(frozen(path.with_suffix("")), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
