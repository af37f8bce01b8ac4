"""The header of a Hugging Face data-set card: YAML that the hub and ``datasets`` read.

Every value is written as JSON, which is YAML too, so no text can leave its place.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from lipforcing_core.base.licences import spdx_id
from lipforcing_core.base.names import printable
from lipforcing_core.export.card import Card, known

HUB_LICENCES = frozenset(
    {
        "apache-2.0", "bsd-2-clause", "bsd-3-clause", "cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-4.0",
        "cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0", "cc-by-nc-sa-2.0",
        "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0", "cc-by-nd-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0", "cc0-1.0",
        "cdla-permissive-2.0", "isc", "mit", "odbl", "odc-by", "pddl", "unlicense", "zlib",
    }
)  # fmt: skip
"""The identifiers that the hub knows, of the licences that ``spdx_id`` can name."""

_HUB_NAMES = {"odbl-1.0": "odbl", "odc-by-1.0": "odc-by", "pddl-1.0": "pddl"}
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
_LANGUAGE = re.compile(r"[a-z]{2,3}")


def card_header(
    card: Card,
    *,
    name: str,
    splits: Mapping[str, tuple[int, int]],
    features: Mapping[str, Mapping[str, Any]],
) -> str:
    """The lines before the card's text.

    splits: by name, the number of rows and of bytes. features: as ``datasets`` describes the columns.
    """
    values: dict[str, Any] = {"pretty_name": printable(name)}
    licences = [hub_licence(share.value) for share in card.licences]
    values["license"] = sorted(set(licences))
    if values["license"] == ["other"]:
        values["license_name"] = _slug(known(card.licences))
    if languages := language_codes(known(card.languages)):
        values["language"] = languages
    num_bytes = sum(size for _, size in splits.values())
    values |= {
        "task_categories": ["video-to-video"],
        "tags": ["video", "audio", "lip-sync", "talking-head"],
        "size_categories": [size_category(card.num_clips)],
        "configs": [
            {
                "config_name": "default",
                "data_files": [{"split": split, "path": f"data/{split}-*"} for split in splits],
            }
        ],
        "dataset_info": {
            "features": [_feature(column, told) for column, told in features.items()],
            "splits": [
                {"name": split, "num_bytes": size, "num_examples": rows}
                for split, (rows, size) in splits.items()
            ],
            "download_size": num_bytes,
            "dataset_size": num_bytes,
        },
    }
    return "\n".join(["---", *_lines(values), "---", "", ""])


def hub_licence(licence: str | None) -> str:
    """The hub's identifier of a licence; ``unknown`` where none is stated, ``other`` for one that it does not list."""
    if licence is None:
        return "unknown"
    name = (spdx_id(licence) or "").lower()
    name = _HUB_NAMES.get(name, name)
    return name if name in HUB_LICENCES else "other"


def language_codes(languages: Iterable[str]) -> list[str]:
    """The ISO 639 codes among what a corpus calls its languages: ``en`` of ``en-US``; names have no place there."""
    codes = (re.split(r"[-_]", language.lower())[0] for language in languages)
    return sorted({code for code in codes if _LANGUAGE.fullmatch(code)})


def size_category(num_rows: int) -> str:
    """The hub's class of sizes."""
    return next((words for limit, words in _SIZES if num_rows < limit), "n>1M")


def _lines(values: Mapping[str, Any], indent: str = "") -> Iterator[str]:
    """Lines of YAML: a key each, an item of a list each, and everything below as JSON."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield f"{indent}{key}:"
            yield from _lines(value, f"{indent}  ")
        elif isinstance(value, list):
            yield f"{indent}{key}:"
            yield from (f"{indent}- {json.dumps(item, ensure_ascii=False)}" for item in value)
        else:
            yield f"{indent}{key}: {json.dumps(value, ensure_ascii=False)}"


def _slug(licences: list[str]) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", " ".join(licences).lower()).strip("-")


def _feature(name: str, told: Mapping[str, Any]) -> dict[str, Any]:
    """A column as the header has it: ``dtype: string``, or ``dtype: {audio: {sampling_rate: 16000}}``."""
    options = {key: value for key, value in told.items() if key != "_type"}
    if told["_type"] == "Value":
        return {"name": name, **options}
    kind = str(told["_type"]).lower()
    return {"name": name, "dtype": {kind: options} if options else kind}
