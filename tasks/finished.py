"""Summaries of finished runs, so that a run that would change nothing answers at once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from lipforcing_core.base.products import content_key, read_json, write_json
from lipforcing_core.curation.assemble import CurationReport

SUMMARY = "summary.json"

S = TypeVar("S", bound=BaseModel)


def find_summary(folder: Path, keys: Sequence[str], kind: type[S]) -> S | None:
    """The summary in a run folder, if it is of these keys and every product is there as it was left."""
    try:
        stored = read_json(folder / SUMMARY)
        if stored["key"] != content_key(sorted(keys)):
            return None
        if any((folder / name).stat().st_size != size for name, size in stored["products"].items()):
            return None
        return kind.model_validate(stored["summary"])
    except (OSError, json.JSONDecodeError, KeyError, TypeError, AttributeError, ValidationError):
        return None


def keep_summary(folder: Path, keys: Sequence[str], summary: BaseModel, report: CurationReport) -> None:
    """Write the summary of a curation, with the names and sizes of its products."""
    files = [report.manifest, report.decisions, report.funnel_json, report.contract_json, report.data_docs]
    files += sorted((folder / "clips").iterdir())
    products = {file.relative_to(folder).as_posix(): file.stat().st_size for file in files}
    write_json(
        folder / SUMMARY,
        {
            "key": content_key(sorted(keys)),
            "products": products,
            "summary": summary.model_dump(mode="json"),
        },
    )
