"""The contract of a manifest: Great Expectations checks over its rows, people, rights, books, and drift."""

from __future__ import annotations

import logging
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lipforcing_core.curation.drift import Drift
from lipforcing_core.curation.funnel import Balance
from lipforcing_core.curation.limits import MEASURES, Direction, direction_of, limit_of
from lipforcing_core.curation.manifest import arrow_schema
from lipforcing_core.curation.reasons import Stage
from lipforcing_core.curation.records import SPLITS, ClipRecord, Decision, SourceFacts, Status
from lipforcing_core.curation.settings import CurationSettings
from lipforcing_core.media.clock import FPS

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
    clips: Sequence[ClipRecord],
    decisions: Sequence[Decision],
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
    rows = pd.DataFrame([c.model_dump() for c in clips], columns=arrow_schema(ClipRecord).names)
    people = pd.DataFrame(_people(clips), columns=["identity", "leak"], dtype=object)
    twins = pd.DataFrame(_twins(clips, others or {}), columns=["clip_id", "leak"], dtype=object)
    named = pd.DataFrame(
        _references(clips, decisions, others or {}), columns=["name", "broken"], dtype=object
    )
    rights = pd.DataFrame(_rights(facts or {}), columns=["source", "contradiction"], dtype=object)
    tables = {
        "manifest": (rows, _manifest_expectations(settings, clips)),
        "balance": (pd.DataFrame([_books(counts, decisions)]), _balance_expectations()),
        "people": (people, _empty_column("leak")),
        "twins": (twins, _empty_column("leak")),
        "references": (named, _empty_column("broken")),
        "rights": (rights, _empty_column("contradiction")),
    }
    if drift is not None and drift.rows:
        values = pd.DataFrame([{row.what: row.value for row in drift.rows}], dtype=float)
        tables["drift"] = values, _drift_expectations(drift)
    checks: list[Check] = []
    for table, (frame, expectations) in tables.items():
        suite = context.suites.add(gx.ExpectationSuite(name=table, expectations=expectations))
        definition = data_source.add_dataframe_asset(table).add_batch_definition_whole_dataframe("all")
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


def _manifest_expectations(settings: CurationSettings, clips: Sequence[ClipRecord]) -> list[Any]:
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


def _people(clips: Sequence[ClipRecord]) -> list[dict[str, str | None]]:
    """A row for every known identity; ``leak`` says in which splits it stands if these are several."""
    splits: dict[str, set[str]] = defaultdict(set)
    for clip in clips:
        if clip.identity:
            splits[clip.identity].add(clip.split)
    return [
        {
            "identity": person,
            "leak": f"{person} is in {' and '.join(sorted(found))}" if len(found) > 1 else None,
        }
        for person, found in sorted(splits.items())
    ]


def _twins(clips: Sequence[ClipRecord], others: Mapping[str, str]) -> list[dict[str, str | None]]:
    """A row for every clip and what it repeats, or itself; ``leak`` says so if the two are in different splits.

    A clip with the same bytes of picture repeats another one, whether it is marked or not.
    """
    own = {clip.clip_id: clip.split for clip in clips}
    first: dict[str, str] = {}
    rows: list[dict[str, str | None]] = []
    for clip in clips:
        same_bytes = first.setdefault(clip.clip_sha256, clip.clip_id)
        for twin in sorted({clip.duplicate_of or same_bytes, same_bytes}):
            found = {table[twin] for table in (own, others) if twin in table} - {clip.split}
            leak = (
                f"{clip.clip_id} ({clip.split}) repeats {twin} ({', '.join(sorted(found))})"
                if found
                else None
            )
            rows.append({"clip_id": clip.clip_id, "leak": leak})
    return rows


def _references(
    clips: Sequence[ClipRecord], decisions: Sequence[Decision], others: Mapping[str, str]
) -> list[dict[str, str | None]]:
    """A row for every name of a clip or a source in another row; ``broken`` says why it leads nowhere."""
    place = {clip.clip_id: (clip.source, clip.start_frame, clip.stop_frame) for clip in clips}
    accepted = {d.clip_id: d for d in decisions if d.status is Status.ACCEPTED}
    sources = {decision.source for decision in decisions}
    rows: list[dict[str, str | None]] = []
    for clip_id in place:
        found = accepted.get(clip_id)
        broken = None
        if found is None:
            broken = f"clip {clip_id} of the manifest was accepted by no decision"
        elif (found.source, found.start_frame, found.stop_frame) != place[clip_id]:
            broken = f"clip {clip_id} is another piece in the decisions"
        rows.append({"name": clip_id, "broken": broken})
    for decision in accepted.values():
        clip_id = decision.clip_id or "without an id"
        broken = None if clip_id in place else f"the accepted clip {clip_id} is not in the manifest"
        rows.append({"name": clip_id, "broken": broken})
    repeats = [(clip.source, clip.duplicate_of) for clip in clips]
    repeats += [(decision.source, decision.duplicate_of) for decision in decisions]
    for source, twin in repeats:
        if twin is not None:
            known = twin in place or twin in others or twin in sources
            broken = None if known else f"{source} repeats {twin}, which is not there"
            rows.append({"name": twin, "broken": broken})
    return rows


def _rights(facts: Mapping[str, SourceFacts]) -> list[dict[str, str | None]]:
    """A row for every source; ``contradiction`` says which right is claimed against its licence."""
    return [
        {
            "source": name,
            "contradiction": f"{name}: {problem}" if (problem := known.rights_contradiction) else None,
        }
        for name, known in sorted(facts.items())
    ]


def _books(counts: Balance, decisions: Sequence[Decision]) -> dict[str, int]:
    accepted = [d for d in decisions if d.status is Status.ACCEPTED]
    return {
        **asdict(counts),
        "sources_out": counts.sources_accepted + counts.sources_rejected + counts.sources_quarantined,
        "frames_out": sum(d.num_frames for d in decisions) + counts.frames_trimmed,
        "accepted_decisions": len(accepted),
        "accepted_frames_decided": sum(d.num_frames for d in accepted),
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
