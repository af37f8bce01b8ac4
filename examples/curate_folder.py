"""For data teams: curate a folder of videos and ask why pieces of it were turned away.

Usage: python examples/curate_folder.py WORKSPACE [FOLDER]

Without a folder, two talking puppets are rendered first, one of them with a planted defect.
"""

from __future__ import annotations

import sys
from pathlib import Path

from flows.catalogue import run_flow
from flows.summaries import CurateSummary
from tasks.environment import configure
from warehouse.query import fetch

WHY = """
select source_name, decision, reason, round(measured_value, 1) as measured, threshold
from curation_decisions where run_id = '{run_id}' order by source_name, decision
"""


def main(workspace: Path, folder: Path | None) -> None:
    """Curate, print the balance, then the story of every piece."""
    configure(workspace)
    folder = folder or render_puppets(workspace / "videos")
    summary = run_flow(
        "curate", {"workspace": workspace, "source": folder, "settings": {"min_segment_s": 2.0}}
    )
    assert isinstance(summary, CurateSummary)
    if summary.warehouse_problem:
        sys.exit(summary.warehouse_problem)
    print(f"{summary.sources_in} sources, {summary.clips} clips, {summary.seconds_accepted:.1f} s accepted")
    print(f"manifest: {summary.manifest}")
    columns, rows = fetch(
        workspace / "state" / "warehouse" / "warehouse.duckdb", WHY.format(run_id=summary.run_id)
    )
    for row in rows:
        print(
            ", ".join(
                f"{name} {value}" for name, value in zip(columns, row, strict=True) if value is not None
            )
        )


def render_puppets(folder: Path) -> Path:
    """A good reel and a blurred one, each a few seconds long; what is there already is kept."""
    from lipforcing_core.puppets.corpus import defect_plans, reel_plan
    from lipforcing_core.puppets.recording import render_clip

    folder.mkdir(parents=True, exist_ok=True)
    plans = {"good.mp4": reel_plan(0, 0, size=256), "blurred.mp4": defect_plans(0, size=256)["blurred"]}
    for name, plan in plans.items():
        if not (folder / name).is_file():
            render_clip(folder / name, plan)
    return folder


if __name__ == "__main__":
    if not 2 <= len(sys.argv) <= 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) == 3 else None)
