"""For analysts: the warehouse from Python, with DuckDB and pandas.

Usage: python examples/ask_warehouse.py WORKSPACE

A workspace in which nothing has run yet gets a warehouse with the published numbers of the paper alone.
"""

from __future__ import annotations

import sys
from pathlib import Path

import duckdb

from warehouse.loader import rebuild

QUESTIONS = {
    "Who leads the paper's main table in lip sync, and how fast are they?": """
        select method, variant, sync_c, fps from paper_main_hdtf
        where origin = 'published' and sync_c is not null order by sync_c desc limit 5
    """,
    "Which published systems does nobody beat in both speed and FVD (lower is better)?": """
        select label, fps, quality as fvd from pareto
        where origin = 'published' and quality_metric = 'FVD' and on_frontier order by fps desc
    """,
    "How does each system of the runs in this workspace rank in lip sync?": """
        select run_id, label, place, round(value, 2) as sync_c, backend from leaderboard
        where metric = 'sync_c' order by dataset_id, protocol_id, backend, place nulls last
    """,
}


def main(workspace: Path) -> None:
    """Open the snapshot read-only and print an answer for each question."""
    snapshot = workspace / "state" / "warehouse" / "warehouse.duckdb"
    if not snapshot.is_file():
        rebuild(workspace / "state" / "warehouse" / "inbox", snapshot)
    with duckdb.connect(str(snapshot), read_only=True) as warehouse:
        for question, query in QUESTIONS.items():
            print(question)
            answer = warehouse.sql(query).df()
            print("(nothing yet)" if answer.empty else answer.to_string(index=False), end="\n\n")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
