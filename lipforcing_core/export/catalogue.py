"""The forms of export that exist. Each lives in a file of its own and is imported only when it is loaded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lipforcing_core.base.catalogue import Catalogue, Entry
from lipforcing_core.base.errors import BadInputError

if TYPE_CHECKING:
    from lipforcing_core.export.protocol import ExportForm


@dataclass(frozen=True, kw_only=True)
class ExportEntry(Entry):
    """One form of export; ``load`` makes it.

    encodes: it holds clips that were encoded for a preset, and is made of these by whoever has encoded them.
    """

    load: Callable[[], ExportForm]
    encodes: bool = False


def _webdataset() -> ExportForm:
    from lipforcing_core.export.webdataset import WebDatasetForm

    return WebDatasetForm()


def _huggingface() -> ExportForm:
    from lipforcing_core.export.huggingface import HuggingFaceForm

    return HuggingFaceForm()


def _croissant() -> ExportForm:
    from lipforcing_core.export.croissant import CroissantForm

    return CroissantForm()


def _latents() -> ExportForm:
    raise BadInputError(
        "an export of latents is made of clips that were encoded for a preset: lipforcing export --to latents"
    )


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
        ExportEntry(
            name="latents",
            summary="shards of the clips as one preset encodes them, which training reads in place of a manifest",
            load=_latents,
            encodes=True,
        ),
    ),
)
