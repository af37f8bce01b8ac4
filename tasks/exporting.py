"""Exports that need work on Ray before anything can be written: clips encoded for one preset."""

from __future__ import annotations

from pathlib import Path

from lipforcing_core.export.curated import read_curated
from lipforcing_core.export.latents import LatentsForm
from lipforcing_core.training.latent_sets import EncodedBy
from tasks.latents import Encoding, codec_of, encode_clips
from tasks.progress import step
from tasks.session import orchestration
from tasks.settings import Given, preset_of
from tasks.training_sets import clip_source
from tasks.training_windows import long_enough
from tasks.workspace import Workspace


def latents_form(workspace: Workspace, manifest: Path, given: Given) -> LatentsForm:
    """The clips of a manifest encoded for a preset, those of all splits, ready to be written by ``export.run``.

    Clips that are encoded already, by an earlier export or for training, are found again. Raises ``BadInputError`` for
    a preset whose codec is fitted on its training clips, and as ``read_curated`` and ``encode_clips`` do.
    """
    preset, curated = preset_of(given), read_curated(manifest)
    codec_file = codec_of(preset)
    clips = [clip_source(curated.folder, clip) for clip in curated.clips]
    hashes = {clip.clip_id: (clip.clip_sha256, clip.audio_sha256) for clip in curated.clips}
    encoding = Encoding(preset=preset, codec_file=codec_file, weights=workspace.weights)
    encoded_by = EncodedBy.of(preset, encoding.digests())
    with orchestration(workspace):
        chosen = long_enough(clips, preset.video)
        with step(f"encode {len(chosen)} clips", "clips") as advance:
            files = encode_clips(workspace.store, chosen, hashes, encoding, advance)
    found = {clip.clip_id: file for clip, file in zip(chosen, files, strict=True)}
    return LatentsForm(files=found, encoded_by=encoded_by, codec_file=codec_file)
