"""Rows of the dimension tables that come straight from the library: metrics and protocols."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lipforcing_core.base.products import as_json
from lipforcing_core.metrics.measures.catalogue import MEASURES

if TYPE_CHECKING:
    from lipforcing_core.metrics.protocol import Protocol


def metric_rows() -> list[dict[str, Any]]:
    """A row of the table metrics for every measure that the library knows."""
    return [
        {
            "metric": measure.name,
            "label": measure.label,
            "definition": measure.summary,
            "version": measure.version,
            "scope": measure.scope.value,
            "computed_by": measure.backend.value,
            "unit": measure.unit,
            "higher_is_better": measure.higher_is_better,
            "published_name": measure.published_name,
            "is_wall_clock": measure.is_wall_clock,
        }
        for measure in MEASURES
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
