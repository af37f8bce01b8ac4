"""What the end of an experiment shows on the terminal."""

from __future__ import annotations

from pathlib import Path

from apps.cli.show import headline_table
from flows.summaries import ScoreLine, TrainEvalSummary


def _summary(fid_backend: str) -> TrainEvalSummary:
    values = (("sync_c", 5.0, "syncnet"), ("fid", 123.456, fid_backend), ("psnr", 30.0, "pixels-v1"))
    return TrainEvalSummary(
        run_id="r",
        curation=None,
        num_clips=3,
        held_out="clips of somewhere",
        systems={"ours": "Our [bold]student"},
        scores=[
            ScoreLine(system="ours", metric=metric, value=value, n=3, backend=backend)
            for metric, value, backend in values
        ],
        videos=[],
        models=Path("models"),
        report=Path("report.html"),
    )


def test_a_star_marks_the_scores_of_stand_in_networks_alone() -> None:
    table = headline_table(_summary("random-conv-v1@seed0"))
    titles = [str(column.header) for column in table.columns]
    assert titles == ["system", "Sync-C", "Sync-D", "lip r", "SSIM lips", "FID*", "FPS", "TTFF s"]
    assert [next(column.cells) for column in table.columns] == [
        "Our \\[bold]student", "5.00", "-", "-", "-", "123.5", "-", "-",
    ]  # fmt: skip
    assert table.title == "3 held-out clips: clips of somewhere"
    assert table.caption == "* by a stand-in network, see the report"
    learned = headline_table(_summary("inception-v3-fid@1234"))
    assert "FID" in [column.header for column in learned.columns]
    assert learned.caption is None
