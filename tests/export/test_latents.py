"""Clips encoded once for training: found again, resumed, exported in shards, and trained on in place of a manifest."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.products import file_sha256, read_json, write_json
from lipforcing_core.curation.manifest import read_manifest, write_manifest
from lipforcing_core.export.curated import read_curated
from lipforcing_core.export.protocol import ExportSettings
from lipforcing_core.export.run import write_export
from lipforcing_core.models.bases.catalogue import BASES
from lipforcing_core.presets import load_preset
from lipforcing_core.training.dataset import LatentWindows
from lipforcing_core.training.latent_files import clips_in
from lipforcing_core.training.latent_sets import EncodedBy
from tasks import exporting, latents
from tasks.exporting import latents_form
from tasks.training_keys import Recipe
from tasks.training_sets import prepare_training_set, training_clips, training_data
from tasks.workspace import Workspace

from .conftest import clip_id_of

NANO = load_preset("nano")


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Encodes in this process, and gives the ids of the clips that were encoded."""
    ids: list[str] = []

    def fan_out(function: Callable[[Any], Any], items: Sequence[Any], **_: Any) -> list[Any]:
        results = []
        for item in items:
            results.append(function(item))
            ids.append(item[0].clip_id)
        return results

    monkeypatch.setattr(latents, "fan_out", fan_out)
    monkeypatch.setattr(exporting, "orchestration", lambda _workspace: nullcontext())
    return ids


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "workspace")


def export(workspace: Workspace, manifest: Path, out: Path, preset: Any = "nano", **changes: Any) -> Any:
    made = latents_form(workspace, manifest, preset)
    settings = ExportSettings(name="five", **changes)
    return write_export(manifest, out, form="latents", settings=settings, made=made, only=made.files)


def test_training_on_an_export_is_training_on_its_manifest(
    curated_once: Path, workspace: Workspace, tmp_path: Path, encoded: list[str]
) -> None:
    out = tmp_path / "out"
    report = export(workspace, curated_once, out, max_shard_bytes=1_000_000)
    assert encoded == [clip_id_of(index) for index in range(5)]
    assert len(list((out / "windows").iterdir())) > 1, "too little for the order of shards to matter"
    assert len(list((out / "windows-val").iterdir())) == 1
    assert report.num_bytes == sum(
        p.stat().st_size for p in out.rglob("*") if p.name != "export.json" and p.is_file()
    )
    of_manifest = prepare_training_set.fn(workspace.store, training_clips(curated_once), NANO)
    assert len(encoded) == 5, "a training set is made of what the export has encoded"
    of_export = training_data(out, NANO).encoded(workspace.store, NANO)
    assert file_sha256(of_export.codec_file) == BASES["nano-base"].codec_sha256
    alone, packed = (LatentWindows(data.windows, NANO.video) for data in (of_manifest, of_export))
    assert (packed.key, packed.num_windows) == (alone.key, alone.num_windows)
    hashes = [
        Recipe(preset=NANO, windows=data.windows, num_threads=2).window_hashes
        for data in (of_manifest, of_export)
    ]
    assert hashes[0] == hashes[1], "finished training is found again"
    batches = [data.batch(8, seed=1, step=3) for data in (alone, packed)]
    assert all(
        torch.equal(getattr(batches[0], f.name), getattr(batches[1], f.name)) for f in fields(batches[0])
    )


def test_clips_stand_in_the_order_of_their_ids_whatever_that_of_the_manifest(
    curated_once: Path, workspace: Workspace, tmp_path: Path, encoded: list[str]
) -> None:
    """Training draws clips by their place."""
    made, curated = latents_form(workspace, curated_once, "nano"), read_curated(curated_once)
    turned = replace(curated, clips=tuple(reversed(curated.clips)))
    for number, data in enumerate((curated, turned)):
        part = next(p for p in made.parts(data, ExportSettings(name="five")) if p.split == "train")
        part.write(tmp_path / str(number))
    assert (tmp_path / "0").read_bytes() == (tmp_path / "1").read_bytes()
    ids = [clip.about["clip_id"] for clip in clips_in(tmp_path / "1", NANO.video.window_frames)]
    assert ids == [clip_id_of(index) for index in (0, 1, 2, 4)]


def test_a_killed_encoding_goes_on_where_it_was(
    curated_once: Path,
    workspace: Workspace,
    tmp_path: Path,
    encoded: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = latents.encode_clip

    def dies_at_the_third(*args: Any, **kwargs: Any) -> int:
        if len(encoded) == 2:
            raise KeyboardInterrupt
        return whole(*args, **kwargs)

    monkeypatch.setattr(latents, "encode_clip", dies_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        latents_form(workspace, curated_once, "nano")
    monkeypatch.setattr(latents, "encode_clip", whole)
    latents_form(workspace, curated_once, "nano")
    assert encoded == [clip_id_of(index) for index in range(5)], "none twice"


def test_what_was_encoded_is_found_by_content_sizes_and_encoders(
    curated_once: Path, workspace: Workspace, encoded: list[str]
) -> None:
    first = latents_form(workspace, curated_once, "nano")
    del encoded[:]
    same = latents_form(workspace, curated_once, {"extends": "nano", "lora": {"steps": 3}})
    assert (encoded, same.version) == ([], first.version)
    other = latents_form(workspace, curated_once, {"extends": "nano", "video": {"window_stride_frames": 4}})
    assert len(encoded) == 5
    assert other.version != first.version
    starts = [load_file(form.files[clip_id_of(0)])["starts"].tolist() for form in (first, other)]
    assert starts == [[0, 8, 16], [0, 4, 8, 12, 16]]


def test_clips_that_were_changed_or_are_too_short_are_told(
    curated_once: Path,
    workspace: Workspace,
    tmp_path: Path,
    encoded: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shutil.copytree(curated_once.parent, tmp_path / "set")
    manifest = tmp_path / "set" / "manifest.parquet"
    with pytest.raises(BadInputError, match="all 5 clips are shorter than a training window of 57 frames"):
        latents_form(workspace, manifest, {"extends": "nano", "video": {"window_frames": 57}})
    clip = tmp_path / "set" / "clips" / f"{clip_id_of(2)}.mp4"
    clip.unlink()
    shutil.copyfile(clip.with_name(f"{clip_id_of(1)}.mp4"), clip)
    with pytest.raises(BadInputError, match=f"{clip_id_of(2)}.mp4: its sha256 is .* changed after curation"):
        latents_form(workspace, manifest, "nano")
    assert len(encoded) == 2, "those before it are kept"


def test_only_the_clips_that_hold_a_window_are_exported_and_counted(
    curated_once: Path, workspace: Workspace, tmp_path: Path, encoded: list[str]
) -> None:
    shutil.copytree(curated_once.parent, tmp_path / "set")
    manifest = tmp_path / "set" / "manifest.parquet"
    clips = read_manifest(manifest)
    short = clips[1].model_copy(update={"num_frames": 32})
    write_manifest(manifest, [clips[0], short, *clips[2:]])
    out = tmp_path / "out"
    report = export(workspace, manifest, out)
    kept = [clip.clip_id for clip in clips if clip is not clips[1]]
    assert encoded == kept
    assert [clip.clip_id for clip in read_manifest(out / "manifest.parquet")] == kept
    assert report.card.num_clips == read_json(out / "export.json")["num_clips"] == 4
    assert sum(shard["num_clips"] for shard in read_json(out / "latents.json")["shards"]) == 4


def test_an_export_for_another_preset_is_refused_by_the_first_thing_that_differs(
    curated_once: Path, workspace: Workspace, tmp_path: Path, encoded: list[str]
) -> None:
    out = tmp_path / "out"
    export(workspace, curated_once, out)
    other = NANO.model_copy(update={"video": NANO.video.model_copy(update={"window_stride_frames": 4})})
    with pytest.raises(BadInputError, match=r"window_stride_frames = 8, and preset nano wants 4"):
        training_data(out, other)
    for name in ("encoding", "plan"):
        index = read_json(out / "latents.json")
        index["encoded_by"][name] += 1
        write_json(out / "latents.json", index)
        with pytest.raises(BadInputError, match=f"encoded with {name} = "):
            training_data(out, NANO)
        index["encoded_by"][name] -= 1
        write_json(out / "latents.json", index)
    index["encoded_by"]["encoders"] = ["0" * 64]
    write_json(out / "latents.json", index)
    with pytest.raises(BadInputError, match="encoded with encoders = "):
        training_data(out, NANO)
    (out / "latents.json").write_text("{")
    with pytest.raises(BadInputError, match="is no export of latents"):
        training_data(out, NANO)
    values = NANO.model_dump(mode="json")
    del values["base_checkpoint"]
    with pytest.raises(BadInputError, match="its codec is fitted on the clips"):
        latents_form(workspace, curated_once, values)


def test_another_encoding_is_another_key_and_another_export(
    curated_once: Path, workspace: Workspace, encoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = latents_form(workspace, curated_once, "nano")
    monkeypatch.setattr(
        latents, "EncodedBy", SimpleNamespace(of=lambda *of: replace(EncodedBy.of(*of), encoding=2))
    )
    monkeypatch.setattr(exporting, "EncodedBy", latents.EncodedBy)
    again = latents_form(workspace, curated_once, "nano")
    assert len(encoded) == 10
    assert again.version != first.version


def test_a_shard_that_is_missing_or_damaged_is_refused(
    curated_once: Path, workspace: Workspace, tmp_path: Path, encoded: list[str]
) -> None:
    out = tmp_path / "out"
    export(workspace, curated_once, out, max_shard_bytes=1_000_000)
    shard = max((out / "windows").iterdir())
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(BadInputError, match=f"{shard.name}: is missing or not the file"):
        training_data(out, NANO)
    shard.unlink()
    with pytest.raises(BadInputError, match=f"{shard.name}: is missing or not the file"):
        training_data(out, NANO)
    shard.write_bytes(whole)
    assert len(training_data(out, NANO).encoded(workspace.store, NANO).windows) > 1
    index = read_json(out / "latents.json")
    index["shards"] = [shard for shard in index["shards"] if shard["split"] != "train"]
    write_json(out / "latents.json", index)
    with pytest.raises(BadInputError, match="holds no clip of the training split"):
        training_data(out, NANO)
