"""The contract of a manifest: Great Expectations checks over its rows, people, rights, books, and drift."""

from __future__ import annotations

import logging
import os
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from lipforcing_core.base.packed_rows import batches
from lipforcing_core.curation.drift import Drift
from lipforcing_core.curation.funnel import Balance
from lipforcing_core.curation.limits import MEASURES, Direction, direction_of, limit_of
from lipforcing_core.curation.manifest import BATCH_ROWS, arrow_schema, table_of
from lipforcing_core.curation.reasons import Stage
from lipforcing_core.curation.records import SPLITS, ClipRecord, Decision, SourceFacts, Status
from lipforcing_core.curation.settings import CurationSettings
from lipforcing_core.media.clock import FPS

if TYPE_CHECKING:
    import pandas as pd

Pair = tuple[str, str | None]
"""A name, and what is wrong with it; None where nothing is."""
_Table = tuple["pd.DataFrame", list[Any]]
"""Rows, and what is expected of them."""

MAX_CELLS = 500_000
"""So many values of the manifest stand in one frame; in pandas a text takes about 100 bytes."""
_EXAMPLES = 5
_NATURAL_BOUNDS: dict[str, tuple[float | None, float | None]] = {
    "loudness_dbfs": (None, 3.1),
    "speech_share": (0, 1),
    "detected_fraction": (0, 1),
    "absent_frames": (0, None),
    "yaw_deg": (0, 90),
    "lips_outside": (0, 1),
    "longest_repeat_frames": (0, None),
    "repeated_fraction": (0, 1),
    "sync_distance": (0, None),
}
"""What a score can be at all; resampling and folding of channels may lift a loud sound above 0 dBFS."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One expectation: on which table, what it expects, whether it holds, and rows that break it.

    only_warns: whether it is told and breaks nothing, as the drift against the run before.
    """

    table: str
    expectation: str
    column: str | None
    expected: str
    success: bool
    num_unexpected: int
    examples: tuple[str, ...]
    only_warns: bool = False


@dataclass(frozen=True, kw_only=True)
class ContractResult:
    """The verdict of all checks; ``num_checks`` and ``num_failed`` count those that can break the contract.

    drift: the comparisons with the run before; None where nobody asked for them.
    """

    success: bool
    num_checks: int
    num_failed: int
    checks: tuple[Check, ...]
    num_warnings: int = 0
    drift: Drift | None = None

    @property
    def failures(self) -> tuple[Check, ...]:
        """The checks that do not hold and break the contract."""
        return tuple(check for check in self.checks if not (check.success or check.only_warns))


def check_contract(
    clips: Collection[ClipRecord],
    decisions: Collection[Decision],
    counts: Balance,
    settings: CurationSettings,
    facts: Mapping[str, SourceFacts] | None = None,
    others: Mapping[str, str] | None = None,
    drift: Drift | None = None,
) -> ContractResult:
    """Validate the manifest's rows against the settings, and the books: everything that came in has gone out.

    Manifest and decisions must name the same clips, and nothing may repeat what is not there.
    Nobody and no near-duplicate may be in two splits, and no fact of a source (``facts``, by name) may claim a right
    that its licence excludes. ``others``: the splits of clips of other data sets that near-duplicates may repeat.
    ``drift`` against the run before only warns, unless the settings say that it fails.
    """
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    import great_expectations as gx
    import pandas as pd
    from great_expectations.data_context.types.base import ProgressBarsConfig

    for chatty in ("great_expectations", "great_expectations.data_context.types.base"):
        logging.getLogger(chatty).setLevel(logging.ERROR)
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False, metric_calculations=False)
    data_source = context.data_sources.add_pandas("curation")

    def pairs(rows: Iterable[Pair], name: str, trouble: str) -> _Table:
        frame = pd.DataFrame.from_records(list(rows), columns=[name, trouble]).astype(object)
        return frame, _empty_column(trouble)

    def tables() -> Iterator[tuple[str, _Table]]:
        for part in _manifest_parts(clips, _manifest_expectations(settings, clips)):
            yield "manifest", part
        yield "balance", (pd.DataFrame([_books(counts, decisions)]), _balance_expectations())
        yield "people", pairs(_people(clips), "identity", "leak")
        yield "twins", pairs(_twins(clips, others or {}), "clip_id", "leak")
        yield "references", pairs(_references(clips, decisions, others or {}), "name", "broken")
        yield "rights", pairs(_rights(facts or {}), "source", "contradiction")
        if drift is not None and drift.rows:
            values = pd.DataFrame([{row.what: row.value for row in drift.rows}], dtype=float)
            yield "drift", (values, _drift_expectations(drift))

    checks: list[Check] = []
    for number, (table, (frame, expectations)) in enumerate(tables()):
        suite = context.suites.add(gx.ExpectationSuite(name=f"{table} {number}", expectations=expectations))
        asset = data_source.add_dataframe_asset(f"{table} {number}")
        definition = asset.add_batch_definition_whole_dataframe("all")
        result = definition.get_batch({"dataframe": frame}).validate(suite)
        outcome = result.to_json_dict()  # type: ignore[no-untyped-call]
        only_warns = table == "drift" and settings.drift == "warn"
        checks += [_check(table, entry, only_warns=only_warns) for entry in outcome["results"]]
    checks.sort(key=lambda c: (c.table, c.expectation, c.column or "", c.expected))
    failed = sum(not (check.success or check.only_warns) for check in checks)
    return ContractResult(
        success=failed == 0,
        num_checks=sum(not check.only_warns for check in checks),
        num_failed=failed,
        checks=tuple(checks),
        num_warnings=sum(check.only_warns and not check.success for check in checks),
        drift=drift,
    )


def score_bounds(
    settings: CurationSettings, quality_backends: Iterable[str | None] = ()
) -> dict[str, tuple[float | None, float | None]]:
    """Least and largest value of every score of an accepted clip that has a limit or a natural bound.

    The limits are those of ``limits.MEASURES``. quality_backends: what rated the clips; the direction of the picture
    quality follows them, or else the scorer of the settings. A backend that tells no direction has no limit.
    """
    stored = settings.model_dump()
    raters = set(filter(None, quality_backends)) or {settings.quality}
    bounds = dict(_NATURAL_BOUNDS)
    for measure in MEASURES:
        limit = limit_of(measure, stored)
        if limit is None or (measure.stage is Stage.SYNC and not settings.sync_filter):
            continue
        low, high = bounds.get(measure.score, (None, None))
        directions = {direction_of(measure, {"quality": rater}) for rater in raters}
        if Direction.HIGHER in directions:
            low = limit
        if Direction.LOWER in directions:
            high = limit
        if Direction.ZERO in directions:
            low, high = 0.0 - limit, limit
        bounds[measure.score] = low, high
    return {score: pair for score, pair in bounds.items() if pair != (None, None)}


def _manifest_parts(clips: Collection[ClipRecord], expectations: list[Any]) -> Iterator[_Table]:
    """The expectations with the columns that they need; many rows come in several frames of a few columns each."""
    names = arrow_schema(ClipRecord).names
    most = max(MAX_CELLS // max(len(clips), 1), 1)
    parts: list[tuple[set[str], list[Any]]] = []
    for expectation in expectations:
        needed = _columns_of(expectation)
        fitting = (part for part in parts if len(part[0] | needed) <= most)
        columns, own = next(fitting, None) or (set(), [])
        if not own:
            parts.append((columns, own))
        columns |= needed
        own.append(expectation)
    used = set().union(*(columns for columns, _ in parts))
    schema = pa.schema([field for field in arrow_schema(ClipRecord) if field.name in used])
    tables = [table_of(some, schema) for some in batches(clips, BATCH_ROWS)]
    rows = pa.concat_tables(tables) if tables else schema.empty_table()
    del tables
    for columns, own in parts:
        yield rows.select([name for name in names if name in columns]).to_pandas(), own


def _columns_of(expectation: Any) -> set[str]:
    """The columns that an expectation looks at."""
    told = expectation.model_dump() if hasattr(expectation, "model_dump") else expectation.dict()
    several = told.get("column_list") or []
    return {*several, *filter(None, (told.get(name) for name in ("column", "column_A", "column_B")))}


def _manifest_expectations(settings: CurationSettings, clips: Iterable[ClipRecord]) -> list[Any]:
    from great_expectations import expectations as gxe

    between, among = gxe.ExpectColumnValuesToBeBetween, gxe.ExpectColumnValuesToBeInSet
    required = [f.name for f in arrow_schema(ClipRecord) if not f.nullable]
    bounds = score_bounds(settings, {clip.scores.quality_backend for clip in clips})
    return [
        gxe.ExpectTableColumnsToMatchOrderedList(column_list=arrow_schema(ClipRecord).names),
        *(gxe.ExpectColumnValuesToNotBeNull(column=name) for name in required),
        gxe.ExpectColumnValuesToBeUnique(column="clip_id"),
        gxe.ExpectColumnValuesToBeUnique(column="clip_path"),
        gxe.ExpectCompoundColumnsToBeUnique(column_list=["source", "start_frame"]),
        gxe.ExpectColumnPairValuesAToBeGreaterThanB(column_A="stop_frame", column_B="start_frame"),
        gxe.ExpectColumnValuesToMatchRegex(column="clip_id", regex="^[0-9a-f]{16}$"),
        gxe.ExpectColumnValuesToMatchRegex(column="source_sha256", regex="^[0-9a-f]{64}$"),
        among(column="split", value_set=list(SPLITS)),
        between(column="num_frames", min_value=settings.min_frames, max_value=settings.max_frames),
        between(
            column="seconds",
            min_value=settings.min_frames / int(FPS),
            max_value=settings.max_frames / int(FPS),
        ),
        among(column="num_lossy_encodes", value_set=[1]),
        *(between(column=score, min_value=low, max_value=high) for score, (low, high) in bounds.items()),
    ]


def _drift_expectations(drift: Drift) -> list[Any]:
    from great_expectations import expectations as gxe

    return [gxe.ExpectColumnValuesToBeBetween(column=row.what, max_value=row.limit) for row in drift.rows]


def _balance_expectations() -> list[Any]:
    from great_expectations import expectations as gxe

    pairs = [
        ("sources_in", "sources_out"),
        ("frames_in", "frames_out"),
        ("clips", "accepted_decisions"),
        ("frames_accepted", "accepted_frames_decided"),
    ]
    return [gxe.ExpectColumnPairValuesToBeEqual(column_A=a, column_B=b) for a, b in pairs]


def _empty_column(name: str) -> list[Any]:
    from great_expectations import expectations as gxe

    return [gxe.ExpectColumnValuesToBeNull(column=name)]


def _people(clips: Iterable[ClipRecord]) -> Iterator[Pair]:
    """A row for every known identity; ``leak`` says in which splits it stands if these are several."""
    splits: dict[str, set[str]] = defaultdict(set)
    for clip in clips:
        if clip.identity:
            splits[clip.identity].add(clip.split)
    for person, found in sorted(splits.items()):
        yield person, f"{person} is in {' and '.join(sorted(found))}" if len(found) > 1 else None


def _twins(clips: Iterable[ClipRecord], others: Mapping[str, str]) -> Iterator[Pair]:
    """A row for every clip and what it repeats, or itself; ``leak`` says so if the two are in different splits.

    A clip with the same bytes of picture repeats another one, whether it is marked or not.
    """
    own = {clip.clip_id: clip.split for clip in clips}
    first: dict[str, str] = {}
    for clip in clips:
        same_bytes = first.setdefault(clip.clip_sha256, clip.clip_id)
        for twin in sorted({clip.duplicate_of or same_bytes, same_bytes}):
            found = {table[twin] for table in (own, others) if twin in table} - {clip.split}
            leak = (
                f"{clip.clip_id} ({clip.split}) repeats {twin} ({', '.join(sorted(found))})"
                if found
                else None
            )
            yield clip.clip_id, leak


def _references(
    clips: Iterable[ClipRecord], decisions: Iterable[Decision], others: Mapping[str, str]
) -> Iterator[Pair]:
    """A row for every name of a clip or a source in another row; ``broken`` says why it leads nowhere."""
    place = {clip.clip_id: (clip.source, clip.start_frame, clip.stop_frame) for clip in clips}
    accepted: dict[str | None, tuple[str, int, int]] = {}
    sources: set[str] = set()
    for decision in decisions:
        sources.add(decision.source)
        if decision.status is Status.ACCEPTED:
            accepted[decision.clip_id] = (decision.source, decision.start_frame, decision.stop_frame)
    for clip_id in place:
        found = accepted.get(clip_id)
        broken = None
        if found is None:
            broken = f"clip {clip_id} of the manifest was accepted by no decision"
        elif found != place[clip_id]:
            broken = f"clip {clip_id} is another piece in the decisions"
        yield clip_id, broken
    for given in accepted:
        clip_id = given or "without an id"
        yield clip_id, None if clip_id in place else f"the accepted clip {clip_id} is not in the manifest"
    for row in chain[ClipRecord | Decision](clips, decisions):
        if (twin := row.duplicate_of) is not None:
            known = twin in place or twin in others or twin in sources
            yield twin, None if known else f"{row.source} repeats {twin}, which is not there"


def _rights(facts: Mapping[str, SourceFacts]) -> Iterator[Pair]:
    """A row for every source; ``contradiction`` says which right is claimed against its licence."""
    for name, known in sorted(facts.items()):
        yield name, f"{name}: {problem}" if (problem := known.rights_contradiction) else None


def _books(counts: Balance, decisions: Iterable[Decision]) -> dict[str, int]:
    num_frames = num_accepted = accepted_frames = 0
    for decision in decisions:
        num_frames += decision.num_frames
        if decision.status is Status.ACCEPTED:
            num_accepted += 1
            accepted_frames += decision.num_frames
    return {
        **asdict(counts),
        "sources_out": counts.sources_accepted + counts.sources_rejected + counts.sources_quarantined,
        "frames_out": num_frames + counts.frames_trimmed,
        "accepted_decisions": num_accepted,
        "accepted_frames_decided": accepted_frames,
    }


def _check(table: str, entry: dict[str, Any], *, only_warns: bool = False) -> Check:
    config, result = entry["expectation_config"], entry.get("result") or {}
    kwargs = {k: v for k, v in config["kwargs"].items() if k != "batch_id" and v is not None}
    column = kwargs.pop("column", None) or ", ".join(
        str(kwargs[k]) for k in ("column_A", "column_B") if k in kwargs
    )
    expected = "; ".join(
        f"{key} {_short(value)}" for key, value in sorted(kwargs.items()) if not key.startswith("column_")
    )
    unexpected = result.get("partial_unexpected_list") or []
    count = result.get("unexpected_count")
    if "observed_value" in result and not entry["success"]:
        unexpected, count = [result["observed_value"]], 1
    return Check(
        table=table,
        expectation=config["type"],
        column=column or None,
        expected=expected,
        success=bool(entry["success"]),
        num_unexpected=int(count or 0),
        examples=tuple(str(value) for value in unexpected[:_EXAMPLES]),
        only_warns=only_warns,
    )


def _short(value: Any) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."
