"""Croissant: the clips and tables as they are, and ``croissant.json``, which describes them for machines.

Written after version 1.0 of the Croissant format (http://mlcommons.org/croissant/1.0) and of its vocabulary for
responsible AI. The context is part of the file, so that nobody has to fetch it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import PurePosixPath
from typing import Any

from lipforcing_core.base.licences import licence_address
from lipforcing_core.base.names import printable
from lipforcing_core.base.products import second_name
from lipforcing_core.curation.prints import FINGERPRINTS, MANIFEST
from lipforcing_core.export.card import Card, known
from lipforcing_core.export.card_text import (
    HOW_IT_WAS_MADE,
    LIMITS,
    NOT_STATED,
    card_text,
    commercial_sentence,
    explanation,
    summary,
)
from lipforcing_core.export.croissant_tables import (
    CONTEXT,
    clips_table,
    funnel_table,
    licence_table,
    reasons_table,
)
from lipforcing_core.export.curated import DECISIONS, CuratedSet, files_of
from lipforcing_core.export.protocol import ExportSettings, Part, WrittenPart, fingerprint_parts

CROISSANT = "croissant.json"
CONFORMS_TO = ("http://mlcommons.org/croissant/1.0", "http://mlcommons.org/croissant/RAI/1.0")
_FORMATS = {
    ".parquet": "application/x-parquet",
    ".mp4": "video/mp4",
    ".wav": "audio/wav",
    ".npz": "application/zip",
}
_TOLD = {
    MANIFEST: "One row a clip: source, identity, licence, split, scores, offsets, hashes and paths.",
    DECISIONS: "One row for each piece of each source: what was decided, the measured value and the threshold.",
    FINGERPRINTS: "By what the picture and the sound of each clip are recognised in other data sets.",
}
_SETS = {
    ".mp4": ("pictures", "Aligned faces: 512 x 512 pixels, 25 frames per second."),
    ".wav": (
        "sounds",
        "Speech of the clips: 16 kHz, mono. Its shift against the source is av_offset_applied.",
    ),
    ".npz": ("alignments", "Transforms that map pixels of the source to the canonical pose, for NumPy."),
}


class CroissantForm:
    """The tables of curation as they are and ``clips/``, with ``croissant.json`` and the card.

    The clips are second names (hard links) of those of curation where the disk allows it. The hash of each clip stands
    in the manifest, those of the tables in ``croissant.json``, and all are checked while they are placed.
    """

    version = "1"

    def parts(self, curated: CuratedSet, settings: ExportSettings) -> list[Part]:
        """The tables, the fingerprints, and the files of every clip."""
        tables = {MANIFEST: curated.manifest} | ({DECISIONS: curated.decisions} if curated.decisions else {})
        found = [
            Part(name=name, num_bytes=path.stat().st_size, write=partial(shutil.copyfile, path))
            for name, path in tables.items()
        ]
        found += fingerprint_parts(curated)
        for clip in curated.clips:
            for suffix, (name, sha256) in files_of(clip).items():
                origin = curated.folder / name
                if origin.is_file():
                    found.append(
                        Part(
                            name=name,
                            num_bytes=origin.stat().st_size,
                            write=partial(second_name, origin),
                            num_clips=int(suffix == ".mp4"),
                            split=clip.split,
                            sha256=sha256,
                            origin=origin,
                        )
                    )
        return found

    def papers(self, card: Card, settings: ExportSettings, parts: Sequence[WrittenPart]) -> Mapping[str, str]:
        """``croissant.json`` and the card."""
        described = describe(card, settings, parts)
        return {
            CROISSANT: json.dumps(described, indent=2, ensure_ascii=False) + "\n",
            "README.md": card_text(card, name=settings.name, usage=_USAGE),
        }


def describe(card: Card, settings: ExportSettings, parts: Sequence[WrittenPart]) -> dict[str, Any]:
    """The object of ``croissant.json``; what is not known is left out, and nothing is invented."""
    tables = [part for part in parts if part.name in _TOLD]
    facts: dict[str, Any] = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": list(CONFORMS_TO),
        "name": printable(settings.name),
        "description": f"{summary(card)} {commercial_sentence(card)}",
        "version": f"1.0.0+{tables[0].sha256[:12]}",
        "url": settings.url,
        "creator": {"@type": "sc:Organization", "name": printable(settings.creator)}
        if settings.creator
        else None,
        "datePublished": settings.published,
        "license": _licences(card),
        "inLanguage": known(card.languages),
        "keywords": ["lip synchronisation", "talking head", "audio-visual speech"],
        **_responsible(card),
        "distribution": [*map(_file, tables), *_file_sets(parts)],
        "recordSet": [
            clips_table(MANIFEST),
            licence_table(card),
            *([funnel_table(card)] if card.funnel else []),
            *([reasons_table(card)] if card.reasons else []),
        ],
    }
    return {name: value for name, value in facts.items() if value}


def _licences(card: Card) -> list[str]:
    """The addresses of the licences, or their words where they have none."""
    return [licence_address(licence) or printable(licence) for licence in known(card.licences)]


def _file(part: WrittenPart) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": part.name,
        "name": part.name,
        "description": _TOLD[part.name],
        "contentUrl": part.name,
        "contentSize": f"{part.num_bytes} B",
        "encodingFormat": _FORMATS[PurePosixPath(part.name).suffix],
        "sha256": part.sha256,
    }


def _file_sets(parts: Sequence[WrittenPart]) -> Iterator[dict[str, Any]]:
    for suffix, (name, description) in _SETS.items():
        folders = sorted({str(PurePosixPath(p.name).parent) for p in parts if p.name.endswith(suffix)})
        if folders:
            includes = [f"{folder}/*{suffix}" for folder in folders]
            yield {
                "@type": "cr:FileSet",
                "@id": name,
                "name": name,
                "description": description,
                "encodingFormat": _FORMATS[suffix],
                "includes": includes[0] if len(includes) == 1 else includes,
            }


def _responsible(card: Card) -> dict[str, Any]:
    """What can honestly be said in the vocabulary for responsible AI."""
    lost = sum(float(row.get("seconds", 0.0)) for row in card.reasons)
    reasons = [
        f"{row.get('reason')}: {explanation(str(row.get('reason')))} ({row.get('pieces')} pieces)"
        for row in card.reasons
    ]
    unnamed = (
        f"{card.num_unnamed} of {card.num_clips} clips have no named identity" if card.num_unnamed else ""
    )
    return {
        "rai:dataCollection": (
            f"Clips were cut from {card.num_sources} videos that exist already; nothing was recorded for this set."
        ),
        "rai:dataCollectionMissingData": "; ".join(
            [
                *([unnamed] if unnamed else []),
                *([f"{lost:.1f} s were left out ({', '.join(reasons)})"] if reasons else []),
            ]
        ),
        "rai:dataPreprocessingProtocol": list(HOW_IT_WAS_MADE),
        "rai:machineAnnotationTools": list(card.backends),
        "rai:personalSensitiveInformation": [
            f"Faces and voices of people; {card.num_identities} identities are named.",
            f"Consent: {', '.join(map(printable, known(card.consents))) or NOT_STATED}.",
        ],
        "rai:dataBiases": [LIMITS[2]],
        "rai:dataLimitations": [LIMITS[0], LIMITS[3]],
        "rai:dataUseCases": ["Training and evaluation of lip synchronisation of video to speech."],
    }


_USAGE = """## How to read it

`croissant.json` describes the folder in the Croissant format. The record set `clips` has the columns of
`manifest.parquet`; the paths in it are relative to this folder. The record sets `licences`, `funnel` and `reasons` hold
the tables below.

```python
import mlcroissant

clips = mlcroissant.Dataset("croissant.json")
for record in clips.records("clips"):
    record["clips/clip_id"], record["clips/clip_path"], record["clips/sync_confidence"]
```"""
