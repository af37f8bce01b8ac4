"""Training sets: the clips of a manifest encoded once, or a set that was exported as latents before."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.products import StepStore, file_sha256, link_or_copy
from lipforcing_core.curation.manifest import read_manifest, require_clip_files, require_names
from lipforcing_core.curation.records import ClipRecord
from lipforcing_core.presets import Preset
from lipforcing_core.runtime.shipped_base import shipped_base
from lipforcing_core.training.dataset import ClipSource
from lipforcing_core.training.latent_sets import (
    CODEC_FILE,
    WINDOWS_FOLDER,
    EncodedBy,
    is_exported_set,
    require_exported_set,
    window_files,
)
from tasks import training_keys
from tasks.dispatch import run_job
from tasks.latents import Encoding, codec_of, encode_clips
from tasks.progress import Advance, note, step
from tasks.recording import step_task
from tasks.training_windows import any_replanned, count_references, long_enough, references_line


@dataclass(frozen=True, kw_only=True)
class TrainingSet:
    """Latent windows on disk, laid out as ``training.latent_sets`` says."""

    folder: Path

    @property
    def codec_file(self) -> Path:
        """The codec the windows were encoded with."""
        return self.folder / CODEC_FILE

    @property
    def windows(self) -> list[Path]:
        """The files, in a fixed order that is that of the clips' ids."""
        return window_files(self.folder)

    def encoded(self, store: StepStore, preset: Preset) -> TrainingSet:
        """Itself, see ``ClipsToEncode.encoded``."""
        return self


@dataclass(frozen=True, kw_only=True)
class ClipsToEncode:
    """Clips of a manifest that become a training set."""

    clips: Sequence[ClipSource]

    def encoded(self, store: StepStore, preset: Preset) -> TrainingSet:
        """The training set; to be called inside ``orchestration``."""
        with step(f"encode {len(self.clips)} training clips", "clips") as advance:
            return prepare_training_set(store, self.clips, preset, advance)


def training_data(given: Path, preset: Preset) -> TrainingSet | ClipsToEncode:
    """What a manifest, or the folder of an export of latents, holds for training with a preset.

    Raises ``BadInputError`` as ``training_clips`` and ``require_exported_set`` do.
    """
    if not is_exported_set(given):
        return ClipsToEncode(clips=training_clips(given))
    digests = Encoding(preset=preset, codec_file=codec_of(preset)).digests()
    require_exported_set(given, EncodedBy.of(preset, digests), preset)
    return TrainingSet(folder=given)


def clip_source(folder: Path, clip: ClipRecord) -> ClipSource:
    """A row of the manifest in a folder, as training reads it."""
    return ClipSource(
        clip_id=clip.clip_id,
        num_frames=clip.num_frames,
        clip_path=folder / clip.clip_path,
        audio_path=folder / clip.audio_path,
    )


def training_clips(manifest: Path, sources: Collection[str] | None = None) -> list[ClipSource]:
    """The clips of the training split, of all sources or of those with these SHA-256 hashes.

    Raises ``BadInputError`` if there is none, or if its files are not there.
    """
    folder = manifest.parent
    chosen = [
        clip
        for clip in read_manifest(manifest)
        if clip.split == "train" and (sources is None or clip.source_sha256 in sources)
    ]
    require_names(manifest, chosen)
    require_clip_files(manifest, chosen)
    clips = [clip_source(folder, clip) for clip in chosen]
    if not clips:
        raise BadInputError(
            f"{manifest}: no accepted clip in the training split; `lipforcing sql 'from reject_reasons'` says why"
        )
    return clips


@step_task()
def prepare_training_set(
    store: StepStore, clips: Sequence[ClipSource], preset: Preset, advance: Advance | None = None
) -> TrainingSet:
    """Encode every clip once, with the codec of the preset's shipped base or else one fitted on the clips."""
    clips = long_enough(clips, preset.video)
    ordered, base = sorted(clips, key=lambda clip: clip.clip_id), shipped_base(preset)
    hashes = {c.clip_id: (file_sha256(c.clip_path), file_sha256(c.audio_path)) for c in ordered}
    listed = [(clip_id, *pair) for clip_id, pair in hashes.items()]
    replanned, references = any_replanned(clips, preset.video), count_references(clips, preset.video)

    def work(folder: Path) -> dict[str, int]:
        write_codec(ordered, preset, folder)
        encoding = Encoding(preset=preset, codec_file=folder / CODEC_FILE)
        files = encode_clips(store, ordered, hashes, encoding, advance)
        for clip, file in zip(ordered, files, strict=True):
            link_or_copy(file, folder / WINDOWS_FOLDER / f"{clip.clip_id}.safetensors")
        return {"clips": len(ordered), "windows": sum(references.values())} | references

    finished = store.run(
        "training-set",
        training_keys.training_set(listed, preset, base, replanned=replanned),
        work,
        also=[] if base or replanned else [training_keys.training_set_before(listed, preset)],
    )
    note(references_line(references))
    return TrainingSet(folder=finished.folder)


def write_codec(clips: Sequence[ClipSource], preset: Preset, folder: Path) -> None:
    """Put the codec of an embedded preset into a folder: that of its base, or one that is fitted on the clips."""
    base = shipped_base(preset)
    if base is None:
        run_job(_fit_codec, list(clips), preset, folder, name="fit-codec", num_cpus=1)
    else:
        shutil.copyfile(base.codec_file, folder / CODEC_FILE)


def _fit_codec(clips: list[ClipSource], preset: Preset, folder: Path) -> None:
    """A job of one CPU, hence of one thread: the bits do not depend on how many cores a machine has."""
    from lipforcing_core.models.codecs.catalogue import fit_codec
    from lipforcing_core.training.dataset import codec_frames

    assert preset.codec is not None, "presets with a downloaded codec do not fit one"
    codec = fit_codec(preset.backends.codec, codec_frames(clips, preset.video), preset.codec.model_dump())
    codec.save(folder / CODEC_FILE)
