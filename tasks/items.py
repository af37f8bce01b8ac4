"""Held-out items from a list of the user, and from the validation split of a curated manifest."""

from __future__ import annotations

import os
from pathlib import Path

from lipforcing_core.base.csv_file import read_csv
from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.names import path_in
from lipforcing_core.base.products import content_key, sha256_once
from lipforcing_core.base.user_file import no_file
from lipforcing_core.curation.manifest import read_manifest, require_clip_files
from lipforcing_core.metrics.manifest import EvalItem
from tasks.warehousing import HeldOutSet

REQUIRED = ("clip_id", "identity", "truth_video", "driving_audio")
OPTIONAL = ("source_video", "unrelated_audio")


def read_items(path: Path) -> list[EvalItem]:
    """Items from a CSV; paths are relative to its folder and stay in it. Raises ``BadInputError`` naming the row."""
    if not os.path.lexists(path):
        raise BadInputError(
            f"items file {path} does not exist; it is a CSV with the columns {', '.join(REQUIRED)}"
        )
    rows = read_csv(path, REQUIRED)
    if not rows:
        raise BadInputError(f"{path} lists no items; give one row for each clip to evaluate on")
    return [_item(row, path, number) for number, row in enumerate(rows, start=1)]


def _item(row: dict[str, str], origin: Path, number: int) -> EvalItem:
    if missing := [name for name in REQUIRED if not row.get(name)]:
        raise BadInputError(
            f"{origin}, row {number}: {', '.join(missing)} missing; every row needs a value there"
        )
    root = origin.parent.resolve()
    named = ("truth_video", "driving_audio", *OPTIONAL)
    paths = {name: path_in(root, row[name]).resolve() for name in named if row.get(name)}
    for name, path in paths.items():
        if not path.is_relative_to(root):
            raise BadInputError(
                f"{origin}, row {number}: {name} {row[name]} leaves {root}; put the file below that folder"
            )
        if problem := no_file(path):
            raise BadInputError(f"{origin}, row {number}: {name} {path} {problem}")
    return EvalItem(clip_id=row["clip_id"], identity=row["identity"], **paths)


def validation_items(manifest: Path) -> list[EvalItem]:
    """The clips of the validation split, each the truth and the source of itself, driven by its own speech.

    Raises ``BadInputError`` if there is none, or if its files are not there.
    """
    folder, clips = manifest.parent, [clip for clip in read_manifest(manifest) if clip.split == "val"]
    require_clip_files(manifest, clips)
    items = [
        EvalItem(
            clip_id=clip.clip_id,
            identity=clip.identity or clip.source_id,
            truth_video=folder / clip.clip_path,
            driving_audio=folder / clip.audio_path,
            source_video=folder / clip.clip_path,
        )
        for clip in clips
    ]
    if not items:
        raise BadInputError(
            f"{manifest}: no clip in the validation split to evaluate on; give a list of items, or raise val_fraction "
            "in the curation settings"
        )
    return items


def item_hashes(item: EvalItem) -> list[str]:
    """Everything that an item is: its names, and the content of each of its files."""
    files = (item.truth_video, item.driving_audio, item.source_video, item.unrelated_audio)
    return [item.clip_id, item.identity, *("" if path is None else sha256_once(path) for path in files)]


def held_out_set(name: str, items: list[EvalItem], description: str) -> HeldOutSet:
    """What the warehouse calls these items: their version is the content of the true videos."""
    truths = [(item.clip_id, sha256_once(item.truth_video)) for item in items]
    return HeldOutSet(name=name, version=content_key(truths), num_clips=len(items), description=description)
