"""The difference between two curations as plain text of at most 100 columns."""

from __future__ import annotations

import textwrap
from dataclasses import asdict
from typing import Any

from lipforcing_core.curation.limits import NOT_RECORDED
from lipforcing_core.curation.run_diff import PieceChange, RunDiff
from lipforcing_core.media.clock import FPS

COLUMNS = 100
KINDS = {
    "gained": "became clips",
    "lost": "no longer clips",
    "remade": "clips as before, made anew",
    "decision": "another reason",
    "appeared": "appeared",
    "vanished": "vanished",
}


def diff_text(diff: RunDiff) -> str:
    """The difference, line by line: runs, settings, and the pieces of each kind with the causes."""
    lines = []
    if diff.are_two_sets:
        lines += _wrapped(f"two data sets: {diff.older_name} (older) and {diff.newer_name} (newer)", 4)
    lines += [
        f"older  {diff.older}, ended {diff.older_finished or NOT_RECORDED}, {diff.clips_before} clips",
        f"newer  {diff.newer}, ended {diff.newer_finished or NOT_RECORDED}, {diff.clips_after} clips",
        f"{_pieces(len(diff.changes))} changed, {diff.num_unchanged} did not",
    ]
    if diff.facts:
        clips = len({change.clip_id for change in diff.facts})
        lines[-1] += f"; of {'1 clip' if clips == 1 else f'{clips} clips'} other facts are known"
    if diff.settings:
        lines += ["", "settings"]
        for setting in diff.settings:
            lines += _wrapped(f"  {setting.setting}: {setting.before} -> {setting.after}", 4)
    if diff.renamed:
        lines += ["", "sources with another name"]
        for before, after in diff.renamed:
            lines += _wrapped(f"  {before} -> {after}", 4)
    for kind, title in KINDS.items():
        changes = [change for change in diff.changes if change.kind == kind]
        if changes:
            lines += ["", f"{title}: {_pieces(len(changes))}"]
            for change in changes:
                lines += _change(change)
    if diff.facts:
        lines += ["", "other facts"]
        for fact in diff.facts:
            words = f"{fact.fact} {_said(fact.before)} -> {_said(fact.after)}"
            lines += _wrapped(f"  {fact.source}, clip {fact.clip_id}: {words}", 4)
    return "\n".join(lines) + "\n"


def diff_json(diff: RunDiff) -> dict[str, Any]:
    """The difference as a JSON value; each change names its kind."""
    told = asdict(diff)
    told["changes"] = [{"kind": c.kind, **asdict(c)} for c in diff.changes]
    told["renamed"] = [{"before": before, "after": after} for before, after in diff.renamed]
    return told


def _said(value: Any) -> str:
    return "unknown" if value is None else str(value)


def _pieces(count: int) -> str:
    return "1 piece" if count == 1 else f"{count} pieces"


def _change(change: PieceChange) -> list[str]:
    place = f"{change.start_frame / int(FPS):.2f} to {change.stop_frame / int(FPS):.2f} s"
    sides = [side for side in (change.before, change.after) if side is not None]
    moved = " -> ".join(dict.fromkeys(sides))
    lines = _wrapped(f"  {change.source}, {place}: {moved}", 4)
    clips = " -> ".join(dict.fromkeys(filter(None, (change.clip_before, change.clip_after))))
    if clips:
        lines += _wrapped(f"    clip {clips}", 6)
    for cause in change.why:
        lines += _wrapped(f"    {cause}", 6)
    return lines


def _wrapped(text: str, indent: int) -> list[str]:
    return textwrap.wrap(text, COLUMNS, subsequent_indent=" " * indent, break_on_hyphens=False)
