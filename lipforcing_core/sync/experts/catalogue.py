"""The protocol of a sync expert, and the loader of the two that exist."""

from __future__ import annotations

from pathlib import Path

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.sync.experts.protocol import SyncExpert

EXPERT_NAMES = ("nano", "syncnet-v2")


def load_sync_expert(name: str = "nano", weights: Path | None = None) -> SyncExpert:
    """The expert called ``name``.

    ``nano`` uses the shipped weights unless a file is given. ``syncnet-v2`` needs the file of the public network;
    raises ``MissingWeightsError`` saying where it comes from otherwise, ``IncompatibleCheckpointError`` where the file
    does not fit, and ``BadInputError`` for another name.
    """
    if name == "nano":
        from lipforcing_core.sync.experts.nano import NanoExpert

        return NanoExpert.load(weights)
    if name == "syncnet-v2":
        from lipforcing_core.sync.experts.syncnet_v2 import SyncNetV2Expert

        return SyncNetV2Expert.load(weights)
    raise BadInputError(f"unknown sync expert {name!r}; known: {', '.join(EXPERT_NAMES)}")
