"""Speed rows of an evaluation, from the stage ledgers of the clips that a system generated."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from lipforcing_core.base.ledger import StageLedger
from lipforcing_core.metrics.measures.catalogue import speed_measures
from lipforcing_core.metrics.values import Cell, MetricValue, Unavailable, UndefinedMeasure


def speed_values(ledger: StageLedger) -> dict[str, float | str]:
    """Every speed measure by name: its value, or in words why it has none."""
    values: dict[str, float | str] = {}
    for measure in speed_measures():
        try:
            values[measure.name] = float(measure.compute(ledger))
        except UndefinedMeasure as problem:
            values[measure.name] = str(problem)
    return values


def speed_rows(
    ledgers: Mapping[tuple[str, str], StageLedger], *, protocol_id: str, machine: str
) -> tuple[list[MetricValue], list[Unavailable]]:
    """Per-clip rows from the ledgers of ``(system, clip_id)``; ``machine`` (hardware, threads) is their backend."""
    values: list[MetricValue] = []
    missing: list[Unavailable] = []
    for (system, clip_id), ledger in ledgers.items():
        for measure in speed_measures():
            cell = Cell(
                system=system,
                clip_id=clip_id,
                metric=measure.name,
                protocol_id=protocol_id,
                backend=machine,
            )
            row = cell.measured(partial(measure.compute, ledger), ledger.num_frames)
            if isinstance(row, MetricValue):
                values.append(row)
            else:
                missing.append(row)
    return values, missing
