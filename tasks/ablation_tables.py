"""The tables of a grid as the paper lays them out: printed and own numbers side by side, for people and machines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from lipforcing_core.base.products import atomic_path
from lipforcing_core.presets.ablations import ABLATIONS

METRICS = ("Sync-C", "Sync-D", "FVD", "SSIM")
"""By the paper's names, in the order of its tables."""

DIGITS = {"Sync-C": 2, "Sync-D": 2, "FVD": 2, "SSIM": 3}
"""As many as the paper prints."""


class AblationScore(BaseModel):
    """A printed number, and the own one that stands beside it: mean and 95 % interval over the repetitions.

    The own one is None where it could not be measured, its interval below three repetitions.
    """

    model_config = ConfigDict(frozen=True)

    metric: str
    published: float
    own: float | None
    low: float | None
    high: float | None
    backend: str | None


class AblationRow(BaseModel):
    """A row of a table; ``ablation`` is the name of that, ``repetitions`` how many trainings the own numbers are of."""

    model_config = ConfigDict(frozen=True)

    ablation: str
    variant: str
    label: str
    published_variant: str
    repetitions: int
    clips: int
    scores: list[AblationScore]

    def score(self, metric: str) -> AblationScore | None:
        """The pair of numbers of a metric; None where the table prints none."""
        return next((score for score in self.scores if score.metric == metric), None)


class Contrast(BaseModel):
    """A difference of two rows, b minus a, as the paper prints it and as the own models show it."""

    model_config = ConfigDict(frozen=True)

    ablation: str
    label_a: str
    label_b: str
    metric: str
    published: float
    own: float
    low: float | None
    high: float | None
    verdict: str


class AblationTables(BaseModel):
    """What the warehouse holds of some ablations of a grid."""

    model_config = ConfigDict(frozen=True)

    preset: str
    rows: list[AblationRow]
    contrasts: list[Contrast]

    @property
    def backends(self) -> list[str]:
        """Metric and backend of all own numbers."""
        pairs = {(s.metric, s.backend) for row in self.rows for s in row.scores if s.backend}
        return [f"{metric}: {backend}" for metric, backend in sorted(pairs)]


def read_tables(warehouse: Path, grid: str, preset: str, ablations: Sequence[str]) -> AblationTables:
    """The rows and differences of these ablations of a grid, in the printed order."""
    rows = []
    found = _ask(warehouse, "ablation_results", grid, ablations, "position, list_position($metrics, metric)")
    for _, group in groupby(found, key=lambda row: (row["ablation"], row["position"])):
        own = list(group)
        first = own[0]
        rows.append(
            AblationRow(
                ablation=first["ablation"],
                variant=first["variant"],
                label=first["label"],
                published_variant=first["published_variant"],
                repetitions=_fewest(row["own_repetitions"] for row in own),
                clips=_fewest(row["own_clips"] for row in own),
                scores=[
                    AblationScore(
                        metric=row["metric"],
                        published=row["published_value"],
                        own=row["own_value"],
                        low=row["own_ci_low"],
                        high=row["own_ci_high"],
                        backend=row["own_backend"],
                    )
                    for row in own
                ],
            )
        )
    differences = _ask(
        warehouse,
        "ablation_contrasts",
        grid,
        ablations,
        "position_a, position_b, list_position($metrics, metric)",
    )
    return AblationTables(
        preset=preset,
        rows=rows,
        contrasts=[
            Contrast(
                ablation=row["ablation"],
                label_a=row["label_a"],
                label_b=row["label_b"],
                metric=row["metric"],
                published=row["published_difference"],
                own=row["own_difference"],
                low=row["own_ci_low"],
                high=row["own_ci_high"],
                verdict=row["verdict"],
            )
            for row in differences
        ],
    )


def write_markdown(tables: AblationTables, path: Path) -> None:
    """The tables, then the differences, as Markdown."""
    with atomic_path(path) as temporary:
        temporary.write_text("\n".join(_lines(tables)) + "\n", encoding="utf-8")


def own_words(score: AblationScore | None) -> str:
    """Mean and interval of the own number as a cell; ``-`` where there is none."""
    if score is None or score.own is None:
        return "-"
    digits = DIGITS[score.metric]
    words = f"{score.own:z.{digits}f}"
    return words if score.low is None else f"{words} [{score.low:z.{digits}f}, {score.high:z.{digits}f}]"


def short_words(score: AblationScore | None) -> str:
    """As ``own_words``, with half the interval after a sign."""
    if score is None or score.own is None or score.low is None or score.high is None:
        return own_words(score)
    digits = DIGITS[score.metric]
    return f"{score.own:z.{digits}f} \N{PLUS-MINUS SIGN}{(score.high - score.low) / 2:.{digits}f}"


def published_words(score: AblationScore | None) -> str:
    """The printed number as a cell; ``-`` where the table prints none."""
    return "-" if score is None else f"{score.published:z.{DIGITS[score.metric]}f}"


def _lines(tables: AblationTables) -> list[str]:
    lines = [
        "Printed: one training of the paper's 1.3B student on HDTF_short (33 clips). Own: mean over repetitions of the "
        f"training of preset {tables.preset}, [95 % interval over repetitions, from three on]. Models, data and "
        "networks differ: compare directions, not sizes.",
        "",
        f"Own backends: {'; '.join(tables.backends)}",
    ]
    for name, group in groupby(tables.rows, key=lambda row: row.ablation):
        heads = [f"{metric} {whose}" for metric in METRICS for whose in ("printed", "own")]
        lines += ["", f"### {name}: {ABLATIONS[name].summary}", ""]
        lines += [f"| | {' | '.join(heads)} | own repetitions, clips |"]
        lines += ["| --- |" + " ---: |" * (len(heads) + 1)]
        for row in group:
            cells = [words(row.score(metric)) for metric in METRICS for words in (published_words, own_words)]
            lines += [f"| {row.label} | {' | '.join(cells)} | {row.repetitions}, {row.clips} |"]
    lines += ["", "### Differences, second minus first", ""]
    lines += ["| table | first | second | metric | printed | own | verdict |"]
    lines += ["| --- | --- | --- | --- | ---: | ---: | --- |"]
    for pair in tables.contrasts:
        digits = DIGITS[pair.metric]
        own = f"{pair.own:+z.{digits}f}"
        if pair.low is not None:
            own += f" [{pair.low:+z.{digits}f}, {pair.high:+z.{digits}f}]"
        lines += [
            f"| {pair.ablation} | {pair.label_a} | {pair.label_b} | {pair.metric} | {pair.published:+z.{digits}f} "
            f"| {own} | {pair.verdict} |"
        ]
    return lines


def _fewest(counts: Iterable[int | None]) -> int:
    """The smallest of those that are known; 0 where none is."""
    return min((count for count in counts if count is not None), default=0)


def _ask(warehouse: Path, view: str, grid: str, ablations: Sequence[str], order: str) -> list[dict[str, Any]]:
    """The rows of a view that are of a grid and of these ablations."""
    from warehouse.connection import read_rows

    return read_rows(
        warehouse,
        f"from {view} where grid = $grid and list_contains($ablations, ablation) "
        f"order by list_position($ablations, ablation), {order}",
        {"grid": grid, "ablations": list(ablations), "metrics": list(METRICS)},
    )
