"""A curated data set as curation leaves it: the manifest with its clips, and the books beside it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.products import content_key, file_sha256, read_json
from lipforcing_core.curation.manifest import read_manifest, require_clip_files, require_names
from lipforcing_core.curation.prints import FINGERPRINTS, MANIFEST
from lipforcing_core.curation.records import ClipRecord

DECISIONS, FUNNEL, CONTRACT = "decisions.parquet", "funnel.json", "contract.json"


@dataclass(frozen=True, kw_only=True)
class CuratedSet:
    """The clips of a manifest, with what curation wrote beside it.

    funnel and contract are the objects of ``funnel.json`` and ``contract.json``, empty where there is no such file.
    """

    manifest: Path
    clips: tuple[ClipRecord, ...]
    funnel: Mapping[str, Any] = field(default_factory=dict)
    contract: Mapping[str, Any] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """The folder of the manifest, to which the paths of clips are relative."""
        return self.manifest.parent

    @property
    def decisions(self) -> Path | None:
        """The table of decisions; None where there is none beside the manifest."""
        path = self.folder / DECISIONS
        return path if path.is_file() else None

    @property
    def fingerprints(self) -> Path | None:
        """The fingerprints of the clips; None where there are none beside the manifest, as in older runs."""
        path = self.folder / FINGERPRINTS
        return path if path.is_file() else None

    @property
    def key(self) -> str:
        """A key of the manifest and the books; the hashes in it stand for picture and sound of the clips."""
        files = [self.manifest, *([self.decisions] if self.decisions else [])]
        return content_key([file_sha256(file) for file in files], self.funnel, self.contract)

    def size(self, name: str) -> int:
        """Bytes of a file that a clip names; 0 where it is not there."""
        path = self.folder / name
        return path.stat().st_size if path.is_file() else 0

    def read(self, clip: ClipRecord, suffix: str) -> bytes:
        """The bytes of a clip's ``.mp4``, ``.wav`` or ``.npz``; empty where there is no ``.npz``.

        Raises ``BadInputError`` where picture or sound are not those whose SHA-256 the manifest names.
        """
        name, sha256 = files_of(clip)[suffix]
        path = self.folder / name
        if sha256 is None and not path.is_file():
            return b""
        content = path.read_bytes()
        if sha256 not in (None, found := hashlib.sha256(content).hexdigest()):
            raise changed_file(path, found, sha256)
        return content


def name_of_set(manifest: Path) -> str:
    """What the data set of a manifest was called when it was curated; empty where nobody named it.

    Raises ``BadInputError`` for a damaged ``funnel.json``.
    """
    return str(_beside(_file(manifest), FUNNEL).get("name") or "")


def read_curated(manifest: Path | str) -> CuratedSet:
    """The data set of a manifest that curation wrote.

    Raises ``BadInputError`` for a file that is no manifest, one without clips or with names that cannot be file names,
    one whose clip files are not there, and for a damaged ``funnel.json`` or ``contract.json``.
    """
    manifest = _file(Path(manifest))
    clips = tuple(read_manifest(manifest))
    if not clips:
        raise BadInputError(f"{manifest}: holds no clip, so there is nothing to export")
    require_names(manifest, clips)
    require_clip_files(manifest, clips)
    return CuratedSet(
        manifest=manifest, clips=clips, funnel=_beside(manifest, FUNNEL), contract=_beside(manifest, CONTRACT)
    )


def changed_file(path: Path, found: str, expected: str | None) -> BadInputError:
    """The error for a file that is not the one whose SHA-256 the manifest names."""
    return BadInputError(
        f"{path}: its sha256 is {found} and the manifest names {expected}; the file was changed after curation, so "
        "curate the source again"
    )


def files_of(clip: ClipRecord) -> dict[str, tuple[str, str | None]]:
    """The files of a clip by suffix: path relative to the manifest's folder, and the SHA-256 that it must have."""
    return {
        ".mp4": (clip.clip_path, clip.clip_sha256),
        ".wav": (clip.audio_path, clip.audio_sha256),
        ".npz": (clip.alignment_path, None),
    }


def row_of(clip: ClipRecord) -> dict[str, Any]:
    """The manifest's row of a clip, by column."""
    return clip.model_dump(mode="json")


def _file(manifest: Path) -> Path:
    """The manifest itself, or that in the folder that is named instead."""
    return manifest / MANIFEST if manifest.is_dir() else manifest


def _beside(manifest: Path, name: str) -> dict[str, Any]:
    path = manifest.with_name(name)
    try:
        value = read_json(path)
    except FileNotFoundError:
        return {}
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise BadInputError(
            f"{path}: is not valid JSON ({error}); run the curation again to have it written anew"
        ) from error
    if not isinstance(value, dict):
        raise BadInputError(f"{path}: should hold an object; run the curation again to have it written anew")
    return value
