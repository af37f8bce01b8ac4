"""The forms of export that exist. Each lives in a file of its own and is imported only when it is loaded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lipforcing_core.base.catalogue import Catalogue, Entry

if TYPE_CHECKING:
    from lipforcing_core.export.protocol import ExportForm


@dataclass(frozen=True, kw_only=True)
class ExportEntry(Entry):
    """One form of export; ``load`` makes it."""

    load: Callable[[], ExportForm]


def _webdataset() -> ExportForm:
    from lipforcing_core.export.webdataset import WebDatasetForm

    return WebDatasetForm()


def _huggingface() -> ExportForm:
    from lipforcing_core.export.huggingface import HuggingFaceForm

    return HuggingFaceForm()


def _croissant() -> ExportForm:
    from lipforcing_core.export.croissant import CroissantForm

    return CroissantForm()


EXPORTS = Catalogue(
    kind="export form",
    entries=(
        ExportEntry(
            name="webdataset",
            summary="tar shards with the files of each clip side by side, and an index with counts and hashes",
            load=_webdataset,
        ),
        ExportEntry(
            name="huggingface",
            summary="Parquet files with video and audio features, and a data-set card with its header",
            load=_huggingface,
        ),
        ExportEntry(
            name="croissant",
            summary="the clips and tables as they are, described by a Croissant 1.0 file",
            load=_croissant,
        ),
    ),
)
