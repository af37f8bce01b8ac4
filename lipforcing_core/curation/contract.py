"""The contract of a manifest: Great Expectations checks over its rows, people, rights and the balance of the funnel."""

from __future__ import annotations

import logging
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lipforcing_core.curation.funnel import Balance
from lipforcing_core.curation.manifest import arrow_schema
from lipforcing_core.curation.records import SPLITS, ClipRecord, Decision, SourceFacts, Status
from lipforcing_core.curation.settings import CurationSettings
from lipforcing_core.media.clock import FPS

_EXAMPLES = 5


@dataclass(frozen=True, kw_only=True)
class Check:
    """One expectation: on which table, what it expects, whether it holds, and rows that break it."""

    table: str
    expectation: str
    column: str | None
    expected: str
    success: bool
    num_unexpected: int
    examples: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class ContractResult:
    """The verdict of all checks."""

    success: bool
    num_checks: int
    num_failed: int
    checks: tuple[Check, ...]

    @property
    def failures(self) -> tuple[Check, ...]:
        """The checks that do not hold."""
        return tuple(check for check in self.checks if not check.success)


def check_contract(
    clips: Sequence[ClipRecord],
    decisions: Sequence[Decision],
    counts: Balance,
    settings: CurationSettings,
    facts: Mapping[str, SourceFacts] | None = None,
    others: Mapping[str, str] | None = None,
) -> ContractResult:
    """Validate the manifest's rows against the settings, and the books: everything that came in has gone out.

    Nobody and no near-duplicate may be in two splits, and no fact of a source (``facts``, by name) may claim a right
    that its licence excludes. ``others``: the splits of clips of other data sets that near-duplicates may repeat.
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
    frames = {
        "manifest": pd.DataFrame([c.model_dump() for c in clips], columns=arrow_schema(ClipRecord).names),
        "balance": pd.DataFrame([_books(counts, decisions)]),
        "people": pd.DataFrame(_people(clips), columns=["identity", "leak"], dtype=object),
        "twins": pd.DataFrame(_twins(clips, others or {}), columns=["clip_id", "leak"], dtype=object),
        "rights": pd.DataFrame(_rights(facts or {}), columns=["source", "contradiction"], dtype=object),
    }
    suites = {
        "manifest": _manifest_expectations(settings),
        "balance": _balance_expectations(),
        "people": _empty_column("leak"),
        "twins": _empty_column("leak"),
        "rights": _empty_column("contradiction"),
    }
    checks: list[Check] = []
    for table, frame in frames.items():
        suite = context.suites.add(gx.ExpectationSuite(name=table, expectations=suites[table]))
        definition = data_source.add_dataframe_asset(table).add_batch_definition_whole_dataframe("all")
        result = definition.get_batch({"dataframe": frame}).validate(suite)
        outcome = result.to_json_dict()  # type: ignore[no-untyped-call]
        checks += [_check(table, entry) for entry in outcome["results"]]
    checks.sort(key=lambda c: (c.table, c.expectation, c.column or "", c.expected))
    failed = sum(not check.success for check in checks)
    return ContractResult(
        success=failed == 0, num_checks=len(checks), num_failed=failed, checks=tuple(checks)
    )


def _manifest_expectations(settings: CurationSettings) -> list[Any]:
    from great_expectations import expectations as gxe

    between, among = gxe.ExpectColumnValuesToBeBetween, gxe.ExpectColumnValuesToBeInSet
    offset = settings.max_abs_offset_frames
    required = [f.name for f in arrow_schema(ClipRecord) if not f.nullable]
    in_sync = [
        between(column="sync_confidence", min_value=settings.sync_confidence_min),
        between(column="av_offset_measured", min_value=-offset, max_value=offset),
        among(column="av_offset_remaining", value_set=[0]),
    ]
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
        between(column="loudness_dbfs", min_value=settings.silence_dbfs, max_value=3.1),
        between(column="detected_fraction", min_value=settings.min_detected_fraction, max_value=1),
        between(column="absent_frames", min_value=0, max_value=settings.max_absent_frames),
        between(column="face_height_px", min_value=settings.min_face_height_px),
        between(column="sync_distance", min_value=0),
        among(column="num_lossy_encodes", value_set=[1]),
        *(in_sync if settings.sync_filter else []),
    ]


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


def _check(table: str, entry: dict[str, Any]) -> Check:
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
    )


def _short(value: Any) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."
