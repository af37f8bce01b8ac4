"""The record sets of a Croissant file: the manifest's columns, and the tables of the card as data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from lipforcing_core.base.names import printable
from lipforcing_core.curation.manifest import arrow_schema
from lipforcing_core.curation.records import ClipRecord
from lipforcing_core.export.card import Card
from lipforcing_core.export.card_text import COMMERCIAL, NOT_STATED, explanation

_TYPES = {"int64": "sc:Integer", "double": "sc:Float", "bool": "sc:Boolean", "string": "sc:Text"}

DESCRIPTIONS = {
    "clip_id": "Name of the clip, a hash of what it was made from.",
    "source": "Name of the source relative to the folder that was curated.",
    "source_sha256": "SHA-256 of the bytes of the source.",
    "start_frame": "First frame in the source at 25 frames per second.",
    "stop_frame": "Frame after the last one in the source at 25 frames per second.",
    "seconds": "Length of the clip in seconds.",
    "identity": "Who speaks, as the source's side file says.",
    "licence": "Licence as the source's side file says.",
    "commercial_ok": "Whether the side file of the source allows commercial use.",
    "language": "Language as the source's side file says.",
    "consent": "Consent of the speaker as the source's side file says.",
    "dataset": "Corpus that the source belongs to.",
    "split": "Split that the clip belongs to.",
    "clip_path": "Picture of the clip, relative to this folder.",
    "audio_path": "Sound of the clip, relative to this folder.",
    "alignment_path": "Transforms of the clip, relative to this folder.",
    "clip_sha256": "SHA-256 of the file clip_path.",
    "audio_sha256": "SHA-256 of the file audio_path.",
    "sync_confidence": "How clearly lips and sound belong together (Sync-C of sync_backend).",
    "sync_distance": "Distance of lips and sound (Sync-D of sync_backend).",
    "av_offset_measured": "Offset in frames; positive where the matching sound lies earlier than the picture.",
    "av_offset_applied": "Frames by which the sound was shifted.",
    "av_offset_remaining": "Offset in frames that is left.",
    "quality": "Picture quality on the scale of quality_backend.",
    "face_height_px": "Median height of the face in the source in pixels.",
    "loudness_dbfs": "Root mean square of the sound in dBFS.",
    "num_lossy_encodes": "How many times the picture was compressed with loss here.",
    "silences": "Stretches without speech: a JSON list of [start, end] pairs in seconds of the clip.",
    "sound_notes": "What is odd in the sound (clipped, narrow), separated by semicolons; empty if nothing is.",
    "reference_81": "Reference that the clip yields for training windows of 81 frames: disjoint, partial or none.",
}

CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
"""The context of Croissant 1.0, as its specification gives it."""


def clips_table(manifest: str) -> dict[str, Any]:
    """The record set ``clips``: a field for every column of the manifest."""
    fields = []
    for column in arrow_schema(ClipRecord):
        described = {"description": DESCRIPTIONS[column.name]} if column.name in DESCRIPTIONS else {}
        source = {"fileObject": {"@id": manifest}, "extract": {"column": column.name}}
        fields.append(_field("clips", column.name, _TYPES[str(column.type)]) | described | {"source": source})
    return _record_set("clips", "One record a clip.", fields) | {"key": {"@id": "clips/clip_id"}}


def licence_table(card: Card) -> dict[str, Any]:
    """The record set ``licences``: how much there is under each, and whether it may be used commercially."""
    types = {"licence": "sc:Text", "commercial_use": "sc:Text", "clips": "sc:Integer", "seconds": "sc:Float"}
    rows = [
        {
            "licence": printable(share.value) if share.value else NOT_STATED,
            "commercial_use": COMMERCIAL[share.commercial_ok],
            "clips": share.num_clips,
            "seconds": share.seconds,
        }
        for share in card.licences
    ]
    return _data("licences", "Clips by licence; commercial use is yes, no or not known.", types, rows)


def funnel_table(card: Card) -> dict[str, Any]:
    """The record set ``funnel``: what was left after each stage of curation."""
    types = {"stage": "sc:Text", "sources": "sc:Integer", "segments": "sc:Integer", "seconds": "sc:Float"}
    return _data("funnel", "What was left after each stage of curation, in order.", types, card.funnel)


def reasons_table(card: Card) -> dict[str, Any]:
    """The record set ``reasons``: what was left out, and why."""
    types = {"reason": "sc:Text", "meaning": "sc:Text", "sources": "sc:Integer", "pieces": "sc:Integer"}
    types["seconds"] = "sc:Float"
    rows = [{**row, "meaning": explanation(str(row.get("reason")))} for row in card.reasons]
    return _data("reasons", "What was left out of this set, by reason.", types, rows)


def _data(
    name: str, description: str, types: Mapping[str, str], rows: Iterable[Mapping[str, Any]]
) -> dict[str, Any]:
    data = [{f"{name}/{column}": row.get(column) for column in types} for row in rows]
    fields = [_field(name, column, kind) for column, kind in types.items()]
    return _record_set(name, description, fields) | {"data": data}


def _record_set(name: str, description: str, fields: list[dict[str, Any]]) -> dict[str, Any]:
    return {"@type": "cr:RecordSet", "@id": name, "name": name, "description": description, "field": fields}


def _field(table: str, column: str, kind: str) -> dict[str, Any]:
    return {"@type": "cr:Field", "@id": f"{table}/{column}", "name": column, "dataType": kind}
