"""Rows of the dimension tables that come straight from the library: metrics and protocols."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lipforcing_core.base.products import as_json
from lipforcing_core.metrics.registry import METRICS

if TYPE_CHECKING:
    from lipforcing_core.metrics.protocol import Protocol


def metric_rows() -> list[dict[str, Any]]:
    """A row of the table metrics for every metric the library knows."""
    return [
        {
            "metric": spec.name,
            "label": spec.label,
            "definition": spec.definition,
            "version": spec.version,
            "scope": spec.scope.value,
            "computed_by": spec.backend.value,
            "unit": spec.unit,
            "higher_is_better": spec.higher_is_better,
            "published_name": spec.published_name,
            "is_wall_clock": spec.is_wall_clock,
        }
        for spec in METRICS.values()
    ]


def protocol_row(protocol: Protocol, *, paper_table: str | None = None) -> dict[str, Any]:
    """A row of the table protocols. ``paper_table`` claims that a table of the paper was made the same way."""
    return {
        "protocol_id": protocol.id,
        "description": protocol.description,
        "crop_mode": protocol.crop_mode.value,
        "crop_size_px": protocol.size,
        "alignment": protocol.alignment,
        "resize_filter": protocol.resize_filter,
        "frame_window": protocol.frame_window,
        "video_codec": protocol.scored_codec,
        "audio_source": protocol.audio_source,
        "reinsertion": protocol.reinsertion,
        "paper_table": paper_table,
        "settings_json": as_json(protocol),
    }
