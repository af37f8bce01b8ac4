"""What became of a source, kept whole: found again in the driver, so that finished work starts no worker.

The steps of curation have keys of their own and stay what they are. An outcome is what they and the decisions add up
to; its key holds everything that decides it, the code of curation included, so that it can never be older than that.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files
from pathlib import Path

from lipforcing_core.base.products import StepStore, content_key, file_sha256
from lipforcing_core.curation.records import SourceFacts, SourceOutcome
from lipforcing_core.curation.settings import CurationSettings
from lipforcing_core.curation.sources import source_name
from lipforcing_core.faces.detectors.catalogue import DETECTORS
from lipforcing_core.weights.chosen import files_beside
from lipforcing_core.weights.digest import remembered_sha256

STEP, MEASURED = "outcome", "measured"
ROOMS = ("base", "curation", "faces", "fingerprints", "media", "metrics/networks", "quality", "sound", "sync")


@lru_cache(maxsize=1)
def code_digest() -> str:
    """A hash of the code and the shipped weights that decide about a source."""
    core = Path(str(files("lipforcing_core")))
    parts = [
        path for room in ROOMS for path in (core / room).rglob("*") if path.suffix in (".py", ".safetensors")
    ]
    return content_key([(path.relative_to(core).as_posix(), file_sha256(path)) for path in sorted(parts)])


def settings_digest(settings: CurationSettings) -> str:
    """A hash of the settings that decide about a source, and of the files that they name."""
    return content_key(by_content(settings).deciding(), model_hashes(settings))


def by_content(settings: CurationSettings) -> CurationSettings:
    """Settings as keys are made of them: each file by the hash of its content, wherever it lies and however its path
    is written."""
    return settings.with_files(lambda path: Path(remembered_sha256(path)))


def model_hashes(settings: CurationSettings) -> list[str]:
    """The hashes of the files of models that the settings name; another file in the same place is another model."""
    named = [settings.sync_weights, settings.quality_weights, settings.identity_model]
    used = [*files_beside(DETECTORS[settings.detector], settings.detector_model), *filter(None, named)]
    return [remembered_sha256(path) for path in used]


def outcome_key(path: Path, root: Path, sha256: str, facts: SourceFacts, *, settings: str, code: str) -> str:
    """The key of a source's outcome; ``settings`` and ``code`` are their digests."""
    return content_key(STEP, source_name(path, root), sha256, facts, settings, code)


def find_outcome(store: StepStore, key: str) -> SourceOutcome | None:
    """The stored outcome, if its clips are still in the store."""
    found = store.find(STEP, key)
    if found is None:
        return None
    outcome = SourceOutcome.model_validate(found.result)
    parts = (
        part
        for clip in outcome.clips
        for part in (clip.clip, clip.audio, clip.alignment, clip.fingerprint, clip.embedding)
    )
    return outcome if all((store.root / part).is_file() for part in parts if part is not None) else None


def was_measured(store: StepStore, sha256: str) -> bool:
    """Whether a source of this content came to an outcome before, under whatever settings."""
    return store.find(MEASURED, content_key(MEASURED, sha256)) is not None


def keep_outcome(store: StepStore, key: str, outcome: SourceOutcome) -> None:
    """Store an outcome that is a property of the file; one of the circumstances is forgotten."""
    if outcome.is_final:
        store.run(MEASURED, content_key(MEASURED, outcome.sha256), lambda _folder: {})
        store.forget(STEP, key)  # one whose clips were deleted
        store.run(STEP, key, lambda _folder: outcome.model_dump(mode="json"))
