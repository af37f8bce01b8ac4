"""What the end of an experiment shows on the terminal."""

from __future__ import annotations

from pathlib import Path

from apps.cli.show import ablation_table, headline_table
from flows.summaries import ScoreLine, TrainEvalSummary
from tasks.ablation_tables import AblationRow, AblationScore


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


def _row(variant: str, own: float | None, half: float | None, backend: str) -> AblationRow:
    low = None if own is None or half is None else own - half
    high = None if own is None or half is None else own + half
    values = {"Sync-C": 7.13, "Sync-D": 7.85, "FVD": 138.32, "SSIM": 0.916}
    scores = [
        AblationScore(metric=metric, published=printed, own=own, low=low, high=high, backend=backend)
        for metric, printed in values.items()
    ]
    return AblationRow(
        ablation="reward",
        variant=variant,
        label="in words",
        published_variant="1.3B",
        repetitions=3,
        clips=8,
        scores=scores,
    )


def test_printed_and_own_numbers_of_an_ablation_are_on_lines_of_their_own() -> None:
    rows = [_row("static", 5.2, 0.4, "random-conv-v1@seed0"), _row("windowed-reward", 5.0, None, "syncnet")]
    rows.append(_row("windowed", None, None, "syncnet"))
    table = ablation_table(rows)
    assert [str(c.header) for c in table.columns[:3]] == ["reward", "whose", "Sync-C*"]
    lines = list(zip(*(column.cells for column in table.columns), strict=True))
    assert lines == [
        ("static", "printed", "7.13", "7.85", "138.32", "0.916"),
        ("", "own", "5.20 ±0.40", "5.20 ±0.40", "5.20 ±0.40", "5.200 ±0.400"),
        ("windowed-reward", "printed", "7.13", "7.85", "138.32", "0.916"),
        ("", "own", "5.00", "5.00", "5.00", "5.000"),
        ("windowed", "printed", "7.13", "7.85", "138.32", "0.916"),
        ("", "own", "-", "-", "-", "-"),
    ]
    assert "3 seeds, 8 clips" in str(table.title)
    assert table.caption == "* own numbers by a stand-in network"
    assert ablation_table(rows[1:]).caption is None
