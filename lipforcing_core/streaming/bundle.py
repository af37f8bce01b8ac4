"""A model bundle: everything needed to run a trained model, in one folder.

``bundle.json`` (what it is), ``preset.json`` (the full preset), ``model.safetensors``, ``codec.safetensors``.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from torch import Tensor

from lipforcing_core.errors import BadInputError, IncompatibleCheckpointError, MissingWeightsError
from lipforcing_core.models.audio import AudioEncoder, LogMelEncoder
from lipforcing_core.models.causal import CausalStudent
from lipforcing_core.models.codec import BlockCodec, VideoCodec
from lipforcing_core.models.text import HashTextEncoder, TextEncoder
from lipforcing_core.models.wan import WanTransformer
from lipforcing_core.presets import Preset
from lipforcing_core.products import atomic_path, file_sha256, read_json, write_json
from lipforcing_core.training.common import load_model

FORMAT = 1


class BundleKind(StrEnum):
    """Which network the bundle holds."""

    TEACHER = "teacher"
    STUDENT = "student"


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A loaded model with its codec, audio encoder and text embeddings, in evaluation mode.

    text_BLD, negative_text_BLD: ``[1, text_len, text_dim]`` of the preset's prompt and of the empty one.
    model_id: ``kind-stage@sha256:...`` of the weights, written on everything the model makes.
    """

    kind: BundleKind
    stage: str
    model_id: str
    preset: Preset
    model: WanTransformer | CausalStudent
    codec: VideoCodec
    audio_encoder: AudioEncoder
    text_BLD: Tensor
    negative_text_BLD: Tensor


@dataclass(frozen=True, kw_only=True)
class BundleDescription:
    """What a bundle folder says of itself. ``sha256`` is that of the weights when they were written."""

    kind: BundleKind
    stage: str
    sha256: str
    preset: Preset


def save_bundle(
    folder: Path, *, kind: BundleKind, stage: str, preset: Preset, model_file: Path, codec_file: Path
) -> None:
    """Write a bundle folder; it appears under its name only when complete."""
    with atomic_path(folder) as temporary:
        temporary.mkdir(parents=True)
        shutil.copyfile(model_file, temporary / "model.safetensors")
        shutil.copyfile(codec_file, temporary / "codec.safetensors")
        write_json(temporary / "preset.json", preset)
        sha256 = file_sha256(temporary / "model.safetensors")
        write_json(
            temporary / "bundle.json",
            {"format": FORMAT, "kind": kind.value, "stage": stage, "sha256": sha256},
        )


def describe_bundle(folder: Path) -> BundleDescription:
    """Read what a bundle is without loading its weights; errors as for ``load_bundle``."""
    if not (folder / "bundle.json").is_file():
        raise BadInputError(
            f"{folder} is not a model bundle (no bundle.json); `lipforcing demo` and `lipforcing train` write them"
        )
    try:
        facts = read_json(folder / "bundle.json")
        if facts["format"] != FORMAT:
            raise IncompatibleCheckpointError(f"{folder}: bundle format {facts['format']}, expected {FORMAT}")
        preset = Preset.model_validate(read_json(folder / "preset.json"))
        kind, stage, sha256 = BundleKind(facts["kind"]), str(facts["stage"]), str(facts["sha256"])
    except IncompatibleCheckpointError:
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:
        problem = str(error).splitlines()[0]
        raise IncompatibleCheckpointError(f"{folder}: its description is damaged ({problem})") from error
    return BundleDescription(kind=kind, stage=stage, sha256=sha256, preset=preset)


def load_bundle(folder: Path) -> Bundle:
    """Load a bundle folder strictly: a missing, foreign or damaged part is an error that names it."""
    about = describe_bundle(folder)
    weights = folder / "model.safetensors"
    if not weights.is_file() or file_sha256(weights) != about.sha256:
        raise IncompatibleCheckpointError(f"{weights}: missing, truncated or changed since it was written")
    preset = about.preset
    model = build_model(about.kind, preset)
    load_model(model, weights)
    text_encoder = text_encoder_for(preset)
    return Bundle(
        kind=about.kind,
        stage=about.stage,
        model_id=f"{about.kind.value}-{about.stage}@sha256:{about.sha256[:12]}",
        preset=preset,
        model=model.eval().requires_grad_(False),
        codec=BlockCodec.load(folder / "codec.safetensors"),
        audio_encoder=audio_encoder_for(preset),
        text_BLD=text_encoder.encode([preset.schedule.prompt]),
        negative_text_BLD=text_encoder.encode([""]),
    )


def build_model(kind: BundleKind, preset: Preset) -> WanTransformer | CausalStudent:
    """An untrained network of the preset's size."""
    if kind is BundleKind.STUDENT:
        return CausalStudent(preset.model.config(), preset.window.config())
    return WanTransformer(preset.model.config())


def audio_encoder_for(preset: Preset) -> AudioEncoder:
    """The audio encoder that the preset names."""
    if preset.backends.audio == "log-mel":
        return LogMelEncoder()
    raise MissingWeightsError(_not_yet(preset, "audio encoder", preset.backends.audio))


def text_encoder_for(preset: Preset) -> TextEncoder:
    """The text encoder that the preset names."""
    if preset.backends.text == "hash":
        return HashTextEncoder(text_len=preset.model.text_len, text_dim=preset.model.text_dim)
    raise MissingWeightsError(_not_yet(preset, "text encoder", preset.backends.text))


def _not_yet(preset: Preset, part: str, name: str) -> str:
    return (
        f"preset {preset.name}: the {part} {name} needs weights that this version cannot load yet; "
        "use preset nano, or see `lipforcing weights list`"
    )
