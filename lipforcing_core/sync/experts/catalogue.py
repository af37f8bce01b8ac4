"""The sync experts that exist. Each lives in a file of its own and is imported only when it is loaded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lipforcing_core.base.catalogue import Catalogue, FileEntry, either

if TYPE_CHECKING:
    from lipforcing_core.sync.experts.protocol import SyncExpert


@dataclass(frozen=True, kw_only=True)
class SyncExpertEntry(FileEntry):
    """One sync expert.

    load: makes it from a weight file; None stands for the file that ships with the package, where there is one.
    knows_people: whether it was trained on real people, so that its scores of them mean something.
    """

    load: Callable[[Path | None], SyncExpert]
    knows_people: bool


def _nano(weights: Path | None) -> SyncExpert:
    from lipforcing_core.sync.experts.nano import NanoExpert

    return NanoExpert.load(weights)


def _syncnet_v2(weights: Path | None) -> SyncExpert:
    from lipforcing_core.sync.experts.syncnet_v2 import SyncNetV2Expert

    assert weights is not None, "an entry with registered weights is loaded from a file"
    return SyncNetV2Expert.load(weights)


SYNC_EXPERTS = Catalogue(
    kind="sync expert",
    entries=(
        SyncExpertEntry(
            name="nano",
            summary="NanoSyncNet, trained on puppets and shipped; `lipforcing train sync` makes others",
            files=("nano.safetensors",),
            load=_nano,
            knows_people=False,
        ),
        SyncExpertEntry(
            name="syncnet-v2",
            summary="SyncNet-v2 of Chung and Zisserman, the network behind published Sync-C and Sync-D",
            weights=("syncnet-v2",),
            files=("syncnet_v2.model",),
            load=_syncnet_v2,
            knows_people=True,
        ),
    ),
)


def load_sync_expert(name: str = SYNC_EXPERTS.default, weights: Path | None = None) -> SyncExpert:
    """The expert called ``name``, from the file ``weights`` or from the one that ships with the package.

    Raises ``MissingWeightsError`` saying where a needed file comes from, ``IncompatibleCheckpointError`` where the
    file does not fit, and ``BadInputError`` for an unknown name.
    """
    from lipforcing_core.weights.chosen import checked_files

    files = checked_files(SYNC_EXPERTS, name, weights)
    return SYNC_EXPERTS[name].load(files[0] if files else None)


def advice_for_people(name: str) -> str:
    """One sentence where the expert called ``name`` cannot judge real people; empty where it can."""
    if SYNC_EXPERTS[name].knows_people:
        return ""
    others = either([entry.name for entry in SYNC_EXPERTS if entry.knows_people])
    return f"The sync expert {name} knows only puppets: for real people give {others}."
